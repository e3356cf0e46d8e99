"""A person at a real browser: headless Chromium, driven by what is on the page and by nothing else."""

from contextlib import contextmanager

from playwright.sync_api import sync_playwright

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
FLAGS = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@contextmanager
def browser(scripts=False):
    """Pages work without JavaScript, so it is off unless a test wants it."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", chromium_sandbox=False, args=FLAGS)
        context = chromium.new_context(java_script_enabled=scripts, viewport={"width": 768, "height": 1000})
        page = context.new_page()
        page.set_default_timeout(15_000)
        yield page
        chromium.close()


def set_up(page, base, code):
    page.goto(f"{base}/setup")
    page.get_by_label("Set-up code").fill(code)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("main form button[type=submit]").first.click()


def open_review(page, link, code):
    """Follows the agent's link and enters the code it shows."""
    page.goto(link)
    assert "code=" not in page.url, "the code stayed in the address"
    field = page.get_by_label("Code", exact=False).first
    if field.input_value() == "":
        field.fill(code.lower())
    tick = page.get_by_role("checkbox", name="My agent shows this same code")
    if tick.count():
        tick.check()
    page.locator("main form button[type=submit]").first.click()


def fill_what_is_asked(page, code):
    """The review page asks for the code and the password again where something risky is to be approved."""
    for name, value in (("code", code), ("password", PASSWORD)):
        field = page.locator(f"main input[name={name}]")
        if field.count():
            field.fill(value)


def approve(page, code, drop=()):
    for scope in drop:
        page.locator(f"input[name=scopes][value='{scope}']").uncheck()
    fill_what_is_asked(page, code)
    page.locator("button[name=decision][value=approve]").click()
    assert page.url.endswith("/done"), page.inner_text("main")


def revoke(page, base, key):
    page.goto(f"{base}/settings/keys")
    page.locator(f"a[href*='{key}/revoke']").first.click()
    page.get_by_label("Type the key's name").fill(page.locator("#confirm-hint").inner_text())
    page.locator("main form button[type=submit]").first.click()
