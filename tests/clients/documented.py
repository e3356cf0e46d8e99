"""Every documented command of two real products, in every language they are documented for, against the real binary with
each product's own configuration. The human is at a real browser.

Usage: documented.py BINARY NODE REQUESTS_PYTHON
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import human
from newcomer import HERE, Server


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def shows(self, status, **members):
        """Fails unless the answer is what the document shows."""
        assert self.status == status, (self.status, self.body)
        for name, value in members.items():
            assert self.body.get(name) == value, (name, self.body)
        return self


class Language:
    """Runs a documented command; its secrets are in its environment and, for Node, in a .env file."""

    def __init__(self, name, command, base):
        self.name, self.command, self.base = name, command, base
        self.home = tempfile.mkdtemp(prefix="countersign-documented-")
        Path(self.home, ".curlrc").write_text("silent\ninclude\n")

    def run(self, call, **secrets):
        Path(self.home, ".env").write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
        env = {**os.environ, "API": self.base, "CURL_HOME": self.home, "NODE_PATH": "target/clients/documented/node_modules", **secrets}
        env["NODE_PATH"] = str(HERE.parent.parent / env["NODE_PATH"])
        out = subprocess.run([*self.command, call], cwd=self.home, env=env, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        if self.name != "curl":
            return Answer(**json.loads(out.stdout))
        head, _, body = out.stdout.replace("\r\n", "\n").partition("\n\n")
        status, *headers = head.split("\n")
        headers = dict(line.lower().split(": ", 1) for line in headers)
        return Answer(int(status.split()[1]), headers, json.loads(body))


def languages(base, node, python):
    yield Language("curl", ["bash", HERE / "documented.sh"], base)
    yield Language("Node fetch", [node, HERE / "documented.cjs"], base)
    yield Language("Python requests", [python, HERE / "documented_requests.py"], base)


def product(binary, name):
    """The product's own configuration, on a port of this computer."""
    server = Server(binary, COUNTERSIGN_CONFIG=str(HERE.parent / "profiles" / f"{name}.toml"))
    server.env |= {f"COUNTERSIGN_{url}": server.base for url in ("PUBLIC_URL", "PAGES_URL")}
    server.env |= {"COUNTERSIGN_LISTEN": server.base.removeprefix("http://")}
    return server


NOBODY = {"success": False, "error": "Invalid or missing API key"}


def migma(server, page, language):
    """Ask, approve, use until the limit, revoke."""
    asked = language.run("register").shows(200, ignored_scopes=[])
    claim = asked.body["claim"]
    assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", claim["user_code"]), claim
    assert claim["verification_uri"] == f"{server.base}/claim", claim
    assert claim["verification_uri_complete"] == f"{server.base}/claim?code={claim['user_code']}", claim
    poll = {"CLAIM_TOKEN": asked.body["claim_token"]}
    language.run("token", **poll).shows(400, error="authorization_pending")

    human.open_review(page, claim["verification_uri_complete"], claim["user_code"])
    words = page.inner_text("main").replace("“", '"').replace("”", '"')
    for promised in ('An agent calling itself "Claude"', "View subscribers", "View campaigns", "Send emails to subscribers", "user@example.com"):
        assert promised in words, (promised, words)
    human.approve(page, claim["user_code"])

    got = language.run("token", **poll).shows(200, token_type="Bearer")
    assert got.headers["cache-control"] == "no-store", got.headers
    assert set(got.body["scope"].split()) == {"audience:read", "campaign:read", "email:send"}, got.body
    assert got.body["access_token"].startswith("mgma_sk_live_") and "expires_in" not in got.body, got.body["scope"]
    language.run("token", **poll).shows(400, error="invalid_grant")

    key = {"MIGMA_API_KEY": got.body["access_token"]}
    for left in range(9, -1, -1):
        valid = language.run("projects", **key).shows(200, success=True, data={"projects": [], "total": 0})
        assert valid.headers["x-ratelimit-limit"] == "10" and int(valid.headers["x-ratelimit-remaining"]) >= left, valid.headers
        assert int(valid.headers["x-ratelimit-reset"]) > 1609459200, valid.headers
    for _ in range(10):
        # An allowance of ten a minute grows while a slow machine makes its calls.
        over = language.run("projects", **key)
        if over.status == 429:
            break
    over.shows(429, success=False, error="Rate limit exceeded")
    assert over.body["retryAfter"] == int(over.headers["retry-after"]) <= 60, (over.body, over.headers)
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= over.headers.keys(), over.headers

    human.revoke(page, server.base, got.body["key_id"])
    for nobody in (key["MIGMA_API_KEY"], "mgma_sk_live_1234567890abcdef", ""):
        language.run("projects", MIGMA_API_KEY=nobody).shows(401, **NOBODY)
    assert got.body["access_token"] not in server.output(), "the key is in the log"
    print(f"ok: the commands of the first product with {language.name}", flush=True)


