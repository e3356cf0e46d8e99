// The same agent as ../agent.py with the real TypeScript clients: it asks, shows its human the page, uses all five
// tools, and ends its own key. Speaks with the test that started it in JSON lines.
// Usage: agent.mjs MODULES PACKAGE ERA NAME stdio BINARY DATA PROFILE | … http URL | … sse URL

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, generation, era, name, way, ...where] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const SCOPES = ["audience:read", "email:send", "no:such"];
const transcript = [];
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (what) => console.log(JSON.stringify(what));

/** What differs between the two generations of the package. */
function sdk() {
  if (generation === "client") {
    const all = require("@modelcontextprotocol/client");
    const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");
    return { ...all, StdioClientTransport, elicitation: "elicitation/create", options: { versionNegotiation: { mode: era } } };
  }
  const of = (path) => require(`@modelcontextprotocol/sdk/${path}`);
  return {
    ...of("client/index.js"), ...of("client/stdio.js"), ...of("client/streamableHttp.js"), ...of("client/sse.js"),
    elicitation: of("types.js").ElicitRequestSchema, options: {},
  };
}

const { Client, StdioClientTransport, StreamableHTTPClientTransport, SSEClientTransport, elicitation, options } = sdk();

async function connect(headers) {
  const client = new Client({ name, version: "1" }, { ...options, capabilities: { elicitation: { url: {} } } });
  // The human's page is opened by the client, as it declared.
  client.setRequestHandler(elicitation, async ({ params }) => {
    transcript.push(JSON.stringify(params));
    tell({ link: params.url, code: params.message.match(/[B-Z]{4}-[B-Z]{4}/)[0] });
    return { action: "accept" };
  });
  const requestInit = { headers };
  const transport = {
    stdio: () => new StdioClientTransport({ command: where[0], args: ["mcp", "--data", where[1], "--profile", where[2]], env: process.env, stderr: "ignore" }),
    http: () => new StreamableHTTPClientTransport(new URL(where[0]), { requestInit }),
    sse: () => new SSEClientTransport(new URL(where[0]), { requestInit }),
  }[way]();
  await client.connect(transport);
  const tools = (await client.listTools()).tools.map((tool) => tool.name).sort();
  assert.deepEqual(tools, ["check_scope", "list_keys", "poll_claim", "register_agent", "revoke_key"]);
  return client;
}

async function call(client, tool, args = {}) {
  const result = await client.callTool({ name: tool, arguments: args });
  const text = result.content.map((part) => part.text).join("");
  transcript.push(text);
  if (!result.isError) assert.deepEqual(JSON.parse(text), result.structuredContent);
  return JSON.parse(text);
}

let client = await connect();
if (generation === "client" && era === "auto" && way !== "sse") assert.equal(client.getNegotiatedProtocolVersion?.() ?? "2026-07-28", "2026-07-28");
const nothingYet = await call(client, "list_keys");
assert.equal(nothingYet.error, "not_signed_in");
const wrong = await call(client, "poll_claim", { claim_id: "x", wait_seconds: "soon" });
assert.ok(wrong.error === "invalid_arguments" && wrong.next.includes("wait_seconds"), JSON.stringify(wrong));

const asked = await call(client, "register_agent", { agent_name: name, scopes: SCOPES });
assert.ok(asked.next.includes("was shown"), asked.next);
assert.deepEqual(asked.ignored_scopes, ["no:such"]);

let polled;
do polled = await call(client, "poll_claim", { claim_id: asked.claim_id });
while (polled.status === "pending");

let secret, place;
if (way === "stdio") {
  place = polled.stored_at;
  secret = JSON.parse(readFileSync(place)).key;
} else {
  assert.equal(polled.status, "approved");
  const printed = execFileSync("sh", ["-c", polled.pickup.command], { encoding: "utf8" });
  place = printed.trim().split("@")[1].split(" ")[0];
  secret = readFileSync(place, "utf8").trim().split(" ").pop();
  assert.ok(!printed.includes(secret));
  polled = await call(client, "poll_claim", { claim_id: asked.claim_id, wait_seconds: 0 });
  await client.close();
  client = await connect({ Authorization: `Bearer ${secret}` });
}
assert.equal(statSync(place).mode & 0o777, 0o600);
assert.equal(polled.status, "delivered");
const key = polled.key;

const check = await call(client, "check_scope", { scopes: ["audience:read", "keys:write"] });
assert.deepEqual([check.granted, check.missing, check.allowed], [["audience:read"], ["keys:write"], false]);
const listed = await call(client, "list_keys");
assert.deepEqual(listed.keys.map((it) => it.id), [key.id]);
tell({ key: key.id, scopes: key.scopes, [way === "stdio" ? "stored" : "header"]: place });

assert.equal((await lines.next()).value, "revoke");
assert.equal((await call(client, "revoke_key", { key_id: key.id })).status, "revoked");
assert.ok(transcript.every((said) => !said.includes(secret)), "the key is in the transcript");
tell({ refused: true });
await client.close().catch(() => {});
process.exit(0);
