//! Where a caller behind proxies is: read off what the proxies say, and nowhere else.

use crate::support::process::{Home, asking};
use crate::support::*;
use countersign::domain::source::Source;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

const HTTPS: &str = "https://keys.example";
/// What no proxy should send, and some do.
const NOBODY: [&str; 9] =
    ["unknown", "_hidden", "nonsense", "\"", "0.0.0.0", "203.0.113.9, unknown", "203.0.113.9, _x:80", "-", "localhost:80"];

async fn behind(trusted: &str, url: &str) -> TestApp {
    build().set("trusted_proxies", trusted).set("public_url", url).set("limits.registrations_per_hour", "1").start().await
}

fn asks_from(app: &TestApp, peer: &str, headers: &[(&str, &str)]) -> Call {
    let host = app.service.context.config.public_url.split_once("://").unwrap().1;
    let call = app.http().from(peer).post("/agent/identity").host(host).json(&json!({"type": "service_auth", "agent_name": "Claude"}));
    headers.iter().fold(call, |call, (name, value)| call.header(name, value))
}

/// What the human is told of where the request came from.
async fn told(app: &TestApp, peer: &str, headers: &[(&str, &str)]) -> String {
    let asked = asks_from(app, peer, headers).send().await.ok();
    let code = asked["claim"]["user_code"].as_str().unwrap().to_owned();
    let mut browser = app.signed_in("alice@example.com").await;
    browser.enter(&code).await;
    browser.page.text()
}

#[tokio::test]
async fn f39_addresses_with_ports_brackets_and_zones_are_those_addresses() {
    let app = behind("[\"127.0.0.1/32\"]", HTTPS).await;
    for (hop, same) in [
        ("203.0.113.3:51000", "203.0.113.3:52000"),
        ("[2001:db8:1::1]:443", "2001:db8:1::1"),
        ("[2001:db8:2::1]", "\"[2001:db8:2::1]:80\""),
        ("fe80::1%eth0", "[fe80::1%eth1]:80"),
        ("::ffff:203.0.113.4", "203.0.113.4:80"),
    ] {
        asks_from(&app, "127.0.0.1", &[("x-forwarded-for", hop)]).send().await.ok();
        let again = asks_from(&app, "127.0.0.1", &[("x-forwarded-for", same)]).send().await;
        assert_eq!(again.status, 429, "{hop} and {same} are one caller");
    }
    asks_from(&app, "127.0.0.1", &[("x-forwarded-for", "203.0.113.5:51000")]).send().await.ok();
    assert!(app.service.callers.unknown().is_empty());
}

#[tokio::test]
async fn a93_who_cannot_be_read_is_hidden_and_doctor_is_told() {
    for hop in NOBODY {
        let app = behind("[\"127.0.0.1/32\"]", HTTPS).await;
        let page = told(&app, "127.0.0.1", &[("x-forwarded-for", hop)]).await;
        assert!(page.contains("somewhere behind a proxy") && !page.contains("this computer"), "{hop}: {page}");
        assert!(app.service.callers.unknown()[0].0.contains("no readable address"), "{hop}");
        // What a client put before it changes nothing.
        asks_from(&app, "127.0.0.1", &[("x-forwarded-for", "203.0.113.77, 203.0.113.78")]).send().await.ok();
    }
}

#[tokio::test]
async fn a93_behind_https_nobody_is_this_computer() {
    for trusted in ["[]", "[\"127.0.0.1/32\"]", "[\"127.0.0.0/8\", \"::1/128\"]", "[\"10.0.0.0/8\"]"] {
        let app = behind(trusted, HTTPS).await;
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            for said in [
                "",
                "127.0.0.1",
                "127.0.0.1:80",
                "::1",
                "[::1]:443",
                "unknown",
                "::ffff:127.0.0.1",
                "10.0.0.1, 127.0.0.1",
                "127.0.0.1, 127.0.0.1",
            ] {
                let hops: Vec<_> = said.split(", ").filter(|hop| !hop.is_empty()).map(|hop| hop.parse().unwrap()).collect();
                let source = app.service.callers.source_of(peer.parse().unwrap(), &hops);
                assert!(!source.is_this_computer(), "{trusted} {peer} {said:?}: {source:?}");
                assert_ne!(source, Source::Address(peer.parse::<std::net::IpAddr>().unwrap()), "never the proxy");
            }
        }
    }
}

#[tokio::test]
async fn a93_a_proxy_that_says_nothing_hides_its_callers() {
    for (trusted, peer) in [("[]", "127.0.0.1"), ("[\"127.0.0.1/32\"]", "127.0.0.1"), ("[\"10.0.0.0/8\"]", "10.0.0.7")] {
        let app = behind(trusted, HTTPS).await;
        let page = told(&app, peer, &[]).await;
        assert!(page.contains("somewhere behind a proxy") && !page.contains("this computer") && !page.contains(peer), "{trusted}: {page}");
        assert_eq!(app.service.callers.unknown().len(), 1, "{trusted}: doctor says so");
    }
}

