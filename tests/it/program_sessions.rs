//! Programs that sign in with their human's password: `/auth/v1/*` and the tokens it gives.

use crate::support::*;
use countersign::{
    domain::{activity::EventKind, server_secret::ServerSecret},
    store::table::Table,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const NOBODY: &str = r#"{"error":{"code":"unauthorized","message":"Unauthorized"}}"#;

fn grant(app: &TestApp, kind: &str, body: &Value) -> Call {
    app.http().post(&format!("/auth/v1/token?grant_type={kind}")).header("apikey", PUBLISHABLE_KEY).json(body)
}

async fn sign_in(app: &TestApp, email: &str) -> Value {
    grant(app, "password", &json!({"email": email, "password": PASSWORD})).send().await.not_stored().ok()
}

async fn refresh(app: &TestApp, pair: &Value) -> Answer {
    grant(app, "refresh_token", &json!({"refresh_token": pair["refresh_token"]})).send().await
}

fn access(pair: &Value) -> &str {
    pair["access_token"].as_str().unwrap()
}

async fn list(app: &TestApp, token: &str) -> Answer {
    app.http().post("/functions/v1/list-agents").bearer(token).json(&json!({})).send().await
}

/// A product with a human who signed a program in.
async fn signed_in() -> (TestApp, Human, Value) {
    let app = magpipe().await;
    let human = app.human("alice@example.com").await;
    let pair = sign_in(&app, "alice@example.com").await;
    (app, human, pair)
}

/// What a token says, unproved.
fn claims(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, part).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

#[tokio::test]
async fn email_and_password_buy_a_token_of_one_hour() {
    let (app, human, pair) = signed_in().await;
    assert_eq!((&pair["token_type"], &pair["expires_in"]), (&json!("bearer"), &json!(3600)));
    assert_eq!(pair.as_object().unwrap().len(), 4, "{pair}");
    assert_eq!(list(&app, access(&pair)).await.ok(), json!({"agents": []}));
    let (header, said) = claims(access(&pair));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    assert_eq!((&said["iss"], &said["aud"]), (&json!("http://127.0.0.1:4080"), &json!("http://127.0.0.1:4080")));
    assert_eq!((&said["sub"], said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap()), (&json!(human.account.to_string()), 3600));
    app.advance(3599);
    list(&app, access(&pair)).await.ok();
    app.advance(1);
    assert_eq!(list(&app, access(&pair)).await.text(), NOBODY);
}

#[tokio::test]
async fn the_published_key_proves_the_token_and_says_nothing_more() {
    let (app, _, pair) = signed_in().await;
    let published = app.http().get("/.well-known/jwks.json").send().await.ok();
    let key = &published["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"], &key["use"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"), &json!("sig")));
    assert!(key.get("d").is_none() && key["kid"] == claims(access(&pair)).0["kid"]);
    let proof = jsonwebtoken::DecodingKey::from_jwk(&serde_json::from_value(key.clone()).unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["http://127.0.0.1:4080"]);
    rules.validate_exp = false;
    assert!(jsonwebtoken::decode::<Value>(access(&pair), &proof, &rules).is_ok());
}

#[tokio::test]
async fn where_programs_may_not_sign_in_nothing_is_there() {
    let app = app().await;
    app.human("alice@example.com").await;
    let body = json!({"email": "alice@example.com", "password": PASSWORD});
    assert_eq!(grant(&app, "password", &body).send().await.status, 404);
    assert_eq!(app.http().post("/auth/v1/logout").send().await.status, 404);
    assert_eq!(app.http().get("/.well-known/jwks.json").send().await.ok(), json!({"keys": []}));
}

#[tokio::test]
async fn the_publishable_key_is_asked_first() {
    let (app, ..) = signed_in().await;
    let wrong = json!({"email": "alice@example.com", "password": "wrong"});
    for apikey in [None, Some(""), Some("pub_another"), Some("pub_tests_know_this_onE")] {
        let call = app.http().post("/auth/v1/token?grant_type=password").json(&wrong);
        let answer = if let Some(apikey) = apikey { call.header("apikey", apikey) } else { call }.send().await;
        assert_eq!((answer.status, answer.text().as_str()), (401, NOBODY), "{apikey:?}");
    }
}

#[tokio::test]
async fn a_publishable_key_is_made_once_and_stays() {
    let app = product("magpipe").start().await;
    let made = app.service.accounts.publishable_key().unwrap().to_owned();
    assert!(made.starts_with("pub_") && made.len() == 36, "{made}");
    let app = app.restart().await;
    assert_eq!(app.service.accounts.publishable_key(), Some(made.as_str()));
    let app = app.restart_with(&[("sessions.publishable_key", PUBLISHABLE_KEY)]).await;
    assert_eq!(app.service.accounts.publishable_key(), Some(PUBLISHABLE_KEY));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_look_the_same() {
    let (app, human, _) = signed_in().await;
    let mut answers = Vec::new();
    for email in ["alice@example.com", "nobody@example.com", "no e-mail"] {
        let answer = grant(&app, "password", &json!({"email": email, "password": "not the password"})).send().await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("invalid_grant")));
        answers.push(answer.text());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(app.activity(human.account).await.contains(&EventKind::SignInRefused));
}

#[tokio::test]
async fn guessing_a_password_here_uses_up_the_limit_of_the_page() {
    let (app, ..) = signed_in().await;
    for _ in 0..9 {
        let wrong = grant(&app, "password", &json!({"email": "alice@example.com", "password": "wrong"})).send().await;
        assert_eq!(wrong.status, 400);
    }
    let limited = grant(&app, "password", &json!({"email": "alice@example.com", "password": PASSWORD})).send().await;
    assert_eq!((limited.status, &limited.json()["error"]["code"]), (429, &json!("rate_limited")));
    assert!(limited.headers.contains_key("retry-after"));
    assert_err!(
        app.service.accounts.sign_in("alice@example.com", password(PASSWORD), at("127.0.0.1")).await,
        countersign::api::error::Error::TooMany { .. }
    );
}

#[tokio::test]
async fn what_is_missing_or_unknown_is_named() {
    let (app, ..) = signed_in().await;
    for (kind, body, named) in [
        ("password", json!({"password": PASSWORD}), "email"),
        ("password", json!({"email": "alice@example.com"}), "password"),
        ("password", json!({"email": 1, "password": PASSWORD}), "email"),
        ("refresh_token", json!({}), "refresh_token"),
        ("", json!({}), "grant type"),
        ("client_credentials", json!({}), "grant type"),
    ] {
        let answer = grant(&app, kind, &body).send().await;
        assert_eq!(answer.status, 400, "{kind} {body}");
        assert!(answer.text().contains(named), "{}", answer.text());
    }
    let none = app.http().post("/auth/v1/token").header("apikey", PUBLISHABLE_KEY).json(&json!({})).send().await;
    assert_eq!((none.status, none.text().contains("grant_type")), (400, true));
    let leaked =
        app.http().post("/auth/v1/token?grant_type=password&password=x").header("apikey", PUBLISHABLE_KEY).json(&json!({})).send().await;
    assert_eq!(leaked.status, 400);
    assert_eq!(app.http().get("/auth/v1/token?grant_type=password").send().await.status, 405);
}

#[tokio::test]
async fn a_refresh_token_buys_the_next_pair_once() {
    let (app, human, first) = signed_in().await;
    app.advance(3600);
    let second = refresh(&app, &first).await.not_stored().ok();
    assert_eq!((list(&app, access(&first)).await.status, list(&app, access(&second)).await.status), (401, 200));
    // A second use means that somebody copied it: the family ends, and its owner is told.
    let reused = refresh(&app, &first).await;
    assert_eq!((reused.status, &reused.json()["error"]["code"]), (400, &json!("invalid_grant")));
    assert_eq!(list(&app, access(&second)).await.text(), NOBODY);
    assert_eq!(refresh(&app, &second).await.status, 400);
    assert!(app.activity(human.account).await.iter().any(|what| matches!(what, EventKind::RefreshReused { .. })));
}

#[tokio::test]
async fn two_refreshes_at_once_leave_no_two_families() {
    let (app, _, first) = signed_in().await;
    let (one, other) = tokio::join!(refresh(&app, &first), refresh(&app, &first));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let won = if one.status == 200 { one } else { other }.json();
    assert_eq!(list(&app, access(&won)).await.status, 401);
}

#[tokio::test]
async fn an_invented_refresh_token_ends_nothing() {
    let (app, _, pair) = signed_in().await;
    let real = pair["refresh_token"].as_str().unwrap();
    let (head, tag) = real.rsplit_once("-").unwrap_or((real, ""));
    let zeros = "A".repeat(43);
    let (session, _) = real.split_once('-').unwrap();
    for invented in [
        format!("{session}-0-{zeros}"),
        format!("{session}-7-{zeros}"),
        format!("{head}-{tag}x"),
        format!("{session}-+0-{zeros}"),
        "x".into(),
    ] {
        let answer = grant(&app, "refresh_token", &json!({"refresh_token": invented})).send().await;
        assert_eq!(answer.status, 400, "{invented}");
    }
    list(&app, access(&pair)).await.ok();
    refresh(&app, &pair).await.ok();
}

#[tokio::test]
async fn a_session_ends_after_a_week_unused_and_after_a_month_in_any_case() {
    let (app, _, mut pair) = signed_in().await;
    let idle = sign_in(&app, "alice@example.com").await;
    for _ in 0..5 {
        app.advance_and_purge(6 * DAY - 1).await;
        pair = refresh(&app, &pair).await.ok();
    }
    assert_eq!(refresh(&app, &idle).await.status, 400);
    app.advance_and_purge(5).await;
    assert_eq!((list(&app, access(&pair)).await.status, refresh(&app, &pair).await.status), (401, 400));
    let left = app.row_counts().await;
    assert_eq!([Table::ProgramSessions, Table::AccountProgramSessions, Table::DueProgramSessions].map(|table| left[table]), [0, 0, 0]);
}

#[tokio::test]
async fn a_family_survives_a_restart() {
    let (app, _, pair) = signed_in().await;
    let app = app.restart().await;
    list(&app, access(&pair)).await.ok();
    refresh(&app, &pair).await.ok();
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once_and_no_other() {
    let (app, _, pair) = signed_in().await;
    let other = sign_in(&app, "alice@example.com").await;
    for more in ["global", "others", ""] {
        let refused = app.http().post(&format!("/auth/v1/logout?scope={more}")).bearer(access(&pair)).send().await;
        assert!(refused.status == 400 && refused.text().contains("`scope`"), "{more}: {}", refused.text());
    }
    let out = app.http().post("/auth/v1/logout").bearer(access(&pair)).send().await;
    assert_eq!((out.status, out.bytes.len()), (204, 0));
    assert_eq!((list(&app, access(&pair)).await.status, refresh(&app, &pair).await.status), (401, 400));
    list(&app, access(&other)).await.ok();
}

#[tokio::test]
async fn a_key_does_not_sign_out() {
    let (app, human, _) = signed_in().await;
    let key = app.key(&human, &["agents:read"]).await;
    assert_eq!(app.http().post("/auth/v1/logout").bearer(key.key.expose()).send().await.status, 403);
    list(&app, key.key.expose()).await.ok();
}

#[tokio::test]
async fn whoever_holds_a_token_may_revoke_its_session() {
    for member in ["access_token", "refresh_token"] {
        let (app, _, pair) = signed_in().await;
        app.http().post("/oauth2/revoke").form(&[("token", pair[member].as_str().unwrap())]).send().await.ok();
        assert_eq!((list(&app, access(&pair)).await.status, refresh(&app, &pair).await.status), (401, 400), "{member}");
    }
}

#[tokio::test]
async fn a83_a_new_password_or_a_disabled_account_ends_sessions_at_once() {
    let (app, human, pair) = signed_in().await;
    app.service
        .accounts
        .reset_password("alice@example.com", password("quite another password"), countersign::service::idempotency::Operation::default())
        .await
        .unwrap();
    assert_eq!((list(&app, access(&pair)).await.status, refresh(&app, &pair).await.status), (401, 400));
    let body = json!({"email": "alice@example.com", "password": "quite another password"});
    let pair = grant(&app, "password", &body).send().await.ok();
    list(&app, access(&pair)).await.ok();
    app.edit(human.account, |account| account.disabled_at = Some(account.created_at)).await;
    assert_eq!((list(&app, access(&pair)).await.status, refresh(&app, &pair).await.status), (401, 400));
    assert_eq!(grant(&app, "password", &body).send().await.status, 400);
}

/// A token that says what a real one says but for the changes, signed with our own key.
fn forged(real: &str, header: impl Fn(&mut Header), change: impl Fn(&mut Value)) -> String {
    let seed = ServerSecret::new(&[7; 32]).session_signing_seed();
    let pkcs8 = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &seed[..]].concat();
    let (_, mut said) = claims(real);
    change(&mut said);
    let mut head = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::EdDSA) };
    header(&mut head);
    jsonwebtoken::encode(&head, &said, &EncodingKey::from_ed_der(&pkcs8)).unwrap()
}

