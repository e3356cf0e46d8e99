"""Services that let Countersign decide who comes: a founder's API in Node and one in Python, and a real nginx in front of an API.

Usage: services.py BINARY
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from newcomer import HERE, Server, free_port

PASSWORD = "correct horse battery\n"


def call(port, path, key=None, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, answer.headers, body


def wait_for(port):
    for _ in range(200):
        try:
            return call(port, "/")
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nobody answers on {port}")


def until_refused(port, path, key):
    """Calls until the limit is used up. It refills meanwhile, so how many that takes depends on the machine."""
    answers = []
    for _ in range(100):
        answers.append(call(port, path, key))
        if answers[-1][0] != 200:
            return answers
    raise AssertionError("never refused")


class People:
    """An operator's service, and a user of it on the free plan (10 a minute)."""

    def __init__(self, server):
        self.server = server
        server.run("accounts", "create", "--operator", "--email", "op@example.com", "--password-stdin", stdin=PASSWORD)
        server.run("accounts", "create", "--email", "ada@example.com", "--password-stdin", stdin=PASSWORD)
        self.verifier = self.key("op@example.com", "keys:verify")

    def key(self, account, scopes):
        return self.server.run("keys", "create", "--account", account, "--name", "A key", "--scope", scopes).stdout.strip()


def founder(people, words, name):
    port = free_port()
    env = {**os.environ, "COUNTERSIGN": people.server.base, "VERIFIER": people.verifier}
    api = subprocess.Popen([*words, str(port)], env=env)
    try:
        wait_for(port)
        key, other = people.key("ada@example.com", "audience:read"), people.key("ada@example.com", "email:send")
        *accepted, (status, headers, _) = until_refused(port, "/", key)
        for _, told, body in accepted:
            assert json.loads(body)["account"].startswith("acc_"), body
            assert told["X-RateLimit-Limit"] == "10" and 0 <= int(told["X-RateLimit-Remaining"]) <= 9, told.items()
            assert int(told["X-RateLimit-Reset"]) >= time.time() - 60
        assert len(accepted) >= 10 and status == 429 and 1 <= int(headers["Retry-After"]) <= 60, (status, headers.items())
        assert call(port, "/", other)[0] == 403
        assert call(port, "/")[0] == call(port, "/", "cs_live_nobody")[0] == 401
        people.server.run("accounts", "disable", "ada@example.com", "--yes")
        assert call(port, "/", key)[0] == 401, "a disabled account's key"
        people.server.run("accounts", "enable", "ada@example.com")
        print(f"ok: a founder's API in {name} verifies keys and passes the limits on", flush=True)
    finally:
        api.kill()


class Echo(BaseHTTPRequestHandler):
    """The API behind nginx: says what it was told of the caller."""

    def answer(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}).encode())

    do_GET = do_POST = do_OPTIONS = do_PUT = answer

    def log_message(self, *_):
        pass


def nginx(people):
    api = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    port, home, host = free_port(), tempfile.mkdtemp(prefix="countersign-nginx-"), people.server.base.removeprefix("http://")
    site = (HERE / "nginx.conf").read_text()
    for name, value in {"COUNTERSIGN": host, "PUBLIC_HOST": host, "API": f"127.0.0.1:{api.server_port}", "LISTEN": f"127.0.0.1:{port}"}.items():
        site = site.replace(f"@{name}@", value)
    Path(f"{home}/site.conf").write_text(site)
    places = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    Path(f"{home}/nginx.conf").write_text(
        f"daemon off; pid {home}/pid; error_log {home}/error.log; events {{}} http {{ access_log off; {places} include {home}/site.conf; }}"
    )
    process = subprocess.Popen(["/usr/sbin/nginx", "-p", home, "-c", f"{home}/nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        in_front(people, port)
    except AssertionError:
        print(Path(f"{home}/error.log").read_text()[-2000:], flush=True)
        raise
    finally:
        process.terminate()
        process.wait(10)
        api.shutdown()


def in_front(people, port):
    reader, sender = people.key("ada@example.com", "audience:read"), people.key("ada@example.com", "email:send")
    account = json.loads(people.server.run("accounts", "list", "--search", "ada@", "--json").stdout)["accounts"][0]["id"]

    # a61: what a client says of itself goes no further.
    lies = {f"X_Auth_{name}": "acc_root" for name in ("Account", "External_Id", "Key_Id", "Scopes", "Status", "Subject", "User")}
    status, headers, body = call(port, "/subscribers?page=2", reader, **lies, X_Required_Scope="")
    told = json.loads(body)["headers"]
    assert status == 200 and told["x-auth-account"] == account and told["x-auth-scopes"] == "audience:read", told
    assert "acc_root" not in told.values() and "authorization" not in told, told
    assert json.loads(body)["path"] == "/subscribers?page=2"
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("10", "9"), headers.items()

    # Who may not.
    status, headers, _ = call(port, "/subscribers")
    assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer "), status
    assert call(port, "/subscribers", "cs_live_nobody")[0] == 401
    assert call(port, "/subscribers", sender)[0] == 403
    assert call(port, "/send", reader)[0] == 403
    assert call(port, "/subscribers", reader, X_API_Key=reader)[0] == 400, "two credentials"

    # a61: no method, header or spelling of a path leads around it, and what is not named is not reached.
    for method in ("POST", "OPTIONS", "PUT"):
        assert call(port, "/send", reader, method=method)[0] == 403, method
    for name in ("X_Original_URI", "X_Original_URL", "X_Rewrite_URL", "X_Forwarded_Uri"):
        assert call(port, "/send", reader, **{name: "/subscribers"})[0] == 403, name
    for name in ("X_HTTP_Method_Override", "X_Original_Method"):
        assert call(port, "/send", reader, **{name: "OPTIONS"})[0] == 403, name
    for path in ("/subscribers/..;/send", "/subscribers/%2e%2e/send", "/subscribers/../send", "//send", "/subscribers%2f..%2fsend", "/subscribers/./x"):
        assert call(port, path, reader)[0] == 400, path
    assert call(port, "/other", reader)[0] == 404
    assert call(port, "/_authorize", reader)[0] == 404, "inside only"
    assert call(port, "/forgotten", reader)[0] == 403, "a location that states no scope lets nobody through"
    # a87: a client asks for less or for more, and neither counts.
    assert call(port, "/send", reader, X_Required_Scope="audience:read")[0] == 403
    assert call(port, "/subscribers", reader, X_Required_Scope="email:send")[0] == 200

    # A limit arrives as 429, with the wait.
    *accepted, (status, headers, body) = until_refused(port, "/subscribers", reader)
    assert status == 429 and int(headers["Retry-After"]) >= 1 and json.loads(body)["error"] == "Rate limit exceeded", (status, body)
    # The refusals before have cost nothing: two calls had been let through.
    assert len(accepted) >= 8, len(accepted)

    # a52, a61: revoked means refused, and a server that is down lets nobody in.
    people.server.run("keys", "revoke", told["x-auth-key-id"], "--yes")
    assert call(port, "/subscribers", reader)[0] == 401
    people.server.stop()
    assert call(port, "/send", sender)[0] == 500
    print("ok: nginx asks before every request, and nothing a client sends leads around it", flush=True)


def main(binary):
    with Server(binary, COUNTERSIGN_TRUSTED_PROXIES='["127.0.0.1/32"]') as server:
        people = People(server)
        founder(people, ["node", HERE / "founder_api.mjs"], "Node")
        founder(people, [sys.executable, HERE / "founder_api.py"], "Python")
        nginx(people)
    print("3 passed, 0 failed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