#[tokio::test]
async fn a93_other_words_for_it_name_nobody() {
    for name in ["forwarded", "x-real-ip", "via", "x-forwarded-for"] {
        for value in ["", "for=203.0.113.9", "127.0.0.1", "1.1 proxy"] {
            // On this computer without https, where a direct caller would be this computer.
            let app = behind("[]", "http://127.0.0.1:4080").await;
            if (name, value) == ("x-forwarded-for", "127.0.0.1") {
                continue;
            }
            asks_from(&app, "127.0.0.1", &[(name, value)]).send().await.ok();
            assert_eq!(app.service.callers.unknown().len(), 1, "{name}: {value}");
            asks_from(&app, "127.0.0.1", &[]).send().await.ok();
        }
    }
    for name in
        ["x-forwarded-proto", "x-forwarded-host", "x-forwarded", "cf-connecting-ip", "true-client-ip", "x-amzn-trace-id", "cdn-loop"]
    {
        let app = behind("[]", "http://127.0.0.1:4080").await;
        let page = told(&app, "127.0.0.1", &[(name, "https")]).await;
        assert!(page.contains("somewhere behind a proxy") && app.service.callers.unknown().len() == 1, "{name}: {page}");
    }
}

#[tokio::test]
async fn a93_an_unnamed_proxy_is_never_its_callers_address() {
    let app = behind("[\"10.0.0.1/32\"]", HTTPS).await;
    let page = told(&app, "10.0.0.2", &[("x-forwarded-for", "203.0.113.9")]).await;
    assert!(page.contains("somewhere behind a proxy") && !page.contains("10.0.0.2"), "{page}");
    assert!(app.service.callers.unknown()[0].1.contains("trusted_proxies"));
}

#[tokio::test]
async fn a93_what_hides_asks_elsewhere_and_is_flagged() {
    let app = behind("[\"127.0.0.1/32\"]", HTTPS).await;
    let asked = asks_from(&app, "127.0.0.1", &[("x-forwarded-for", "unknown")]).send().await.ok();
    let mut browser = app.signed_in("alice@example.com").await;
    let path = browser.enter(asked["claim"]["user_code"].as_str().unwrap()).await;
    assert!(browser.page.text().contains("This was asked from somewhere else"));
    browser.submit(&path, &[("decision", "disown")]).await;
    app.clock.advance(3600);
    let page = told(&app, "127.0.0.1", &[("x-forwarded-for", "_other")]).await;
    assert!(page.contains("I did not start this. Deny unless"), "{page}");
}

#[tokio::test]
async fn a93_a_program_on_this_computer_is_this_computer() {
    let app = behind("[\"127.0.0.1/32\"]", "http://127.0.0.1:4080").await;
    let source = |hops: &[&str]| {
        let hops: Vec<_> = hops.iter().map(|hop| hop.parse().unwrap()).collect();
        app.service.callers.source_of("127.0.0.1".parse().unwrap(), &hops)
    };
    assert!(source(&[]).is_this_computer());
    assert!(source(&["127.0.0.1:50000"]).is_this_computer(), "over our own proxy");
    assert_eq!(source(&["unknown"]), Source::Hidden);
    assert_eq!(source(&["127.0.0.1", "203.0.113.9"]).to_string(), "203.0.113.9");
    assert_eq!(source(&["203.0.113.9", "garbage", "127.0.0.1"]), Source::Hidden);
}

#[tokio::test]
async fn programs_beside_an_https_deployment_make_no_doctor_red() {
    let app = build().set("public_url", HTTPS).set("hosts", "[\"127.0.0.1:4080\"]").start().await;
    let ada = app.human("ada@example.com").await;
    let key = app.key(&ada, &["audience:read"]).await.key.expose().to_owned();
    assert_eq!(app.http().get("/v1/whoami").host("127.0.0.1:4080").bearer(&key).send().await.status, 200);
    assert!(app.service.callers.unknown().is_empty());
    app.http().get("/v1/whoami").host("keys.example").bearer(&key).send().await.ok();
    assert_eq!(app.service.callers.unknown().len(), 1);
}

#[tokio::test]
async fn a93_doctor_is_red_while_callers_of_the_running_server_share_one_limit() {
    let home = Home::new();
    home.data_with("trusted_proxies = ['127.0.0.1/32']\nhosts = ['countersign:4080']\n");
    home.account();
    let server = home.serve().await;
    let register = |hop: &'static str| server.http().post("/agent/identity").header("x-forwarded-for", hop).json(&asking(false)).send();
    register("203.0.113.9:51000").await.ok();
    let doctor = home.run(&["doctor"], "").ok();
    assert!(doctor.contains("countersign:4080") && !doctor.contains("callers"), "{doctor}");
    register("unknown").await.ok();
    let doctor = home.run(&["doctor"], "");
    doctor.ended(1);
    assert!(doctor.out().contains("fail  callers") && doctor.out().contains("X-Forwarded-For"), "{}", doctor.out());
    assert!(server.stopped().await.success());
    home.run(&["doctor"], "").ok();
}

#[test]
fn a93_doctor_is_red_behind_https_without_a_named_proxy() {
    for (settings, code) in [
        ("public_url = 'https://keys.example'\n", 1),
        ("public_url = 'https://keys.example'\nlisten = '0.0.0.0:4080'\n", 1),
        ("public_url = 'https://localhost'\n", 1),
        ("pages_url = 'https://keys.example'\n", 1),
        ("public_url = 'https://keys.example'\ntrusted_proxies = ['127.0.0.1/32']\n", 0),
        ("", 0),
    ] {
        let home = Home::new();
        home.data_with(settings);
        std::fs::set_permissions(home.data(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let listen = if settings.contains("listen") { "0.0.0.0:4080" } else { "127.0.0.1:0" };
        let mut doctor = home.program(&["doctor"]);
        let done = doctor.env("COUNTERSIGN_LISTEN", listen).as_std_mut().output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{settings}: {}", String::from_utf8_lossy(&done.stdout));
    }
}