#[tokio::test]
async fn a83_a_token_for_elsewhere_or_of_another_kind_is_no_session() {
    let (app, _, pair) = signed_in().await;
    let (real, same) = (access(&pair), |_: &mut Header| {});
    list(&app, &forged(real, same, |_| {})).await.ok();
    let bob = app.human("bob@example.com").await.account.to_string();
    for (what, token) in [
        ("a foreign audience", forged(real, same, |said| said["aud"] = json!("https://elsewhere.example"))),
        ("a foreign issuer", forged(real, same, |said| said["iss"] = json!("https://elsewhere.example"))),
        ("no audience", forged(real, same, |said| drop(said.as_object_mut().unwrap().remove("aud")))),
        ("no end", forged(real, same, |said| drop(said.as_object_mut().unwrap().remove("exp")))),
        ("an assertion", forged(real, |header| header.typ = Some("JWT".to_owned()), |_| {})),
        ("an assertion for a grant", forged(real, |header| header.typ = Some("oauth-id-jag+jwt".to_owned()), |_| {})),
        ("no type", forged(real, |header| header.typ = None, |_| {})),
        ("another's account", forged(real, same, |said| said["sub"] = json!(bob))),
        ("an unknown session", forged(real, same, |said| said["sid"] = json!("sid_01k0000000000000000000000x"))),
        ("a cut signature", real[..real.len() - 2].to_owned()),
        ("three dots", format!("{real}.x")),
        ("nothing", "..".to_owned()),
    ] {
        let answer = list(&app, &token).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, NOBODY), "{what}");
    }
}

