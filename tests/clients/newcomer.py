"""The whole product as a newcomer meets it: server, agent and human are real, no step is mocked.

Usage: newcomer.py BINARY CLIENTS   (where tests/install put the clients)
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import human
import keyboard

HERE = Path(__file__).parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, binary, **settings):
        self.binary, self.home = binary, tempfile.mkdtemp(prefix="countersign-home-")
        self.data = f"{self.home}/data"
        self.base = f"http://127.0.0.1:{free_port()}"
        self.env = {**os.environ, "HOME": self.home, "XDG_CONFIG_HOME": f"{self.home}/.config", "COUNTERSIGN_DATA": self.data}
        os.makedirs(self.data, mode=0o700)
        # A client starts its server with an environment of its own, so the port is in the file.
        Path(f"{self.data}/countersign.toml").write_text(f'listen = "{self.base.removeprefix("http://")}"')
        self.env |= settings

    def __enter__(self):
        self.log = open(f"{self.home}/log", "wb")
        self.process = subprocess.Popen([self.binary], env=self.env, stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                return urllib.request.urlopen(f"{self.base}/readyz") and self
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None, self.output()
                time.sleep(0.05)
        raise AssertionError("the server did not start: " + self.output())

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self.output()

    def output(self):
        return Path(f"{self.home}/log").read_text()

    def setup_code(self):
        return re.search(r"[A-Z0-9]{4}-[A-Z0-9]{4}", Path(f"{self.data}/setup-code").read_text())[0]

    def run(self, *words, check=True, stdin=None):
        return subprocess.run([self.binary, *words], env=self.env, capture_output=True, text=True, check=check, input=stdin)


def walk(server, page, agent, way, how="", by="agent"):
    """Ask, approve, use, revoke: one agent from nothing to nothing. Its human revokes the key, or it does so itself."""
    name = f"{agent[0]} over {way}{how}"
    where = {"stdio": [server.binary, server.data, name], "http": [f"{server.base}/mcp"], "sse": [f"{server.base}/sse"]}[way]
    agent = subprocess.Popen([*agent[1], name, way, *where], env=server.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear():
        line = agent.stdout.readline()
        assert line, f"{name} died"
        return json.loads(line)

    try:
        shown = hear()
        human.open_review(page, shown["link"], shown["code"])
        words = page.inner_text("main")
        assert f'An agent calling itself "{name}"' in words.replace("“", '"').replace("”", '"'), words
        human.approve(page, shown["code"], drop=["email:send"])
        got = hear()
        assert got["scopes"] == ["audience:read"], got

        if way == "stdio":
            used = server.run("curl", "--key", got["key"], "-sS", "/v1/projects").stdout
            shown_env = server.run("exec", "--key", got["key"], "--env", "API_KEY", "--", "sh", "-c", "echo ${#API_KEY} $API_KEY").stdout
            secret = json.load(open(got["stored"]))["key"]
            assert secret not in shown_env and shown_env.split()[0] == str(len(secret)), "exec shows the key"
        else:
            used = subprocess.run(["curl", "-sS", "-H", f"@{got['header']}", f"{server.base}/v1/projects"], capture_output=True, text=True).stdout
            secret = Path(got["header"]).read_text().split()[-1]
        assert json.loads(used) == {"success": True, "data": {"projects": [], "total": 0}}, used

        if by == "human":
            human.revoke(page, server.base, got["key"])
            agent.stdin.write("revoked\n")
        else:
            agent.stdin.write("revoke\n")
        agent.stdin.flush()
        assert hear() == {"refused": True}
        if not how:  # else the server ended with its client
            refused = urllib.request.Request(f"{server.base}/v1/projects", headers={"Authorization": f"Bearer {secret}"})
            try:
                raise AssertionError(urllib.request.urlopen(refused).read())
            except urllib.error.HTTPError as error:
                answer = json.load(error)
                assert error.code == 401 and answer["success"] is False and answer["error"] == "Invalid or missing API key", answer
        assert agent.wait(20) == 0
        assert secret not in server.output(), "the key is in the log"
        print(f"ok: {name}", flush=True)
    finally:
        agent.kill()


def seed_000(server, page):
    """The three documented calls with only the host changed, then the documented answers."""
    body = '{"type":"service_auth","login_hint":"user@example.com","agent_name":"Claude","scope":"audience:read campaign:read email:send"}'
    curl = ["curl", "-sS", "-X", "POST", "-H", "Content-Type: application/json"]
    asked = json.loads(subprocess.check_output([*curl, f"{server.base}/agent/identity", "-d", body]))
    assert asked["ignored_scopes"] == ["campaign:read"], asked
    refused = json.loads(subprocess.check_output([*curl, f"{server.base}/agent/identity", "-d", body.replace("audience:read campaign:read email:send", "campaign:read")]))
    assert refused["error"] == "invalid_scope" and "audience:read" in refused["error_description"], refused
    poll = json.dumps({"grant_type": "urn:workos:agent-auth:grant-type:claim", "claim_token": asked["claim_token"]})
    token = [*curl, f"{server.base}/oauth2/token", "-d", poll]
    assert json.loads(subprocess.check_output(token))["error"] == "authorization_pending"
    human.open_review(page, asked["claim"]["verification_uri_complete"], asked["claim"]["user_code"])
    human.approve(page, asked["claim"]["user_code"])
    got = json.loads(subprocess.check_output(token))
    projects = ["curl", "-sS", f"{server.base}/v1/projects", "-H", f"Authorization: Bearer {got['access_token']}"]
    assert json.loads(subprocess.check_output(projects)) == {"success": True, "data": {"projects": [], "total": 0}}
    assert json.loads(subprocess.check_output(token))["error"] == "invalid_grant", "delivered twice"
    human.revoke(page, server.base, got["key_id"])
    assert json.loads(subprocess.check_output(projects))["error"] == "Invalid or missing API key"
    print("ok: the three calls of the first public document", flush=True)


def inspect(server, page, clients):
    """The Inspector's opinion of the list of tools, and each of them called by it, over every way in."""
    for way, where in (("http", [f"{server.base}/mcp"]), ("sse", [f"{server.base}/sse"]), ("stdio", [server.binary, "mcp", "--data", server.data])):
        header = []
        if way != "stdio":
            made = server.run("keys", "create", "--account", human.EMAIL, "--name", "Inspector", "--scope", "audience:read", "--json")
            header = ["--header", f"Authorization: Bearer {json.loads(made.stdout)['key']}"]

        def inspector(*words):
            command = [f"{clients}/node/bin/node", f"{clients}/ts/node_modules/.bin/mcp-inspector", "--cli", *where, *header, "--method", *words]
            done = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=90)
            assert done.returncode == 0, (way, words, done.returncode, done.stdout, done.stderr)
            return json.loads(done.stdout)

        def call(tool, **arguments):
            pairs = [f"{name}={value}" for name, value in arguments.items()]
            return inspector("tools/call", "--tool-name", tool, *(["--tool-arg", *pairs] if pairs else []))["structuredContent"]

        assert len(inspector("tools/list", "--strict")["tools"]) == 5
        asked = call("register_agent", agent_name=f"Inspector over {way}")
        human.open_review(page, asked["verification_uri_complete"], asked["user_code"])
        human.approve(page, asked["user_code"])
        assert call("poll_claim", claim_id=asked["claim_id"])["status"] == ("delivered" if way == "stdio" else "approved")
        key = call("check_scope")["key"]["id"]
        assert [it["id"] for it in call("list_keys")["keys"]] == [key]
        assert call("revoke_key", key_id=key)["status"] == "revoked"
        print(f"ok: Inspector over {way}", flush=True)


