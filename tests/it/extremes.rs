//! Numbers at the ends of their types, clocks at the ends of the calendar, and panics on purpose: the request that meets
//! one fails, with words, and everything else goes on.

use crate::support::process::Home;
use crate::support::*;
use countersign::{
    config::{load::Sources, settings::Config},
    instance::{
        control::status::Role,
        lock::{Acquired, InstanceLock},
        open::Instance,
    },
    platform::runtime::Runtime,
    server::run::Pages,
    service::services::Services,
    store::{error::StoreError, handle::Store, table::Table},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tempfile::TempDir;

/// As they are written into a body, a field, a query.
const ENDS: [&str; 22] = [
    "0",
    "-0",
    "-1",
    "1",
    "59",
    "60",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "1e308",
    "-1e308",
];

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

async fn goes_on(app: &TestApp, key: &str, after: &str) {
    assert_eq!(app.http().get("/readyz").send().await.status, 200, "{after}");
    let body = json!({"name": "one more", "scopes": ["audience:read"]});
    assert_eq!(app.http().post("/v1/keys").bearer(key).json(&body).send().await.status, 201, "{after}");
}

#[tokio::test]
async fn a88_no_number_in_a_request_of_a_program_breaks_anything() {
    let app = build()
        .set("claim.key_ttl", "none")
        .set("limits.registrations_per_hour", "0")
        .set("plans.free.requests_per_minute", "4294967295")
        .start()
        .await;
    let operator = app.operator("boss@example.com").await;
    let mut browser = app.signed_in("boss@example.com").await;
    let boss = app.key(&operator, &["keys:write", "keys:read", "keys:verify", "audience:read"]).await;
    let (boss, http) = (boss.key.expose(), app.http());
    let made = http.post("/v1/keys").bearer(boss).json(&json!({"name": "made", "scopes": ["audience:read"]})).send().await.json();
    let id = made["data"]["id"].as_str().unwrap().to_owned();
    for end in ENDS {
        let n = number(end);
        let new = |member: &str| json!({"name": "extreme", "scopes": ["audience:read"], member: n});
        let mut calls = vec![
            http.post("/v1/keys").bearer(boss).json(&new("expires_in")),
            http.post("/v1/keys").bearer(boss).json(&new("requests_per_minute")),
            http.post(&format!("/v1/keys/{id}/rotate")).bearer(boss).json(&json!({"grace_seconds": n})),
            http.post(&format!("/v1/keys/{id}/rotate")).bearer(boss).json(&json!({"expires_in": n})),
            http.post("/v1/keys/verify").bearer(boss).json(&json!({"key": boss, "cost": n})),
            http.get(&format!("/v1/authorize?cost={end}")).bearer(boss),
            http.get(&format!("/v1/keys?limit={end}")).bearer(boss),
            http.get(&format!("/v1/keys/{id}/usage?days={end}")).bearer(boss),
            http.post("/agent/identity")
                .json(&json!({"type": "service_auth", "agent_name": "A", "scope": "audience:read", "expires_in": n})),
        ];
        let claim = http.register(json!({"type": "service_auth", "agent_name": "A", "scope": "audience:read"})).await.ok();
        // Decided, so that no wait is long.
        browser.approve(claim["claim"]["user_code"].as_str().unwrap()).await;
        let poll = json!({"grant_type": CLAIM_GRANT, "claim_token": claim["claim_token"]});
        calls.push(http.post("/oauth2/token").header("prefer", &format!("wait={end}")).json(&poll));
        for (n, call) in calls.into_iter().enumerate() {
            let answer = call.send().await;
            assert!(answer.status < 500, "call {n} with {end}: {} {}", answer.status, answer.text());
            if answer.status >= 400 {
                assert!(answer.text().is_empty() || answer.json()["error"].as_str().is_some(), "call {n} with {end}: {}", answer.text());
            }
        }
        goes_on(&app, boss, end).await;
    }
}

#[tokio::test]
async fn a88_no_number_in_a_form_breaks_anything() {
    let app = build()
        .set("claim.key_ttl", "none")
        .set("limits.registrations_per_hour", "0")
        .set("plans.free.requests_per_minute", "1000")
        .start()
        .await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["keys:write", "audience:read"]).await;
    let mut browser = app.signed_in("alice@example.com").await;
    for end in ENDS {
        let claim = app.http().register(json!({"type": "service_auth", "agent_name": "A", "scope": "audience:read"})).await.ok();
        let path = browser.enter(claim["claim"]["user_code"].as_str().unwrap()).await;
        let decided = browser.submit(&path, &[("decision", "approve"), ("lifetime", end)]).await;
        assert!(decided.status < 500, "lifetime {end}: {}", decided.status);
        let polled = app.http().poll(claim["claim_token"].as_str().unwrap()).await;
        assert!(polled.status == 200 || polled.json()["error"] == "authorization_pending", "lifetime {end}: {}", polled.text());
        if polled.status == 200 && polled.json()["expires_in"].is_i64() {
            assert!(polled.json()["expires_in"].as_i64().unwrap() <= 3660 * 24 * 3600, "lifetime {end}: {}", polled.text());
        }
        for field in ["expires_in", "requests_per_minute"] {
            browser.open("/settings/keys/new").await;
            let fields = [("name", "A"), ("scopes", "audience:read"), (field, end)];
            let made = browser.submit("/settings/keys/new", &fields).await;
            assert!(made.status < 500, "{field} {end}: {}", made.status);
        }
        let old = app.key(&human, &["audience:read"]).await;
        let rotate = format!("/settings/keys/{}/rotate", old.view.id);
        browser.open(&rotate).await;
        let rotated = browser.submit(&rotate, &[("grace_seconds", end)]).await;
        assert!(rotated.status < 500, "grace {end}: {}", rotated.status);
        goes_on(&app, key.key.expose(), end).await;
    }
}

