// The real TypeScript client with OAuth switched on and a key of its configuration that is refused; prints what its human
// would read. Usage: refused.mjs MODULES PACKAGE URL KEY

import { createRequire } from "node:module";

const [modules, generation, url, key] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const of = (path) => require(`@modelcontextprotocol/sdk/${path}`);
const { Client, StreamableHTTPClientTransport } =
  generation === "client" ? require("@modelcontextprotocol/client") : { ...of("client/index.js"), ...of("client/streamableHttp.js") };

const provider = {
  redirectUrl: "http://127.0.0.1:9/callback",
  clientMetadata: { client_name: "a test", redirect_uris: ["http://127.0.0.1:9/callback"] },
  clientInformation: () => undefined,
  saveClientInformation: () => {},
  tokens: () => undefined,
  saveTokens: () => {},
  redirectToAuthorization: (where) => console.log(`opens ${where}`),
  saveCodeVerifier: () => {},
  codeVerifier: () => "verifier",
};
const requestInit = { headers: { Authorization: `Bearer ${key}` } };
const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider, requestInit });
try {
  await new Client({ name: "a test", version: "1" }).connect(transport);
  console.log("connected");
} catch (error) {
  console.log(String(error.message).replaceAll("\n", " "));
}
process.exit(0);
