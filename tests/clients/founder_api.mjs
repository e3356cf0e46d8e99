// A founder's API in Node: each request's key is verified with one call, and the limit's headers go on to the caller.
// Usage: COUNTERSIGN=http://… VERIFIER=<key with keys:verify> node founder_api.mjs PORT
import { createServer } from "node:http";

const { COUNTERSIGN, VERIFIER } = process.env;
const STATUS = { NOT_FOUND: 401, REVOKED: 401, EXPIRED: 401, DISABLED: 401, WRONG_ENVIRONMENT: 401, INSUFFICIENT_SCOPE: 403, RATE_LIMITED: 429 };

async function verify(request, scope) {
  const key = request.headers.authorization?.replace(/^Bearer /i, "") ?? "";
  const answer = await fetch(`${COUNTERSIGN}/v1/keys/verify`, {
    method: "POST",
    headers: { authorization: `Bearer ${VERIFIER}`, "content-type": "application/json" },
    body: JSON.stringify({ key, scope }),
  });
  if (!answer.ok) throw new Error(`verify answered ${answer.status}`);
  return (await answer.json()).data;
}

createServer(async (request, response) => {
  const say = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  try {
    const verdict = await verify(request, "audience:read");
    const limit = verdict.ratelimit;
    if (limit) {
      response.setHeader("X-RateLimit-Limit", limit.limit);
      response.setHeader("X-RateLimit-Remaining", limit.remaining);
      response.setHeader("X-RateLimit-Reset", limit.reset);
      if (limit.retry_after) response.setHeader("Retry-After", limit.retry_after);
    }
    if (!verdict.valid) return say(STATUS[verdict.code] ?? 401, { error: verdict.code === "RATE_LIMITED" ? "Rate limit exceeded" : "Not allowed" });
    say(200, { subscribers: [], account: verdict.account_id, user: verdict.external_id });
  } catch {
    // Who can't be asked lets nobody in.
    say(503, { error: "Try again" });
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
