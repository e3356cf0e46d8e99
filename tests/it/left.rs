//! Clients that send a whole request and leave. Whatever moment they choose: what was committed is counted, whoever
//! waited for it is woken, and nothing is held for somebody who is gone.

use crate::support::*;
use countersign::{
    api::{claims::Registered, error::Error},
    domain::{id::RegistrationId, registration::transitions::Registration, source::Source},
    store::{error::StoreError, table::Table},
};
use serde_json::{Value, json};
use std::time::Duration;

/// More often than that no request waits.
const MAX_WAITS: usize = 200;

/// What a request had begun is over once neither a task nor the writer has anything left to do.
pub(super) async fn settled(app: &TestApp) {
    for _ in 0..10 {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        app.store.write(|_| Ok::<_, StoreError>(())).await.expect("the store answers");
    }
}

/// What holds after any request, whether or not its answer was read.
pub(super) async fn sound(app: &TestApp, after: &str) {
    let (counted, rows) = (app.service.claims.registrations(), app.row_counts().await);
    let stored = |table: Table| i64::try_from(rows[table]).unwrap();
    assert_eq!((counted.pending, counted.stored), (stored(Table::Pending), stored(Table::Registrations)), "after {after}");
    assert_eq!(counted.waiting, 0, "nobody waits any more after {after}");
    assert!(i64::try_from(counted.polls).unwrap() <= counted.pending, "polls of what is decided are remembered after {after}");
}

/// Makes a request anew for each of the moments at which it can be left, and looks at what is left behind.
pub(super) async fn left_everywhere<T>(
    app: &TestApp,
    name: &str,
    mut made: impl AsyncFnMut(u32) -> (Call, T),
    mut look: impl AsyncFnMut(T, Option<Answer>),
) {
    let mut round = 0;
    for leaving in [Leaving::AsItWaits, Leaving::AsItGoesOn] {
        let mut whole = false;
        for waits in 0..MAX_WAITS {
            round += 1;
            let (call, thing) = made(round).await;
            let answer = call.left(waits, leaving).await;
            settled(app).await;
            whole = answer.is_some();
            if let Some(answer) = &answer {
                assert!(answer.status < 400, "{name}: {} {}", answer.status, answer.text());
            }
            look(thing, answer).await;
            sound(app, &format!("{name}, left {leaving:?} after {waits} waits")).await;
            if whole {
                break;
            }
        }
        assert!(whole, "{name} waits for ever");
    }
    assert!(round > 2, "{name} never waited: nothing was tried");
}

/// An agent on this computer that waits for its human, and what it is told.
fn waits(app: &TestApp, agent: &Registered) -> tokio::task::JoinHandle<Result<(), Error>> {
    let (service, token) = (app.service.clone(), token(agent));
    tokio::spawn(async move { service.claims.poll_until(&token, None, Source::Local, Duration::from_secs(3600)).await.map(drop) })
}

async fn state(app: &TestApp, id: RegistrationId) -> Registration {
    app.stored(id).await.expect("it is stored")
}

/// A waiting poll was answered if, and only if, somebody decided.
async fn was_told(app: &TestApp, id: RegistrationId, poll: tokio::task::JoinHandle<Result<(), Error>>) -> Option<Result<(), Error>> {
    if matches!(state(app, id).await, Registration::Pending { .. }) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(!poll.is_finished(), "nobody decided");
        poll.abort();
        let _ = poll.await;
        return None;
    }
    Some(tokio::time::timeout(Duration::from_secs(20), poll).await.expect("whoever waits is woken by the decision").unwrap())
}

#[tokio::test]
async fn a91_a_registration_that_is_left_is_counted_or_not_there() {
    let app = app_that_limits_nobody().await;
    let http = app.http();
    let body = json!({"type": "service_auth", "agent_name": "Claude", "scope": "audience:read"});
    left_everywhere(&app, "register", async |_| (http.post("/agent/identity").json(&body), ()), async |(), _| ()).await;
    let again = async |_| {
        let agent = app.register().await;
        app.advance(61);
        let asked = json!({"claim_token": agent.claim_token.expose(), "type": "service_auth"});
        (http.post("/agent/identity/claim").json(&asked), ())
    };
    left_everywhere(&app, "a fresh code", again, async |(), _| ()).await;
}

