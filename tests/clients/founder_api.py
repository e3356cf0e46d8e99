"""A founder's API in Python: each request's key is verified with one call, and the limit's headers go on to the caller.

Usage: COUNTERSIGN=http://… VERIFIER=<key with keys:verify> founder_api.py PORT
"""

import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STATUS = {"INSUFFICIENT_SCOPE": 403, "RATE_LIMITED": 429}


def verify(key, scope):
    request = urllib.request.Request(
        f"{os.environ['COUNTERSIGN']}/v1/keys/verify",
        data=json.dumps({"key": key, "scope": scope}).encode(),
        headers={"Authorization": f"Bearer {os.environ['VERIFIER']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["data"]


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        try:
            verdict = verify(key if scheme.lower() == "bearer" else "", "audience:read")
        except OSError:
            # Who can't be asked lets nobody in.
            return self.say(503, {"error": "Try again"})
        headers = {}
        if limit := verdict["ratelimit"]:
            headers = {f"X-RateLimit-{name.title()}": limit[name] for name in ("limit", "remaining", "reset")}
            if "retry_after" in limit:
                headers["Retry-After"] = limit["retry_after"]
        if not verdict["valid"]:
            error = "Rate limit exceeded" if verdict["code"] == "RATE_LIMITED" else "Not allowed"
            return self.say(STATUS.get(verdict["code"], 401), {"error": error}, headers)
        self.say(200, {"subscribers": [], "account": verdict["account_id"], "user": verdict["external_id"]}, headers)

    def say(self, status, body, headers={}):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
