"""The README's examples that verify a key, word for word, against the real binary: curl, Node, Python, Go and Rust.

Usage: languages.py BINARY NODE RUST_EXAMPLE   (the last is `verify` of this crate's examples, built from verify.rs)
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from newcomer import HERE, Server
from services import People

README = (HERE.parent.parent / "README.md").read_text()

# What stands around an example to make a program of it that prints the verdict of a key and a scope.
NODE = "{}\nconsole.log(JSON.stringify(await verify(process.argv[2], process.argv[3])));\n"
PYTHON = "{}\nimport sys\nprint(json.dumps(verify(*sys.argv[1:])))\n"
GO = """package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

{}
func main() {{
	verdict, err := verify(os.Args[1], os.Args[2])
	if err != nil {{
		panic(err)
	}}
	fmt.Printf("{{\\"valid\\":%t,\\"code\\":%q}}\\n", verdict.Valid, verdict.Code)
}}
"""


def example(title, language):
    """The one block of code that follows a title."""
    return re.search(rf"^\*\*{title}\*\*\n\n```{language}\n(.*?)^```$", README, re.S | re.M)[1]


def programs(node, rust, folder):
    """For each language a function from key, scope and environment to what it says."""

    def written(name, text):
        path = Path(folder, name)
        path.write_text(text)
        return str(path)

    def run(command, key, scope, env):
        done = subprocess.run([*command, key, scope], env={**os.environ, **env}, capture_output=True, text=True, cwd=folder)
        return json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr}

    def curl(key, scope, env):
        text = example("curl", "sh").replace('"email:send"', f'"{scope}"')
        done = subprocess.run(["bash", "-c", text.replace("curl ", "curl -sSf ", 1)], env={**os.environ, **env, "KEY": key}, capture_output=True, text=True)
        return json.loads(done.stdout)["data"] if done.returncode == 0 else {"failed": done.stderr}

    go = ["go", "build", "-o", f"{folder}/verify-go", written("verify.go", GO.format(example("Go", "go")))]
    subprocess.run(go, check=True, cwd=folder, env={**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOCACHE": f"{folder}/go"})
    assert example("Rust", "rust") in (HERE / "verify.rs").read_text(), "verify.rs is not the README's example"
    yield "curl", curl
    for name, command in (
        ("Node", [node, written("verify.mjs", NODE.format(example("Node", "js")))]),
        ("Python", [sys.executable, written("verify.py", PYTHON.format(example("Python", "python")))]),
        ("Go", [f"{folder}/verify-go"]),
        ("Rust", [rust]),
    ):
        yield name, lambda key, scope, env, command=command: run(command, key, scope, env)


def main(binary, node, rust):
    with Server(binary) as server, tempfile.TemporaryDirectory() as folder:
        people = People(server)
        env = {"COUNTERSIGN": server.base, "VERIFIER": people.verifier}
        tried = 0
        for name, verify in programs(node, rust, folder):
            key = people.key("ada@example.com", "email:send")
            for asked, scope, valid, code in (
                (key, "email:send", True, "VALID"),
                (key, "audience:read", False, "INSUFFICIENT_SCOPE"),
                ("cs_live_nobody", "email:send", False, "NOT_FOUND"),
                ('a"b\\c', "email:send", False, "NOT_FOUND") if name != "curl" else (key, "email:send", True, "VALID"),
            ):
                verdict = verify(asked, scope, env)
                assert (verdict.get("valid"), verdict.get("code")) == (valid, code), (name, asked[:8], scope, verdict)
            server.run("keys", "revoke", people.last, "--yes")
            assert verify(key, "email:send", env)["code"] == "REVOKED", name
            # A verifier that is none is an error, and no verdict.
            assert "failed" in verify(key, "email:send", {**env, "VERIFIER": "cs_live_nobody"}), name
            tried += 1
            print(f"ok: the README's example in {name}", flush=True)
        assert tried == 5
    print("5 passed, 0 failed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
