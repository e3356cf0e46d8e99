"""The whole product as a newcomer meets it: server, agent and human are real, no step is mocked.

Usage: newcomer.py BINARY AGENT_PYTHON…   (one interpreter per generation of the MCP package)
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


def walk(server, page, python, way, how=""):
    """Ask, approve, use, revoke: one agent from nothing to nothing."""
    name = f"{Path(python).parts[-3]} over {way}{how}"
    where = ["stdio", server.binary, server.data, name] if way == "stdio" else ["http", f"{server.base}/mcp"]
    agent = subprocess.Popen([python, HERE / "agent.py", name, *where], env=server.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

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

        human.revoke(page, server.base, got["key"])
        refused = urllib.request.Request(f"{server.base}/v1/projects", headers={"Authorization": f"Bearer {secret}"})
        try:
            raise AssertionError(urllib.request.urlopen(refused).read())
        except urllib.error.HTTPError as error:
            answer = json.load(error)
            assert error.code == 401 and answer["success"] is False and answer["error"] == "Invalid or missing API key", answer
        agent.stdin.write("revoked\n")
        agent.stdin.flush()
        assert hear() == {"refused": True}
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


def main(binary, pythons):
    with Server(binary) as server, human.browser() as page:
        human.set_up(page, server.base, server.setup_code())
        seed_000(server, page)
        keyboard.a30_keyboard_only_at_320_px(server, page)
        keyboard.a30_a_keys_life_by_keyboard(server, page)
        page.set_viewport_size({"width": 768, "height": 1000})
        for python in pythons:
            for way in ("stdio", "http"):
                walk(server, page, python, way)
        # A client that starts everything itself, with no `serve` running: the pages come with it.
        server.stop()
        walk(server, page, pythons[0], "stdio", " alone")
    print(f"{4 + 2 * len(pythons)} passed, 0 failed", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
