"""Whether the product does what its OpenAPI document says, asked by schemathesis: contract.py BINARY SCHEMATHESIS

Each configuration is asked with an operator's key and without one. Every check is on, what no schema can say is in
schemathesis.toml, and a seed makes a finding come again.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from newcomer import Server

HERE = Path(__file__).parent
# Limits are the subject of other tests; here they would only hide answers.
SETTINGS = {"COUNTERSIGN_LIMITS__REGISTRATIONS_PER_HOUR": "0", "COUNTERSIGN_LOG": "warn"}
RESERVED = {"keys:read", "keys:revoke", "keys:write", "keys:verify"}


def ask(st, server, key, *only):
    report = tempfile.mkdtemp(prefix="countersign-contract-")
    header = ["-H", f"Authorization: Bearer {key}"] if key else []
    command = [st, "--config-file", HERE / "schemathesis.toml", "run", f"{server.base}/openapi.json"]
    words = ["--checks", "all", "--max-examples", "30", "--seed", "1", "--no-color", "--request-timeout", "20", "--continue-on-failure"]
    run = subprocess.run([*command, *words, *header, *only], cwd=report, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.strip().splitlines()[-1]


def key(server, name):
    """May do all there is, so that what it is asked to do goes through."""
    catalogue = json.load(urllib.request.urlopen(f"{server.base}/.well-known/oauth-protected-resource"))["scopes_supported"]
    scopes = ",".join(RESERVED.union(catalogue))
    words = ["keys", "create", "--account", "op@example.com", "--name", name, "--scope", scopes, "--json"]
    return json.loads(server.run(*words).stdout)["key"]


def configurations():
    """The defaults, the other envelope, and every product whose configuration is here."""
    products = {path.stem: {"COUNTERSIGN_CONFIG": str(path)} for path in sorted((HERE.parent / "profiles").glob("*.toml"))}
    return {"defaults": {}, **(products or {"nested": {"COUNTERSIGN_PROFILE": "nested"}})}


def main(binary, st):
    # What ends a key may end the asking one, so it comes last and with a key of its own.
    ends = ["revokeKey", "rotateKey"]
    for name, settings in configurations().items():
        server = Server(binary, **SETTINGS, **settings)
        server.env |= {"COUNTERSIGN_LISTEN": server.base.removeprefix("http://"), "COUNTERSIGN_PUBLIC_URL": server.base}
        with server:
            server.run("accounts", "create", "--operator", "--email", "op@example.com", "--password-stdin", stdin="correct horse battery\n")
            print(f"{name}, without a key:", ask(st, server, None))
            print(f"{name}, with a key:", ask(st, server, key(server, "asks"), *(w for e in ends for w in ("--exclude-operation-id", e))))
            print(f"{name}, ending keys:", ask(st, server, key(server, "ends"), *(w for e in ends for w in ("--include-operation-id", e))))


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