#[tokio::test]
async fn a83_none_and_symmetric_algorithms_are_refused() {
    let (app, _, pair) = signed_in().await;
    let jwks = app.http().get("/.well-known/jwks.json").send().await.ok();
    let x = jwks["keys"][0]["x"].as_str().unwrap();
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    let body = access(&pair).split('.').nth(1).unwrap();
    let none = format!("{}.{body}.", encode(r#"{"typ":"at+jwt","alg":"none"}"#));
    let head = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::HS256) };
    // The public key as if it were a shared secret, as text and as bytes.
    let symmetric = jsonwebtoken::encode(&head, &claims(access(&pair)).1, &EncodingKey::from_secret(x.as_bytes())).unwrap();
    let decoded = EncodingKey::from_urlsafe_base64_secret(&format!("{x}=")).unwrap();
    let symmetric_too = jsonwebtoken::encode(&head, &claims(access(&pair)).1, &decoded).unwrap();
    for token in [none, symmetric, symmetric_too] {
        assert_eq!(list(&app, &token).await.status, 401);
    }
}

#[tokio::test]
async fn a83_a_session_never_decides_a_claim_and_opens_no_page() {
    let (app, _, pair) = signed_in().await;
    let agent = app.http().register(json!({"type": "service_auth", "agent_name": "Claude"})).await.ok();
    let code = agent["claim"]["user_code"].as_str().unwrap();
    let enter = app.http().post("/claim").bearer(access(&pair)).form(&[("code", code)]).send().await;
    assert_eq!(enter.status, 403);
    let decide = format!("/claim/{}", agent["registration_id"].as_str().unwrap());
    assert_eq!(app.http().post(&decide).bearer(access(&pair)).form(&[("decision", "approve")]).send().await.status, 403);
    let page = app.http().get("/settings/keys").bearer(access(&pair)).send().await;
    assert_eq!((page.status, page.location().starts_with("/login")), (303, true));
    app.http().poll(agent["claim_token"].as_str().unwrap()).await.oauth_error(400, "authorization_pending");
}

