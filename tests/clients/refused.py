"""Clients with a key that is refused, wrong or revoked: whichever they are, they show their human our own sentence.

Usage: refused.py BINARY CLIENTS   (where tests/install put the clients)
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from newcomer import HERE, Server

SENTENCE = "the presented key is not valid: take it out of this connection"
HELLO = (
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
    '"clientInfo":{"name":"a test","version":"1"}}}\n'
)


def key_of(server):
    server.run("accounts", "create", "--email", "ada@example.com", "--password-stdin", stdin="correct horse battery\n")
    return server.run("keys", "create", "--account", "ada@example.com", "--name", "Spent", "--scope", "keys:read").stdout.strip()


def said_by(words, env, stdin=""):
    """All that a client says until it gives up, or is told that it was heard."""
    client = subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        client.stdin.write(stdin)
        client.stdin.flush()
        said = ""
        for line in client.stdout:
            said += line
            if SENTENCE in line or '"result"' in line:
                break
        return said
    finally:
        client.kill()
        client.wait()


def main(binary, clients):
    clients = Path(clients)
    node, remote = clients / "node/bin/node", clients / "mcp-remote/node_modules/mcp-remote/dist/proxy.js"
    with Server(binary) as server:
        revoked = key_of(server)
        url = f"{server.base}/mcp"

        def remote_with(key):
            # It keeps what it learned of a server; nothing of an earlier run is to be used.
            env = {**os.environ, "MCP_REMOTE_CONFIG_DIR": tempfile.mkdtemp(prefix="mcp-remote-"), "BROWSER": "true", "DISPLAY": ""}
            words = [node, remote, url, "--allow-http", "--header", f"Authorization: Bearer {key}"]
            return said_by(words, env, HELLO)

        said = remote_with(revoked)
        assert '"result"' in said, f"mcp-remote with a good key: {said}"
        [key] = json.loads(server.run("keys", "list", "--json").stdout)["keys"]
        server.run("keys", "revoke", "--yes", key["id"])
        for key in (revoked, "cs_live_wrong"):
            said = remote_with(key)
            assert SENTENCE in said, f"mcp-remote: {said}"
            assert key not in said.replace(f"Bearer {key}", ""), "mcp-remote repeats the key"
            for package in ("sdk", "client"):
                said = said_by([node, HERE / "ts/refused.mjs", clients / "ts", package, url, key], os.environ)
                assert SENTENCE in said, f"{package} of TypeScript: {said}"
            for version in ("mcp-1", "mcp-2"):
                said = said_by([clients / version / "bin/python", HERE / "refused_client.py", url, key], os.environ)
                assert SENTENCE in said, f"{version} of Python: {said}"
    print("refused keys: every client says why")


if __name__ == "__main__":
    main(*sys.argv[1:])
