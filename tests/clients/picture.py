"""Takes the README's picture of the approval page: picture.py BINARY FILE.png"""

import json
import sys
import urllib.request

import human
from newcomer import Server

with Server(sys.argv[1]) as server, human.browser() as page:
    human.set_up(page, server.base, server.setup_code())
    body = {"type": "service_auth", "agent_name": "Claude", "login_hint": human.EMAIL, "scope": "audience:read email:send keys:read"}
    ask = urllib.request.Request(f"{server.base}/agent/identity", json.dumps(body).encode(), {"Content-Type": "application/json"})
    claim = json.load(urllib.request.urlopen(ask))["claim"]
    human.open_review(page, claim["verification_uri_complete"], claim["user_code"])
    page.screenshot(path=sys.argv[2], full_page=True)