#[tokio::test]
async fn a88_an_approval_for_ever_and_a_day_that_was_stored_before_is_delivered() {
    let app = build().set("claim.key_ttl", "none").start().await;
    let human = app.human("alice@example.com").await;
    let agent = app.register().await;
    app.approve(&human, &agent).await;
    for seconds in [i64::MAX, i64::MIN] {
        let id = agent.registration_id;
        app.store
            .write(move |rows| {
                let Some(countersign::domain::registration::transitions::Registration::Approved { request, mut approval, pickup }) =
                    rows.registrations().get(id)?
                else {
                    return Ok(());
                };
                approval.key_lifetime = Some(seconds);
                rows.save(&countersign::domain::registration::transitions::Registration::Approved { request, approval, pickup })
            })
            .await
            .unwrap();
        if seconds == i64::MAX {
            let delivered = app.poll(&agent).await.unwrap();
            app.call(delivered.access_token.expose()).await.unwrap();
        }
    }
    app.register().await;
}

#[tokio::test]
async fn a88_a_clock_at_either_end_of_the_calendar_starts_and_serves() {
    // 9999-12-30, and the year -9999: as far as times go.
    let now = 1_795_262_400;
    for at in [253_402_207_200 - 1, 253_402_207_200 - 3600, -62_135_596_800, -377_705_023_201 + 1, 0, 16_725_225_600, 18_446_744_073] {
        let app = build().clock_off(at - now).start().await;
        app.service.accounts.offer_setup().await.unwrap();
        let agent = app.register().await;
        assert_err!(
            app.poll(&agent).await,
            countersign::api::error::Error::AuthorizationPending { .. } | countersign::api::error::Error::ExpiredToken { .. }
        );
        app.service.housekeeping.purge().await.unwrap();
        for path in ["/", "/claim", "/login", "/readyz", "/auth.md", "/.well-known/oauth-authorization-server"] {
            let status = app.http().get(path).send().await.status;
            assert!(status < 500, "{path} at {at}: {status}");
        }
        let human = app.human_of_age("alice@example.com", 0, LOCAL.source).await;
        if let Ok(key) = app.service.keys.create_key(human.actor(), human.account, new_key(&["audience:read"]), human.source).await {
            let _ = app.call(key.key.expose()).await;
            let _ = app.service.keys.rotate_key(&human.actor(), key.view.id, Default::default(), human.source, None).await;
        }
        app.service.housekeeping.purge().await.unwrap();
        let app = app.restart().await;
        app.register().await;
    }
}

