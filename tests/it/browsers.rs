//! What browsers and things between send along with our own pages' requests.

use crate::support::*;

const NEIGHBOURS: [&[u8]; 9] = [
    "ville=Montr\u{e9}al".as_bytes(),
    b"ville=Montr\xe9al",
    b"theirs=\x80\xff\xfe",
    b"quoted=\"a, b\"",
    b"open=\"",
    b"halves=\"a;b\"",
    b"no pair",
    b"=nameless",
    b"json={\"a\":[1]}",
];

#[tokio::test]
async fn f43_our_cookie_is_found_beside_whatever_another_program_set() {
    let app = app().await;
    let browser = app.signed_in("alice@example.com").await;
    let ours = format!("{}={}", app.session_cookie(), browser.cookie(&app.session_cookie()).unwrap());
    for neighbour in NEIGHBOURS {
        for (before, after) in [(neighbour, &b"z=1"[..]), (b"a=1", neighbour), (neighbour, neighbour)] {
            let line = [before, b"; ", ours.as_bytes(), b"; ", after].concat();
            for page in ["/settings/keys", "/settings/agents", "/activity", "/settings/security", "/claim"] {
                let shown = app.http().get(page).raw_header("cookie", &line).send().await;
                assert_eq!(shown.status, 200, "{page} {}", line.escape_ascii());
            }
        }
    }
}

#[tokio::test]
async fn f43_who_has_such_a_neighbour_can_sign_in() {
    let app = app().await;
    app.human("alice@example.com").await;
    for neighbour in NEIGHBOURS {
        let mut browser = app.browser();
        browser.visit("/login").await;
        let anonymous: Vec<_> = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let line = [neighbour, b"; ", anonymous.join("; ").as_bytes()].concat();
        let typed = [("email", "alice@example.com"), ("password", PASSWORD)];
        browser.jar.clear();
        let call = browser.submission("/login", &typed).raw_header("cookie", &line).header("origin", "http://127.0.0.1:4080");
        let entered = browser.send(call).await;
        assert_eq!(entered.status, 303, "{}: {}", neighbour.escape_ascii(), entered.text());
    }
}

/// A form of ours that is sent with these headers, with a right token and with a wrong one.
async fn sent(headers: &[(&str, &str)]) -> [u16; 2] {
    let app = app().await;
    app.human("alice@example.com").await;
    let mut statuses = [0; 2];
    for (token, status) in [None, Some("wrong")].into_iter().zip(&mut statuses) {
        let mut browser = app.browser();
        browser.visit("/login").await;
        let mut typed = vec![("email", "alice@example.com"), ("password", PASSWORD)];
        typed.extend(token.map(|token| ("form_token", token)));
        let call = headers.iter().fold(browser.submission("/login", &typed), |call, (name, value)| call.header(name, value));
        *status = browser.send(call).await.status;
    }
    statuses
}

#[tokio::test]
async fn f52_our_own_form_without_its_origin_is_ours_on_the_browsers_word() {
    let ours = "http://127.0.0.1:4080";
    assert_eq!(sent(&[("origin", "null"), ("sec-fetch-site", "same-origin")]).await, [303, 403]);
    assert_eq!(sent(&[("origin", ours), ("sec-fetch-site", "same-origin")]).await, [303, 403]);
    assert_eq!(sent(&[("origin", ours)]).await, [303, 403]);
    let refused: [&[(&str, &str)]; 12] = [
        &[("origin", "null")],
        &[],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "null"), ("sec-fetch-site", "none")],
        &[("origin", "null"), ("sec-fetch-site", "same-site")],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[("origin", "null"), ("sec-fetch-site", "")],
        &[("origin", "null"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        &[("origin", "null"), ("origin", "null"), ("sec-fetch-site", "same-origin")],
        &[("origin", "null"), ("origin", ours), ("sec-fetch-site", "same-origin")],
        &[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")],
        &[("origin", ours), ("sec-fetch-site", "cross-site")],
    ];
    for headers in refused {
        assert_eq!(sent(headers).await, [403, 403], "{headers:?}");
    }
}
