//! What pages refuse from elsewhere, and the headers they come with.

use super::pages::{is_pending, reviewing};
use crate::support::*;

// Forms from elsewhere.

#[tokio::test]
async fn a18_a_decision_from_elsewhere_is_refused_whatever_is_missing() {
    let app = app().await;
    let (browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    let ours = "http://127.0.0.1:4080";
    let forms: [&[(&str, &str)]; 9] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:4081")],
        &[("origin", "http://localhost:4080")],
        &[("referer", "http://127.0.0.1:4080/claim")],
        &[("origin", ours), ("sec-fetch-site", "cross-site")],
        &[("origin", ours), ("sec-fetch-site", "same-site")],
        &[("origin", ours), ("origin", "https://evil.example")],
    ];
    for headers in forms {
        let call = browser.submission(&path, &[("decision", "approve")]);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        assert_eq!(browser.clone().send(call).await.status, 403, "{headers:?}");
    }
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn a18_a_form_without_its_token_or_with_anothers_is_refused() {
    let app = app().await;
    let (mut browser, agent, path) = reviewing(&app, &["audience:read"]).await;
    let mut mallory = app.signed_in("mallory@example.net").await;
    mallory.open("/claim").await;
    let foreign = mallory.form("/claim").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
    for token in ["", "x", &foreign] {
        browser.open(&path).await;
        assert_eq!(browser.submit(&path, &[("decision", "approve"), ("form_token", token)]).await.status, 403, "{token}");
    }
    assert!(is_pending(&app, &agent).await);
}

#[tokio::test]
async fn a18_every_form_of_every_page_needs_token_and_origin() {
    let app = app().await;
    for path in ["/login", "/signup", "/setup", "/logout", "/claim", "/claim/reg_x", "/settings/keys/key_x/revoke"] {
        let bare = app.http().post(path).form(&[("email", "a@example.com"), ("password", PASSWORD)]);
        assert_eq!(bare.send().await.status, 403, "{path} without an origin");
        let mut browser = app.signed_in("alice@example.com").await;
        let call = browser.http.post(path).form(&[("decision", "approve")]).header("origin", "http://127.0.0.1:4080");
        assert_eq!(browser.send(call).await.status, 403, "{path} without a token");
        app.advance(900);
    }
}

#[tokio::test]
async fn a85_a_foreign_form_signs_nobody_in() {
    let app = app().await;
    app.human("mallory@example.net").await;
    let mut victim = app.browser();
    let mut mallory = app.browser();
    mallory.open("/login").await;
    let token = mallory.form("/login").into_iter().find(|(name, _)| name == "form_token").unwrap().1;
    victim.open("/login").await;
    let fields = [("form_token", token.as_str()), ("email", "mallory@example.net"), ("password", PASSWORD)];
    let forced = victim.send(victim.http.post("/login").form(&fields).header("origin", "http://127.0.0.1:4080")).await;
    assert_eq!(forced.status, 403);
    assert_eq!(victim.cookie("cs_4080"), None);
}

#[tokio::test]
async fn a85_a_tossed_session_cookie_is_not_adopted() {
    let app = app().await;
    app.human("alice@example.com").await;
    let mut browser = app.browser();
    browser.jar.insert("cs_4080".to_owned(), "A".repeat(43));
    assert_eq!(browser.visit("/settings/keys").await.status, 303);
    browser.open("/login").await;
    browser.submit("/login", &[("email", "alice@example.com"), ("password", PASSWORD)]).await;
    assert_ne!(browser.cookie("cs_4080").unwrap(), "A".repeat(43));
    let doubled =
        browser.http.get("/settings/keys").header("cookie", &format!("cs_4080={}; cs_4080=evil", browser.cookie("cs_4080").unwrap()));
    assert_eq!(doubled.send().await.status, 303, "two cookies of one name count as none");
}

#[tokio::test]
async fn a23_the_session_is_a_new_one_after_sign_in_and_dead_after_sign_out() {
    let app = app().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let first = browser.cookie("cs_4080").unwrap();
    browser.open("/").await;
    let mut stolen = browser.clone();
    browser.submit("/logout", &[]).await;
    assert_eq!((browser.cookie("cs_4080"), stolen.visit("/settings/keys").await.status), (None, 303));
    browser.open("/login").await;
    browser.submit("/login", &[("email", "alice@example.com"), ("password", PASSWORD)]).await;
    assert_ne!(browser.cookie("cs_4080").unwrap(), first);
}

#[tokio::test]
async fn a_session_ends_after_thirty_idle_minutes_and_after_twelve_hours() {
    let app = app().await;
    let mut idle = app.signed_in("alice@example.com").await;
    app.advance(1799);
    assert_eq!(idle.visit("/settings/keys").await.status, 200);
    app.advance(1801);
    assert_eq!(idle.visit("/settings/keys").await.status, 303);
    let mut busy = app.signed_in("alice@example.com").await;
    for _ in 0..(12 * 4 - 1) {
        app.advance(900);
        assert_eq!(busy.visit("/settings/keys").await.status, 200);
    }
    app.advance(900);
    assert_eq!(busy.visit("/settings/keys").await.status, 303);
}

#[tokio::test]
async fn a23_cookies_are_strict_on_https_and_named_by_port_on_loopback() {
    for (url, session, anonymous, secure) in
        [("https://acme.example", "__Host-cs=", "__Host-cs-anon=", true), ("http://127.0.0.1:4080", "cs_4080=", "cs_4080_anon=", false)]
    {
        let app = app_with("public_url", url).await;
        app.human("alice@example.com").await;
        let mut browser = app.browser();
        let mut cookies = browser.open("/login").await.cookies();
        cookies.extend(browser.submit("/login", &[("email", "alice@example.com"), ("password", PASSWORD)]).await.cookies());
        for name in [session, anonymous] {
            let cookie = cookies.iter().find(|cookie| cookie.starts_with(name)).unwrap_or_else(|| panic!("{name} in {cookies:?}"));
            assert!(
                cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/") && !cookie.contains("Domain"),
                "{cookie}"
            );
            assert_eq!(cookie.contains("Secure"), secure, "{cookie}");
        }
    }
}

#[tokio::test]
async fn a22_no_address_but_a_path_of_ours_is_returned_to() {
    let app = app().await;
    app.human("alice@example.com").await;
    for evil in [
        "//evil.example",
        "\\\\evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "https://evil.example",
        "/%0d%0aset-cookie:x",
        "http:evil",
        " //evil",
    ] {
        let mut browser = app.browser();
        let query: String = form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        browser.open(&format!("/login?return_to={query}")).await;
        assert!(!browser.page.text().contains(&format!("value=\"{evil}\"")) || evil.starts_with("/%"), "{evil}");
        let answer = browser.submit("/login", &[("return_to", evil), ("email", "alice@example.com"), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{evil}");
        assert!(answer.location() == "/" || evil.starts_with("/%"), "{evil} leads to {}", answer.location());
        app.advance(900);
    }
}

// Headers.

#[tokio::test]
async fn a19_every_page_is_unframed_unstored_and_runs_no_script() {
    let app = app().await;
    let (mut browser, _, path) = reviewing(&app, &["audience:read"]).await;
    let mut anonymous = app.browser();
    let mut pages = Vec::new();
    for page in
        ["/", "/setup", "/signup", "/login", "/claim", "/settings/keys", &path, "/claim/reg_nothing", "/settings/keys/key_nothing/revoke"]
    {
        pages.push((page.to_owned(), browser.visit(page).await));
        pages.push((format!("{page} (nobody)"), anonymous.visit(page).await));
    }
    pages.push(("a refused form".to_owned(), anonymous.send(anonymous.http.post("/login").form(&[])).await));
    pages.push(("a wrong method".to_owned(), anonymous.send(anonymous.http.call("PUT", "/login")).await));
    for (name, page) in pages {
        let csp = page.header("content-security-policy");
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
            assert!(csp.contains(rule), "{name}: {csp}");
        }
        assert!(!csp.contains("unsafe") && !csp.contains("script-src") && !csp.contains("http"), "{name}: {csp}");
        assert_eq!(
            (page.header("x-frame-options"), page.header("referrer-policy"), page.header("x-content-type-options")),
            ("DENY", "no-referrer", "nosniff"),
            "{name}"
        );
        page.not_stored();
        let html = page.text();
        for inline in ["<script", "style=\"", "<style", " onclick", " onload", "javascript:", "http-equiv", "<iframe"] {
            assert!(!html.contains(inline), "{name}: {inline}");
        }
        let foreign = html.split(['"', '\'']).filter(|text| text.starts_with("http") || text.starts_with("//")).collect::<Vec<_>>();
        assert!(foreign.is_empty(), "{name} names {foreign:?}");
        assert!(html.is_empty() || html.contains("<html lang=\"en\">"), "{name}");
    }
}

#[tokio::test]
async fn the_stylesheet_and_the_mark_are_ours_and_safe() {
    let app = app().await;
    for (path, kind) in [("/style.css", "text/css; charset=utf-8"), ("/mark.svg", "image/svg+xml")] {
        let answer = app.http().get(path).send().await;
        assert_eq!((answer.status, answer.header("content-type"), answer.header("x-content-type-options")), (200, kind, "nosniff"));
        assert!(!answer.text().contains("<script") && !answer.text().contains("@import") && !answer.text().contains("url(http"));
    }
}