#[tokio::test]
async fn a88_a_store_whose_writer_is_dead_makes_the_server_say_so_and_end() {
    let dir = TempDir::new().unwrap();
    let Acquired::Mine(lock) = InstanceLock::acquire(dir.path()).unwrap() else { panic!("it is free") };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let flags = vec![("listen", address.to_string()), ("public_url", format!("http://{address}"))];
    let config = Arc::new(Config::load(&Sources { flags, ..Sources::default() }).unwrap());
    let store = Store::new(Arc::new(reopen(dir.path())));
    // One that follows, and kills the writer.
    let kills = Arc::new(AtomicBool::new(false));
    let when = kills.clone();
    store.follow(Arc::new(Panics(when))).await.unwrap();
    let service = Arc::new(Services::open(config, store.clone(), server_secret(), Runtime::system()).await.unwrap());
    let mut mine = Instance::over(service, Role::Serve, lock);
    let pages = Pages::start(&mut mine, listener).unwrap();
    let ready = async || Http::over(address).get("/readyz").send().await.status;
    assert_eq!(ready().await, 200);
    // A job that panics is no reason to end.
    assert_err!(store.write(|_| -> Result<(), StoreError> { panic!("on purpose") }).await, StoreError::Panicked);
    assert_eq!(ready().await, 200);
    kills.store(true, SeqCst);
    let write = store.write(|rows| {
        rows.put(Table::Meta, b"x", vec![1]);
        Ok::<_, StoreError>(())
    });
    assert_err!(write.await, StoreError::Unavailable(_));
    assert_eq!(ready().await, 503);
    let ended = tokio::time::timeout(Duration::from_secs(20), pages.ended()).await.expect("it ends by itself");
    assert!(ended.unwrap_err().to_string().contains("start the program again"));
    pages.stop(Duration::from_secs(1)).await;
    mine.close().await;
}

#[tokio::test]
async fn a88_no_number_on_the_command_line_or_in_a_setting_breaks_anything() {
    let home = Home::new();
    let (id, _) = home.key("audience:read");
    let (id, account) = (id.as_str(), crate::support::process::ME);
    let create = ["keys", "create", "--account", account, "--name", "A", "--scope", "audience:read"];
    for end in [
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "9223372036854775807s",
        "4294967296",
        "99999999999999999999d",
        "P9999Y",
        "-PT9223372036854775807S",
        "1e308",
    ] {
        let flag = |name: &str| format!("--{name}={end}");
        for arguments in [
            [&create[..], &[&flag("expires-in")]].concat(),
            [&create[..], &[&flag("requests-per-minute")]].concat(),
            vec!["keys", "rotate", id, &flag("grace")],
            vec!["keys", "rotate", id, &flag("expires-in")],
            vec!["keys", "verify", &flag("cost")],
        ] {
            let done = home.run(&arguments, "cs_live_nothing\n");
            assert!(matches!(done.0.status.code(), Some(0..=4)), "{arguments:?}: {:?} {}", done.0.status, done.said());
            assert!(!done.said().contains("panicked"), "{arguments:?}: {}", done.said());
        }
    }
}

#[test]
fn a88_no_number_in_a_setting_panics_and_what_passes_can_be_run_with() {
    let numbers = [
        "store.cached_keys",
        "keys.max_active_per_account",
        "plans.free.requests_per_minute",
        "claim.interval",
        "limits.registrations_per_hour",
        "limits.pending_registrations",
    ];
    let lengths = ["claim.code_ttl", "claim.registration_ttl", "claim.key_ttl"];
    let load = |path: &'static str, value: &str| Config::load(&Sources { flags: vec![(path, value.to_owned())], ..Sources::default() });
    for end in ENDS {
        for path in numbers {
            if let Err(error) = load(path, end) {
                assert!(error.to_string().contains(path.split('.').next_back().unwrap()), "{path} = {end}: {error}");
            }
        }
        for path in lengths {
            for unit in ["", "s", "m", "h", "d", " weeks", " years"] {
                let value = format!("{end}{unit}");
                if let Ok(config) = load(path, &value) {
                    let ends = [config.claim.code_ttl.0, config.claim.registration_ttl.0, config.claim.key_ttl.0.unwrap_or_default()];
                    assert!(ends.into_iter().all(|ttl| ttl.as_secs() <= 24 * 3660 * 3600), "{path} = {value}");
                }
            }
        }
    }
    // It takes its room at the start.
    assert!(load("store.cached_keys", &usize::MAX.to_string()).is_err());
}