#[tokio::test]
async fn a91_floods_that_are_left_find_the_ceiling_too() {
    let app = build().set("limits.registrations_per_hour", "0").set("limits.pending_registrations", "10").start().await;
    let (http, body) = (app.http(), json!({"type": "service_auth", "agent_name": "Claude", "scope": "audience:read"}));
    for n in 0..120 {
        let (waits, leaving) = [(0, Leaving::AsItWaits), (1, Leaving::AsItGoesOn)][n % 2];
        http.post("/agent/identity").json(&body).left(waits, leaving).await;
        settled(&app).await;
    }
    app.service.housekeeping.purge().await.unwrap();
    let rows = app.row_counts().await;
    assert_eq!((rows[Table::Pending], rows[Table::Registrations]), (10, 20));
    sound(&app, "a flood").await;
}

#[tokio::test]
async fn a91_a_decision_that_is_left_wakes_who_waits_for_it() {
    let app = app_that_limits_nobody().await;
    let browser = app.signed_in("alice@example.com").await;
    for decision in ["approve", "deny", "disown", "release"] {
        let made = async |_| {
            let agent = app.register().await;
            let mut browser = browser.clone();
            let page = browser.enter(agent.claim.user_code.expose()).await;
            let poll = waits(&app, &agent);
            while app.service.claims.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            (browser.posting(&page, &[("decision", decision)]), (agent.registration_id, poll))
        };
        let look = async |(id, poll), _: Option<Answer>| {
            if let Some(told) = was_told(&app, id, poll).await {
                match decision {
                    "approve" => told.expect("the key is delivered"),
                    _ => assert_err!(told, Error::AccessDenied),
                }
            }
        };
        left_everywhere(&app, decision, made, look).await;
    }
}

#[tokio::test]
async fn a91_a_code_that_is_typed_and_left_is_bound_or_free() {
    let app = app_that_limits_nobody().await;
    let browser = app.signed_in("alice@example.com").await;
    let made = async |_| {
        let agent = app.register().await;
        let mut browser = browser.clone();
        browser.open("/claim").await;
        (browser.posting("/claim", &[("code", agent.claim.user_code.expose())]), agent)
    };
    let look = async |agent: Registered, _: Option<Answer>| {
        // Typed again it works, whatever became of the first time.
        browser.clone().approve(agent.claim.user_code.expose()).await;
        app.poll(&agent).await.expect("the key is delivered");
    };
    left_everywhere(&app, "a code", made, look).await;
}

#[tokio::test]
async fn a91_polls_that_are_left_take_no_key_along_that_can_be_had_again() {
    let app = app_that_limits_nobody().await;
    let (http, human) = (app.http(), app.human("alice@example.com").await);
    let ask = |agent: &Registered| {
        let verifier = verifier();
        let body = json!({"grant_type": CLAIM_GRANT, "claim_token": agent.claim_token.expose(), "code_verifier": verifier.expose()});
        http.post("/oauth2/token").json(&body)
    };
    let made = async |_| {
        let agent = app.register_with_challenge().await;
        app.approve(&human, &agent).await;
        (ask(&agent), agent)
    };
    let look = async |agent: Registered, _: Option<Answer>| {
        let key = app.poll_with(&agent, &verifier()).await.expect("the key is delivered, or delivered again");
        app.call(key.access_token.expose()).await.expect("it works");
        app.service.keys.revoke_key(&human.actor(), key.key_id, None, human.source).await.expect("it is revoked");
    };
    left_everywhere(&app, "a poll", made, look).await;
    // One that waits and is left gives its place back; who polls too often is slowed down once for each time.
    let agent = app.register_with_challenge().await;
    for leaving in [Leaving::AsItWaits, Leaving::AsItGoesOn] {
        for waits in 0..3 {
            let call = ask(&agent).header("prefer", "wait=55");
            let left = tokio::time::timeout(Duration::from_millis(50), call.left(waits, leaving)).await;
            assert!(!matches!(left, Ok(Some(_))), "nobody decided");
            sound(&app, "a poll that waits").await;
        }
    }
}

