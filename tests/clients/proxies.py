"""Real proxies in front of an API: nginx, Caddy, Traefik and Envoy, each with its sample configuration, and the same visitor.

Usage: proxies.py BINARY TRAEFIK ENVOY [NAME...]
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
from services import People, call, until_refused, wait_for

ORIGIN = "https://app.example.com"
SAID = ("Account", "External_Id", "Key_Id", "Scopes", "Status", "Subject", "User")


class Echo(BaseHTTPRequestHandler):
    """The API behind a proxy: says what it was told of the caller."""

    def answer(self):
        self.send_response(200)
        self.end_headers()
        if self.command != "HEAD":
            told = {"method": self.command, "path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
            self.wfile.write(json.dumps(told).encode())

    do_GET = do_POST = do_OPTIONS = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_PROPFIND = answer

    def log_message(self, *_):
        pass


class Proxy:
    """One of them, with its sample configuration, in front of the API."""

    def __init__(self, name, words, site, files, public_host, api):
        self.name, self.port = name, free_port()
        self.home = tempfile.mkdtemp(prefix=f"countersign-{name}-")
        text = (HERE / site).read_text()
        addresses = {"COUNTERSIGN": public_host, "API": api, "LISTEN": f"127.0.0.1:{self.port}"}
        for name, address in addresses.items():
            host, port = address.split(":")
            for key, value in {name: address, f"{name}_HOST": host, f"{name}_PORT": port}.items():
                text = text.replace(f"@{key}@", value)
        text = text.replace("@PUBLIC_HOST@", public_host).replace("@ORIGIN@", ORIGIN)
        Path(f"{self.home}/site").write_text(text)
        for path, content in files.items():
            Path(f"{self.home}/{path}").write_text(content.format(home=self.home, port=self.port))
        self.log = open(f"{self.home}/log", "wb")
        words = [word.format(home=self.home) for word in words]
        environment = {**os.environ, "HOME": self.home, "XDG_DATA_HOME": self.home, "XDG_CONFIG_HOME": self.home}
        self.process = subprocess.Popen(words, cwd=self.home, env=environment, stdout=self.log, stderr=self.log)

    def __enter__(self):
        try:
            wait_for(self.port)
            # Traefik answers before it has read what is behind it.
            for _ in range(200):
                if call(self.port, "/subscribers")[0] == 401:
                    break
                time.sleep(0.05)
        except AssertionError:
            self.__exit__(AssertionError)
            raise
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        self.process.wait(20)
        if kind:
            print(Path(f"{self.home}/log").read_text(errors="replace")[-4000:], flush=True)


def nginx(*addresses):
    places = "".join(f"{kind}_temp_path {{home}}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = "daemon off; pid {home}/pid; error_log stderr; events {{}} http {{ access_log off; " + places + " include {home}/site; }}"
    return Proxy("nginx", ["/usr/sbin/nginx", "-p", "{home}", "-c", "{home}/main"], "nginx.conf", {"main": main}, *addresses)


def caddy(*addresses):
    return Proxy("caddy", ["caddy", "run", "--config", "{home}/site", "--adapter", "caddyfile"], "caddy.Caddyfile", {}, *addresses)


def traefik(program, *addresses):
    main = "entryPoints: {{web: {{address: '127.0.0.1:{port}'}}}}\nproviders: {{file: {{filename: {home}/site.yaml}}}}\nlog: {{level: INFO}}\n"
    # Traefik takes its own file and the one above by their endings.
    words = ["sh", "-c", "mv {home}/site {home}/site.yaml && exec " + program + " --configFile={home}/main.yaml"]
    return Proxy("traefik", words, "traefik.yaml", {"main.yaml": main}, *addresses)


def envoy(program, *addresses):
    words = ["sh", "-c", "mv {home}/site {home}/site.yaml && exec " + program + " -c {home}/site.yaml --concurrency 1 --use-dynamic-base-id"]
    return Proxy("envoy", words, "envoy.yaml", {}, *addresses)


def raw(port, method, path, key, body=b""):
    """A request whose path no library touches."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.putheader("Authorization", f"Bearer {key}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def in_front(people, port, name):
    people.server.run("accounts", "set-plan", "ada@example.com", "enterprise")
    reader, sender = people.key("ada@example.com", "audience:read"), people.key("ada@example.com", "email:send")
    account = json.loads(people.server.run("accounts", "list", "--search", "ada@", "--json").stdout)["accounts"][0]["id"]

    # a61: what a client says of itself goes no further; f36: it comes by its own name.
    lies = {f"X_Auth_{name}": "acc_root" for name in SAID}
    status, headers, body = call(port, "/subscribers?page=2&scope=&x=%26scope", reader, **lies, X_Required_Scope="")
    assert status == 200, (status, body)
    told = json.loads(body)["headers"]
    assert told["x-auth-account"] == account and told["x-auth-scopes"] == "audience:read", told
    assert "acc_root" not in told.values() and "authorization" not in told, told
    assert json.loads(body)["path"] == "/subscribers?page=2&scope=&x=%26scope"
    status, _, body = call(port, "/subscribers", X_API_Key=reader, Host="api.example.com")
    assert status == 200 and "x-api-key" not in json.loads(body)["headers"], (status, body)

    # Who may not.
    status, headers, _ = call(port, "/subscribers", Host="api.example.com")
    assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer "), (status, headers.items())
    assert call(port, "/subscribers", "cs_live_nobody")[0] == 401
    assert call(port, "/subscribers", sender)[0] == 403
    assert call(port, "/send", reader)[0] == 403
    assert call(port, "/subscribers", reader, X_API_Key=reader)[0] == 400, "two credentials"

    # f37, a61: no method, header, query or spelling of a path leads around it, and what is not named is not reached.
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
        assert raw(port, method, "/send", reader, b"x")[0] == 403, method
        status, body = raw(port, method, "/subscribers", reader, b"x")
        assert status == 200 and json.loads(body)["method"] == method, (method, status)
        assert raw(port, method, "/subscribers", "cs_live_nobody", b"x")[0] == 401, method
    for query in ("?scope=", "?scope=audience:read", "?&scope=audience:read", "?path=&scope=", "?&path=&scope=", "?x&scope=&environment=test", "?deny=403"):
        assert call(port, f"/send{query}", reader)[0] == 403, query
        assert call(port, f"/subscribers{query}", reader)[0] == 200, query
        assert call(port, f"/subscribers{query}")[0] == 401, query
        assert call(port, f"/forgotten{query}", reader)[0] == 403, query
    for header in ("X_Original_URI", "X_Original_URL", "X_Rewrite_URL", "X_Forwarded_Uri", "X_Envoy_Original_Path"):
        assert call(port, "/send", reader, **{header: "/subscribers"})[0] == 403, header
    for header in ("X_HTTP_Method_Override", "X_Original_Method", "X_Forwarded_Method"):
        assert call(port, "/send", reader, **{header: "OPTIONS"})[0] == 403, header
    odd = ("/subscribers/..;/send", "/subscribers/%2e%2e/send", "/subscribers/../send", "//send", "/subscribers%2f..%2fsend", "/subscribers/%5c../send")
    for path in odd:
        status, body = raw(port, "GET", path, reader)
        # Refused, or read as the API would read it.
        assert status in (301, 302, 307, 308, 400, 403, 404), (path, status, body)
    assert call(port, "/other", reader)[0] == 404
    assert call(port, "/forgotten", reader)[0] == 403, "a place that states no scope lets nobody through"
    assert call(port, "/v1/authorize?scope=", reader)[0] == 404
    # a87: a client asks for less or for more, and neither counts.
    assert call(port, "/send", reader, X_Required_Scope="audience:read")[0] == 403
    assert call(port, "/subscribers", reader, X_Required_Scope="email:send")[0] == 200

    # f38: a preflight has no credential.
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    status, headers, body = call(port, "/subscribers", method="OPTIONS", Origin=ORIGIN, **asked)
    assert status in (200, 204) and headers["Access-Control-Allow-Origin"] == ORIGIN and b"path" not in body, (status, headers.items())
    assert "POST" in headers["Access-Control-Allow-Methods"] and "authorization" in headers["Access-Control-Allow-Headers"].lower()
    status, headers, _ = call(port, "/subscribers", method="OPTIONS", Origin="https://evil.example", **asked)
    assert headers["Access-Control-Allow-Origin"] in (None, ORIGIN), headers.items()
    assert call(port, "/subscribers", method="OPTIONS")[0] == 401

    # f39: who wrote what, the proxy's word counts.
    for lie in ("unknown", "127.0.0.1", "203.0.113.9:80"):
        assert call(port, "/subscribers", reader, X_Forwarded_For=lie)[0] == 200

    # A limit arrives as 429, with the wait.
    people.server.run("accounts", "set-plan", "ada@example.com", "free")
    *accepted, (status, headers, body) = until_refused(port, "/subscribers", reader)
    assert status == 429 and int(headers["Retry-After"]) >= 1, (status, headers.items(), body)

    # a52, a61: revoked means refused.
    people.server.run("accounts", "set-plan", "ada@example.com", "enterprise")
    people.server.run("keys", "revoke", told["x-auth-key-id"], "--yes")
    assert call(port, "/subscribers", reader)[0] == 401
    return sender


def main(binary, traefik_program, envoy_program, *chosen):
    kinds = {
        "nginx": nginx,
        "caddy": caddy,
        # By a name that only this network knows.
        "traefik": lambda ours, api: traefik(traefik_program, ours.replace("127.0.0.1", "localhost"), api),
        "envoy": lambda *addresses: envoy(envoy_program, *addresses),
    }
    chosen = chosen or tuple(kinds)
    for name in chosen:
        api = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        threading.Thread(target=api.serve_forever, daemon=True).start()
        with Server(binary, COUNTERSIGN_TRUSTED_PROXIES='["127.0.0.1/32"]') as server:
            people = People(server)
            with kinds[name](server.base.removeprefix("http://"), f"127.0.0.1:{api.server_port}") as proxy:
                sender = in_front(people, proxy.port, name)
                # A server that is down lets nobody in.
                server.stop()
                status, _, body = call(proxy.port, "/send", sender)
                assert status >= 403 and b"x-auth" not in body, (status, body)
        api.shutdown()
        print(f"ok: {name} asks before every request, and nothing a client sends leads around it", flush=True)
    print(f"{len(chosen)} passed, 0 failed", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
