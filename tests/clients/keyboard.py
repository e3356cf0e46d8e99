"""Without a mouse, without JavaScript, on a phone-sized screen: the whole approval (attack case A30)."""

import json
import urllib.request

import human

NARROW = {"width": 320, "height": 640}


def tab_to(page, locator):
    """Reaches an element as a keyboard does: no click, no script."""
    for _ in range(60):
        if locator.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {locator}")


def send(page):
    with page.expect_navigation():
        page.keyboard.press("Enter")


def fits(page):
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= NARROW["width"], f"{page.url} is {wide} px wide"


def a30_keyboard_only_at_320_px(server, page):
    page.set_viewport_size(NARROW)
    page.context.clear_cookies()
    body = {"type": "service_auth", "agent_name": "Keyboard agent", "scope": "audience:read email:send"}
    ask = urllib.request.Request(f"{server.base}/agent/identity", json.dumps(body).encode(), {"Content-Type": "application/json"})
    asked = json.load(urllib.request.urlopen(ask))
    page.goto(asked["claim"]["verification_uri"])
    fits(page)
    for label, text in (("E-mail", human.EMAIL), ("Password", human.PASSWORD)):
        tab_to(page, page.get_by_label(label))
        page.keyboard.type(text)
    send(page)
    fits(page)
    tab_to(page, page.get_by_label("Code", exact=False).first)
    page.keyboard.type(asked["claim"]["user_code"])
    send(page)
    fits(page)
    tab_to(page, page.locator("input[name=scopes][value='email:send']"))
    page.keyboard.press("Space")
    tab_to(page, page.locator("button[name=decision][value=approve]"))
    send(page)
    fits(page)
    poll = {"grant_type": "urn:workos:agent-auth:grant-type:claim", "claim_token": asked["claim_token"]}
    token = urllib.request.Request(f"{server.base}/oauth2/token", json.dumps(poll).encode(), {"Content-Type": "application/json"})
    assert json.load(urllib.request.urlopen(token))["scope"] == "audience:read"
    print("ok: keyboard only, no JavaScript, 320 px", flush=True)