def agents(clients):
    """Every generation of every SDK, in every era it has: its name, the command that starts it, its ways in."""
    python = lambda version, era: (f"Python {version} {era}", [f"{clients}/mcp-{version}/bin/python", HERE / "agent.py", era])
    script = lambda package, era: (f"TypeScript {package} {era}", [f"{clients}/node/bin/node", HERE / "ts/agent.mjs", f"{clients}/ts", package, era])
    everywhere = ("stdio", "http", "sse")
    return [
        (python("2", "auto"), everywhere),
        (python("2", "legacy"), everywhere),
        (python("1", "legacy"), everywhere),
        (script("client", "auto"), everywhere),
        (script("client", "legacy"), everywhere),
        (script("sdk", "legacy"), everywhere),
    ]


def main(binary, clients):
    passed = 0
    with Server(binary, COUNTERSIGN_LIMITS__REGISTRATIONS_PER_HOUR="0") as server, human.browser() as page:
        human.set_up(page, server.base, server.setup_code())
        seed_000(server, page)
        keyboard.a30_keyboard_only_at_320_px(server, page)
        keyboard.a30_a_keys_life_by_keyboard(server, page)
        page.set_viewport_size({"width": 768, "height": 1000})
        inspect(server, page, clients)
        for agent, ways in agents(clients):
            for way in ways:
                walk(server, page, agent, way, by="human" if passed < 2 else "agent")
                passed += 1
        # A client that starts everything itself, with no `serve` running: the pages come with it.
        server.stop()
        walk(server, page, agents(clients)[0][0], "stdio", " alone")
    print(f"{passed + 6} passed, 0 failed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
