"""Every page and every error state through axe-core, light and dark, on a phone and on a desk: no violation.

Usage: axe.py BINARY AXE_JS [PICTURES]   (a directory there receives a picture of every page, also at 768 px)
"""

import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import human
from newcomer import Server

NARROW, MIDDLE, WIDE = 320, 768, 1280


def call(server, path, body=None, key=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{server.base}{path}", body and json.dumps(body).encode(), headers)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


class Pages:
    """Looks at what the browser shows, in every light and at every width."""

    def __init__(self, page, axe, pictures):
        self.page, self.axe, self.pictures = page, Path(axe).read_text(), pictures
        self.seen, self.wrong, self.told = [], [], 0

    def look(self, name):
        for width in (NARROW, MIDDLE, WIDE) if self.pictures else (NARROW, WIDE):
            self.page.set_viewport_size({"width": width, "height": 900})
            for light in ("light", "dark"):
                self.page.emulate_media(color_scheme=light)
                where = f"{name} at {width} px, {light}"
                if self.page.evaluate("document.documentElement.scrollWidth") > width:
                    self.wrong.append(f"{where}: wider than the screen")
                self.page.evaluate(self.axe)
                for found in self.page.evaluate("axe.run().then(result => result.violations)"):
                    nodes = "; ".join(f"{node['html'][:120]} ({node['failureSummary'][:300]})" for node in found["nodes"][:3])
                    self.wrong.append(f"{where}: {found['id']}: {found['help']}: {nodes}")
                if self.pictures:
                    self.page.screenshot(path=f"{self.pictures}/{len(self.seen):02}-{name}-{width}-{light}.png", full_page=True)
        self.seen.append(name)
        for wrong in self.wrong[self.told:]:
            print(f"not ok: {wrong}", flush=True)
        self.told = len(self.wrong)

    def open(self, path, name=None):
        self.page.goto(path)
        self.look(name or re.sub(r"\W+", "-", path.split("/", 3)[3]) or "home")

    def send(self):
        with self.page.expect_navigation():
            self.page.locator("main form:not([method=get]) button[type=submit]").first.click()


def strangers(server, pages, page):
    """What is there before anybody signed in."""
    guide = ("/docs", "/docs/api", "/docs/configuration", "/docs/limits", "/docs?q=rotate+secret", "/docs?q=nothing-like-it", "/docs/backup")
    for path in ("/", "/setup", "/login", "/login?return_to=/claim", "/signup", "/nothing-here", *guide):
        pages.open(f"{server.base}{path}")
    page.goto(f"{server.base}/login")
    page.get_by_label("E-mail").fill(human.EMAIL)
    page.get_by_label("Password").fill("not the password")
    pages.send()
    pages.look("login-refused")
    page.goto(f"{server.base}/signup")
    page.get_by_label("E-mail").fill("b@example.com")
    page.get_by_label("Password").fill("short")
    pages.send()
    pages.look("signup-refused")
    page.goto(f"{server.base}/setup")
    page.get_by_label("Set-up code").fill("BBBB-BBBB")
    page.get_by_label("E-mail").fill(human.EMAIL)
    page.get_by_label("Password").fill(human.PASSWORD)
    pages.send()
    pages.look("setup-refused")


def empty(server, pages):
    """Somebody who just came."""
    for path in ("/", "/setup", "/settings/keys", "/settings/agents", "/settings/security", "/activity", "/activity?about=refusals"):
        pages.open(f"{server.base}{path}", f"empty-{path.strip('/').replace('/', '-').replace('?', '-') or 'home'}")


def claims(server, pages, page):
    """A code, a wrong one, the review in its shapes, and each decision. Returns a key that was delivered."""
    asks = {"type": "service_auth", "agent_name": "Claude", "scope": "audience:read email:send keys:read campaign:read", "login_hint": "else@example.com"}
    page.goto(f"{server.base}/claim")
    pages.look("claim")
    page.get_by_label("Code", exact=False).first.fill("BBBB-BBBB")
    pages.send()
    pages.look("claim-wrong-code")
    key = None
    for decision in ("approve", "deny", "disown", "release"):
        asked = call(server, "/agent/identity", asks)
        code = asked["claim"]["user_code"]
        human.open_review(page, asked["claim"]["verification_uri_complete"], code)
        pages.look(f"review-{decision}")
        if decision == "approve":
            page.locator("input[name=scopes]").evaluate_all("all => all.forEach(one => { one.checked = false })")
            page.locator("button[value=approve]").click()
            pages.look("review-refused")
            page.locator("input[name=scopes]").evaluate_all("all => all.forEach(one => { one.checked = true })")
            human.fill_what_is_asked(page, code)
        page.locator(f"button[name=decision][value={decision}]").click()
        pages.look(f"decided-{decision}")
        if decision == "approve":
            grant = "urn:workos:agent-auth:grant-type:claim"
            key = call(server, "/oauth2/token", {"grant_type": grant, "claim_token": asked["claim_token"]})["access_token"]
    return key


def keys(server, pages, page, agents_key):
    """A key's whole life, with what goes wrong on the way."""
    page.goto(f"{server.base}/settings/keys/new")
    pages.look("create")
    page.locator("#name").fill("Production server")
    pages.send()
    pages.look("create-refused")
    page.locator("input[value='audience:read']").check()
    pages.send()
    pages.look("reveal")
    secret = page.locator("#secret").input_value()
    page.get_by_role("link", name="I stored it").click()
    url = page.url
    pages.look("key-unused")
    for key in (secret, agents_key):
        for _ in range(14):
            call(server, "/v1/projects", key=key)
    pages.open(url, "key")
    page.locator("summary").click()
    pages.look("key-table")
    pages.open(f"{url}/edit", "edit")
    page.locator("#name").fill("\u202eevil")
    pages.send()
    pages.look("edit-refused")
    page.goto(f"{url}/edit")
    page.locator("#name").fill("Production server in the second data centre")
    page.locator("input[value='email:send']").check()
    pages.send()
    pages.look("edited")
    pages.open(f"{url}/rotate", "rotate")
    page.get_by_label("One hour").check()
    pages.send()
    pages.look("rotated")
    page.reload()
    pages.look("already-created")
    pages.open(url, "key-rotated")
    pages.open(f"{url}/revoke", "revoke")
    page.locator("#confirm").fill("something else")
    pages.send()
    pages.look("revoke-refused")
    page.locator("#confirm").fill("Production server in the second data centre")
    pages.send()
    pages.look("revoked")
    pages.open(url, "key-revoked")
    for query in ("?status=active", "?q=nothing-like-it"):
        pages.open(f"{server.base}/settings/keys{query}")


def agents(server, pages, page):
    pages.open(f"{server.base}/settings/agents")
    page.get_by_role("link", name="Revoke Claude").first.click()
    pages.look("revoke-agent")
    page.locator("#confirm").fill("not its name")
    pages.send()
    pages.look("revoke-agent-refused")
    pages.open(f"{server.base}/settings/agents/revoke", "revoke-all-agents")
    page.locator("#confirm").fill("revoke all")
    pages.send()
    pages.look("agents-revoked")


def security(server, pages, page, other):
    other.goto(f"{server.base}/login")
    other.get_by_label("E-mail").fill(human.EMAIL)
    other.get_by_label("Password").fill(human.PASSWORD)
    other.locator("main form button[type=submit]").first.click()
    pages.open(f"{server.base}/settings/security")
    page.get_by_label("Present password").fill("not the password")
    page.get_by_label("New password").fill("a brand new pass phrase")
    page.get_by_role("button", name="Change password").click()
    pages.look("password-refused")
    page.get_by_label("Present password").fill(human.PASSWORD)
    page.get_by_label("New password").fill("a brand new pass phrase")
    page.get_by_role("button", name="Change password").click()
    pages.look("password-changed")


def administration(server, pages, page):
    """What an operator sees, and how a service's user comes in."""
    key = server.run("keys", "create", "--account", human.EMAIL, "--name", "Portal", "--scope", "keys:write").stdout.strip()
    user = {"external_id": "crm-17", "email": "grace@example.com", "email_verified": True, "plan": "pro"}
    portal = call(server, "/v1/portal_sessions", user, key)["data"]["url"]
    pages.open(portal, "portal")
    pages.open(portal + "x", "portal-over")
    for path in ("/admin", "/admin/accounts", "/admin/accounts?q=grace", "/admin/accounts?q=nobody", "/admin/agents"):
        pages.open(f"{server.base}{path}")
    page.goto(f"{server.base}/admin")
    page.locator("summary").first.click()
    pages.look("admin-table")
    page.goto(f"{server.base}/admin/accounts")
    page.get_by_role("link", name=human.EMAIL).click()
    pages.look("admin-account")
    page.goto(f"{server.base}/admin/accounts")
    page.get_by_role("link", name="grace@example.com").click()
    page.get_by_role("link", name="Disable account").click()
    pages.look("admin-disable")
    pages.send()
    pages.look("admin-disabled")


def errors(server, pages, page):
    """Pages that say no."""
    pages.open(f"{server.base}/settings/keys/key_nothing", "no-such-key")
    pages.open(f"{server.base}/logout", "wrong-method")
    page.goto(f"{server.base}/settings/keys/new")
    page.locator("input[name=form_token]").first.evaluate("field => document.querySelectorAll('input[name=form_token]').forEach(one => { one.value = 'x' })")
    page.locator("#name").fill("Forged")
    pages.send()
    pages.look("foreign-form")


def main(binary, axe, pictures=None):
    if pictures:
        Path(pictures).mkdir(parents=True, exist_ok=True)
    with Server(binary) as server, human.browser(scripts=True) as page:
        pages = Pages(page, axe, pictures)
        strangers(server, pages, page)
        human.set_up(page, server.base, server.setup_code())
        empty(server, pages)
        key = claims(server, pages, page)
        keys(server, pages, page, key)
        for path in ("/", "/settings/keys", "/activity", "/activity?about=keys"):
            pages.open(f"{server.base}{path}")
        agents(server, pages, page)
        security(server, pages, page, page.context.browser.new_page())
        administration(server, pages, page)
        errors(server, pages, page)
    assert not pages.wrong, f"{len(pages.wrong)} violations"
    print(f"ok: axe-core finds nothing on {len(pages.seen)} pages, light and dark, {NARROW} and {WIDE} px", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
