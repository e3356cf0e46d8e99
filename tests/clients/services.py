"""Services that let Countersign decide who comes: a founder's API in Node and one in Python. (proxies.py has the proxies.)

Usage: services.py BINARY
"""

import http.client
import json
import os
import subprocess
import sys
import time

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
        made = json.loads(self.server.run("keys", "create", "--account", account, "--name", "A key", "--scope", scopes, "--json").stdout)
        self.last = made["id"]
        return made["key"]


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


def main(binary):
    with Server(binary) as server:
        people = People(server)
        founder(people, ["node", HERE / "founder_api.mjs"], "Node")
        founder(people, [sys.executable, HERE / "founder_api.py"], "Python")
    print("2 passed, 0 failed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