#[tokio::test]
async fn a_session_token_is_accepted_wherever_a_key_is() {
    let (app, human, pair) = signed_in().await;
    let bearer = |method: &str, path: &str| app.http().call(method, path).bearer(access(&pair));
    let who = bearer("GET", "/v1/whoami").send().await.ok();
    assert_eq!(who["account_id"], human.account.to_string());
    assert!(who["session"]["scopes"].as_array().unwrap().contains(&json!("keys:write")), "{who}");
    let body = json!({"name": "CI", "scopes": ["agents:read"]});
    let created = bearer("POST", "/v1/keys").json(&body).send().await;
    assert_eq!(created.status, 201, "{}", created.text());
    let listed = bearer("GET", "/v1/keys").send().await.ok();
    assert_eq!((&listed["keys"][0]["name"], &listed["keys"][0]["created_by"]), (&json!("CI"), &json!("human")));
    let path = format!("/v1/keys/{}", created.json()["id"].as_str().unwrap());
    bearer("DELETE", &path).send().await.ok();
    assert_eq!(bearer("GET", "/v1/projects").send().await.status, 200);
}

#[tokio::test]
async fn a_session_learns_over_mcp_what_it_may_do() {
    let (app, _, pair) = signed_in().await;
    let client = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "1"}});
    let arguments = json!({"scopes": ["agents:write", "keys:write", "email:send"]});
    let params = json!({"name": "check_scope", "arguments": arguments, "_meta": client});
    let call = app.http().post("/mcp").bearer(access(&pair)).header("accept", "application/json, text/event-stream");
    let call = call.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", "check_scope");
    let answer = call.json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})).send().await;
    let text = answer.text();
    let line = text.lines().find_map(|line| line.trim_start_matches("data:").trim().strip_prefix('{')).unwrap();
    let said: Value = serde_json::from_str::<Value>(&format!("{{{line}")).unwrap()["result"]["structuredContent"].clone();
    assert_eq!((&said["granted"], &said["missing"]), (&json!(["agents:write", "keys:write"]), &json!(["email:send"])), "{text}");
    let (_, token) = claims(access(&pair));
    assert_eq!((&said["key"]["id"], &said["key"]["prefix"]), (&token["sid"], &json!("")), "{text}");
    assert_eq!(
        app.http().post("/mcp").bearer("a.b.c").json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).send().await.status,
        401
    );
}

