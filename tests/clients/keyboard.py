"""Without a mouse, without JavaScript, on a phone-sized screen: the whole approval, and a key's whole life (attack case A30)."""

import json
import urllib.error
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


def use(server, key):
    """The status of one call with a key."""
    call = urllib.request.Request(f"{server.base}/v1/projects", headers={"Authorization": f"Bearer {key}"})
    try:
        return urllib.request.urlopen(call).status
    except urllib.error.HTTPError as error:
        return error.code


def shown_key(page):
    """The secret, as somebody copies it who has no mouse: Tab selects all of the field."""
    field = page.get_by_label("Your key")
    tab_to(page, field)
    fits(page)
    selected = field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)")
    assert len(selected) > 40 and selected == field.input_value(), "the field is not selected as a whole"
    return selected


def a30_a_keys_life_by_keyboard(server, page):
    page.set_viewport_size(NARROW)
    page.goto(f"{server.base}/settings/keys")
    fits(page)
    tab_to(page, page.get_by_role("link", name="Create a key").first)
    send(page)
    fits(page)
    tab_to(page, page.get_by_label("Name"))
    page.keyboard.type("Keyboard key")
    tab_to(page, page.locator("input[name=scopes][value='audience:read']"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("button", name="Create key"))
    send(page)
    first = shown_key(page)
    assert use(server, first) == 200
    tab_to(page, page.get_by_role("link", name="I stored it"))
    send(page)
    fits(page)
    assert first not in page.content()
    tab_to(page, page.get_by_role("link", name="Rotate"))
    send(page)
    fits(page)
    tab_to(page, page.get_by_label("One day"))
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    assert page.get_by_label("Not at all").is_checked()
    tab_to(page, page.get_by_role("button", name="Rotate key"))
    send(page)
    second = shown_key(page)
    assert (use(server, first), use(server, second)) == (401, 200)
    tab_to(page, page.get_by_role("link", name="I stored it"))
    send(page)
    tab_to(page, page.get_by_role("link", name="Revoke"))
    send(page)
    fits(page)
    tab_to(page, page.get_by_label("Type the key's name"))
    page.keyboard.type("Keyboard key")
    tab_to(page, page.get_by_role("button", name="Revoke key"))
    send(page)
    fits(page)
    assert use(server, second) == 401
    print("ok: a key made, replaced and revoked by keyboard, no JavaScript, 320 px", flush=True)