/// What is asked with a key, each time anew: nothing is left behind that the next request would not find.
#[tokio::test]
async fn a91_changes_of_keys_that_are_left_are_made_or_not() {
    let app = app_that_limits_nobody().await;
    let (http, human) = (app.http(), app.human("alice@example.com").await);
    let boss = app.key(&human, &["audience:read", "keys:write", "keys:revoke"]).await.key.expose().to_owned();
    let (mut active, body) = (1, json!({"name": "k", "scopes": ["audience:read"]}));
    let keys = async || app.store.read(|rows| rows.keys().of_account(human.account)).await.unwrap();
    let made =
        async |round: u32| (http.post("/v1/keys").bearer(&boss).json(&body).header("idempotency-key", &format!("round {round}")), round);
    let look = async |round: u32, answer: Option<Answer>| {
        // The same request again tells what became of it, and makes no second one.
        let again = http.post("/v1/keys").bearer(&boss).json(&body).header("idempotency-key", &format!("round {round}")).send().await;
        assert!((200..300).contains(&again.status), "{}", again.text());
        assert!(answer.is_none_or(|answer| answer.json()["data"]["id"] == again.json()["data"]["id"]));
        active += 1;
        assert_eq!(keys().await.len(), active);
    };
    left_everywhere(&app, "a key", made, look).await;
    type Change = (&'static str, &'static str, Value);
    let changes: [Change; 5] = [
        ("PATCH", "", json!({"name": "other"})),
        ("POST", "/rotate", json!({"grace_seconds": 0})),
        ("DELETE", "", Value::Null),
        ("PATCH", "", json!({"disabled": true})),
        ("POST", "/rotate", json!({})),
    ];
    for (method, rest, change) in changes {
        let made = async |_| {
            let key = app.child(&boss, new_key(&["audience:read"])).await.unwrap();
            let call = http.call(method, &format!("/v1/keys/{}{rest}", key.view.id)).bearer(&boss);
            (if change.is_null() { call } else { call.json(&change) }, key)
        };
        let look = async |key: countersign::api::keys::Created, _: Option<Answer>| {
            // What verification keeps in memory is what is stored.
            let id = key.view.id;
            let row = app.store.read(|rows| rows.keys().get(id)).await.unwrap().unwrap();
            let works = app.call(key.key.expose()).await.is_ok();
            assert_eq!(works, row.is_active(app.service.context.runtime.now()), "{method} {rest}");
            app.service.keys.revoke_key(&human.actor(), id, None, human.source).await.expect("it is revoked");
        };
        left_everywhere(&app, &format!("{method} {rest}"), made, look).await;
    }
}

/// A browser somewhere else each round, so that no limit of an address is met.
fn elsewhere(app: &TestApp, round: u32) -> Browser {
    let mut browser = app.browser();
    browser.http = browser.http.from(&format!("198.51.{}.{}", round / 200, round % 200));
    browser
}