#[tokio::test]
async fn a_session_verifies_its_own_accounts_keys_only_even_an_operators() {
    let (app, human, pair) = signed_in().await;
    app.edit(human.account, |account| account.operator = true).await;
    let bob = app.human("bob@example.com").await;
    let (own, foreign) = (app.key(&human, &["agents:read"]).await, app.key(&bob, &["agents:read"]).await);
    for (key, code) in [(&own, "VALID"), (&foreign, "NOT_FOUND")] {
        let verdict = app.http().post("/v1/keys/verify").bearer(access(&pair)).json(&json!({"key": key.key.expose()})).send().await;
        assert_eq!(verdict.ok()["code"], code);
    }
    let path = format!("/v1/keys/{}", foreign.view.id);
    assert_eq!(app.http().call("DELETE", &path).bearer(access(&pair)).send().await.status, 404);
}

#[tokio::test]
async fn all_sessions_of_an_account_share_one_allowance_and_every_answer_tells_it() {
    let app = product("magpipe").set("sessions.publishable_key", PUBLISHABLE_KEY).set("plans.free.requests_per_minute", "3").start().await;
    app.human("alice@example.com").await;
    let (one, other) = (sign_in(&app, "alice@example.com").await, sign_in(&app, "alice@example.com").await);
    for (pair, left) in [(&one, "2"), (&other, "1"), (&one, "0")] {
        let answer = list(&app, access(pair)).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), (200, "3", left));
    }
    let over = list(&app, access(&other)).await;
    assert_eq!((over.status, over.header("x-ratelimit-remaining")), (429, "0"));
    // Signing out is never refused for it.
    assert_eq!(app.http().post("/auth/v1/logout").bearer(access(&other)).send().await.status, 204);
}

#[tokio::test]
async fn programs_that_never_sign_out_push_out_their_oldest_sessions() {
    let (app, human, first) = signed_in().await;
    for minute in 0..100 {
        app.advance(if minute % 9 == 8 { 900 } else { 1 });
        sign_in(&app, "alice@example.com").await;
    }
    assert_eq!(app.row_counts().await[Table::ProgramSessions], 100);
    assert_eq!(refresh(&app, &first).await.status, 400);
    assert!(app.activity(human.account).await.len() > 100);
}

#[tokio::test]
async fn no_token_and_no_password_rests_in_the_store() {
    let (app, _, pair) = signed_in().await;
    refresh(&app, &pair).await.ok();
    let app = app.restart().await;
    let tokens = [access(&pair), pair["refresh_token"].as_str().unwrap(), PASSWORD];
    app.service.close().await;
    let mut read = 0;
    for file in std::fs::read_dir(app.dir.path().join("store")).into_iter().chain(std::fs::read_dir(app.dir.path())).flatten().flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        read += bytes.windows(4).filter(|window| window == b"sid_").count();
        for token in tokens {
            let found = bytes.windows(20).any(|window| window == &token.as_bytes()[token.len() - 20..]);
            assert!(!found, "{} in {}", &token[..8], file.path().display());
        }
    }
    assert!(read > 0, "the session's row was looked at");
}