def environments(server, language):
    """Test keys start with mgma_sk_test_, and do not open production."""
    made = server.run("keys", "create", "--account", human.EMAIL, "--name", "Development", "--scope", "audience:read", "--environment", "test", "--json")
    key = json.loads(made.stdout)["key"]
    assert key.startswith("mgma_sk_test_"), key[:13]
    language.run("projects", MIGMA_API_KEY=key).shows(401, **NOBODY)
    print("ok: a test key in production", flush=True)


def published(server, language):
    """Everything an agent needs is published."""
    for path, needed in (
        ("/auth.md", ("/agent/identity", "/oauth2/token", "MIGMA_API_KEY", "audience:read", server.base)),
        ("/.well-known/oauth-authorization-server", (f'"issuer":"{server.base}"', '"token_endpoint"', '"agent_auth"')),
    ):
        text = subprocess.run(["curl", "-sSf", f"{server.base}{path}"], capture_output=True, text=True, check=True).stdout
        assert all(word in text for word in needed), (path, [word for word in needed if word not in text])
    print("ok: what agents read is published", flush=True)


def magpipe(server, language):
    """A session token by password; with it a key; both list agents; the session is refreshed, the key revoked."""
    anon = {"ANON_KEY": json.loads(server.run("config", "show", "--json").stdout)["sessions"]["publishable_key"]}
    unauthorized = {"error": {"code": "unauthorized", "message": "Unauthorized"}}

    def lists(bearer, status, body):
        answer = language.run("list_agents", MAGPIPE_API_KEY=bearer).shows(status)
        assert answer.body == body, answer.body

    def manage(bearer, **body):
        curl = ["curl", "-sS", f"{server.base}/functions/v1/manage-api-keys", "-H", f"Authorization: Bearer {bearer}", "--json", json.dumps(body)]
        return json.loads(subprocess.run(curl, capture_output=True, text=True, check=True).stdout)

    session = language.run("password", EMAIL=human.EMAIL, PASSWORD=human.PASSWORD, **anon).shows(200, token_type="bearer", expires_in=3600)
    assert set(session.body) == {"access_token", "token_type", "expires_in", "refresh_token"}, session.body.keys()
    assert session.body["access_token"].startswith("eyJ")
    lists(session.body["access_token"], 200, {"agents": []})

    made = manage(session.body["access_token"], action="generate", name="CI Pipeline")
    assert re.fullmatch(r"mgp_[0-9a-f]{40}", made["key"]) and made["key"].startswith(made["key_prefix"]), made["key_prefix"]
    lists(made["key"], 200, {"agents": []})

    fresh = language.run("refresh", REFRESH_TOKEN=session.body["refresh_token"], **anon).shows(200, token_type="bearer", expires_in=3600)
    lists(fresh.body["access_token"], 200, {"agents": []})

    assert manage(fresh.body["access_token"], action="revoke", key_id=made["id"]) == {"success": True}
    keys = {key["id"]: key for key in manage(fresh.body["access_token"], action="list")["keys"]}
    assert keys[made["id"]]["is_active"] is False and keys[made["id"]]["last_used_at"], keys[made["id"]]
    for nobody in (made["key"], "eyJhbGciOiJIUzI1NiIs...", "mgp_your_api_key_here", ""):
        lists(nobody, 401, unauthorized)
    wrong = language.run("password", EMAIL=human.EMAIL, PASSWORD="your-password", **anon).shows(400)
    assert wrong.body["error"]["code"] == "invalid_grant", wrong.body
    language.run("password", EMAIL=human.EMAIL, PASSWORD=human.PASSWORD, ANON_KEY="YOUR_ANON_KEY").shows(401, **unauthorized)
    for secret in (made["key"], fresh.body["access_token"], fresh.body["refresh_token"], human.PASSWORD):
        assert secret not in server.output(), "a secret is in the log"
    print(f"ok: the commands of the second product with {language.name}", flush=True)


def main(binary, node, python):
    with product(binary, "migma") as server, human.browser() as page:
        human.set_up(page, server.base, server.setup_code())
        for language in languages(server.base, node, python):
            if language.name == "curl":
                published(server, language)
                environments(server, language)
            migma(server, page, language)
    with product(binary, "magpipe") as server, human.browser() as page:
        human.set_up(page, server.base, server.setup_code())
        for language in languages(server.base, node, python):
            magpipe(server, language)


if __name__ == "__main__":
    main(*sys.argv[1:])