#[tokio::test]
async fn a91_sign_ins_and_sign_ups_that_are_left_hold_no_place_to_hash_in() {
    let app = build().set("signup", "open").set("limits.registrations_per_hour", "0").start().await;
    app.human("alice@example.com").await;
    // After each, somebody signs in who would wait for a place if one were lost.
    let signs_in = async |round: u32| {
        let from = at(&format!("203.0.{}.{}", round / 200, round % 200));
        app.service.accounts.sign_in("alice@example.com", password(PASSWORD), from).await.expect("there is a place")
    };
    let form = async |round: u32, path: &str, email: &str| {
        let mut browser = elsewhere(&app, round);
        browser.open(path).await;
        (browser.posting(path, &[("email", email), ("password", PASSWORD)]), round)
    };
    let login = async |round: u32| form(round, "/login", "alice@example.com").await;
    left_everywhere(&app, "a sign-in", login, async |round, _| _ = signs_in(round).await).await;
    let sign_up = async |round: u32| form(round + 1_000, "/signup", &format!("new{round}@example.com")).await;
    let made = async |round: u32, answer: Option<Answer>| {
        signs_in(round).await;
        // Left or not, whoever has an account can sign in with it.
        let email = format!("new{}@example.com", round - 1_000);
        if app.service.accounts.account_by_email(&email).await.is_ok() {
            app.service.accounts.sign_in(&email, password(PASSWORD), at(&format!("203.1.0.{}", round % 200))).await.expect("it is whole");
        } else {
            assert!(answer.is_none(), "an answer tells of an account");
        }
    };
    left_everywhere(&app, "a sign-up", sign_up, made).await;
}

#[tokio::test]
async fn a91_wrong_passwords_that_are_left_are_charged_as_if_they_were_answered() {
    let app = app_that_limits_nobody().await;
    app.human("alice@example.com").await;
    let mut browser = elsewhere(&app, 1);
    let mut tried = 0;
    let refused = loop {
        browser.open("/login").await;
        let typed = [("email", "alice@example.com"), ("password", "not it, whatever it is")];
        let call = browser.posting("/login", &typed);
        // Left while the hash is made: what came of it is known to nobody but it was tried.
        let left = call.left(4 + tried % 3, Leaving::AsItGoesOn).await;
        settled(&app).await;
        tried += 1;
        match left {
            Some(answer) if answer.status == 429 => break true,
            _ if tried > 150 => break false,
            _ => {}
        }
    };
    assert!(refused, "{tried} guesses that were left are as free as none");
}

#[tokio::test]
async fn a91_tickets_tokens_and_passwords_that_are_left_are_of_use_or_still_there() {
    let app = app_that_limits_nobody().await;
    let (http, key) = (app.http(), app.service_key().await);
    // A ticket signs in, or can still be used.
    let ticket = async |round: u32| {
        let body = json!({"external_id": format!("user-{round}"), "email": format!("user{round}@example.com")});
        let opened = http.post("/v1/portal_sessions").bearer(&key).json(&body).send().await;
        let url = opened.json()["data"]["url"].as_str().unwrap_or_else(|| panic!("{}", opened.text())).to_owned();
        let mut browser = elsewhere(&app, round);
        browser.open(&url[url.find("/portal").unwrap()..]).await;
        (browser.posting("/portal", &[]), browser)
    };
    let sessions = async || app.row_counts().await[Table::Sessions];
    let mut before = sessions().await;
    let used = async |mut browser: Browser, _: Option<Answer>| {
        let now = sessions().await;
        if now == before {
            assert_eq!(browser.submit("/portal", &[]).await.status, 303, "the ticket was used up for nothing");
        }
        before = sessions().await;
    };
    left_everywhere(&app, "a ticket", ticket, used).await;
    // A password that was changed is the new one everywhere, and the old one where it was not.
    let mut emails = Vec::new();
    let change = async |round: u32| {
        let email = format!("owner{round}@example.com");
        let mut browser = app.signed_in(&email).await;
        browser.open("/settings/security").await;
        emails.push(email.clone());
        let fields = [("current_password", PASSWORD), ("password", "a wholly other pass phrase")];
        (browser.posting("/settings/security/password", &fields), (round, email))
    };
    let changed = async |(round, email): (u32, String), _: Option<Answer>| {
        let source = at(&format!("203.2.0.{}", round % 200));
        let old = app.service.accounts.sign_in(&email, password(PASSWORD), source).await.is_ok();
        let new = app.service.accounts.sign_in(&email, password("a wholly other pass phrase"), source).await.is_ok();
        assert!(old != new, "{email}: one of them, old {old}");
    };
    left_everywhere(&app, "a new password", change, changed).await;
}
