//! Tokens as people paste them and programs send them, and what is no token at all: read in one way wherever one goes.

use crate::support::{process::*, *};
use countersign::domain::pasted::{Said, bare, said};
use proptest::prelude::*;
use serde_json::json;

/// How a token looks in the places it is copied from. `T` is the token.
const AROUND: [&str; 14] = [
    "T\n",
    "\r\nT\r\n",
    " T",
    "\tT ",
    "\u{a0}T",
    "\u{feff}T",
    "T\u{200b}",
    "\u{2003}T\u{2060}",
    "\"T\"",
    "'T'",
    "`T`",
    "“T”",
    "Bearer T",
    "\"bearer  T\"\u{a0}\n",
];

/// What holds a token and something else. `T` is the token.
const AMID: [&str; 9] = ["T T", "T,T", "TT", "key=T", "Authorization: Bearer T", "my key is T.", "T;", "<T>", "x T"];

async fn works(app: &TestApp, key: &str) -> bool {
    app.http().get("/v1/whoami").bearer(key).send().await.status == 200
}

async fn a_key(app: &TestApp, human: &Human) -> String {
    app.key(human, &["audience:read"]).await.key.expose().to_owned()
}

#[tokio::test]
async fn f42_whatever_came_along_with_a_key_revoke_ends_it() {
    let app = app_with("keys.max_active_per_account", "1000").await;
    let human = app.human("ada@example.com").await;
    for around in AROUND {
        for by_form in [false, true] {
            let key = a_key(&app, &human).await;
            let token = around.replace('T', &key);
            let call = app.http().post("/oauth2/revoke");
            let call = if by_form { call.form(&[("token", &token)]) } else { call.json(&json!({"token": token})) };
            call.send().await.ok();
            assert!(!works(&app, &key).await, "{around:?}, form: {by_form}");
        }
    }
}

#[tokio::test]
async fn f42_revoke_never_says_done_when_it_was_not() {
    for format in ["checksummed", "random", "hex40"] {
        let app = app_with("keys.format", format).await;
        let human = app.human("ada@example.com").await;
        let made = app.key(&human, &["audience:read"]).await;
        let (key, id) = (made.key.expose().to_owned(), made.view.id.to_string());
        let registered = app.register().await;
        let others = ["", " ", "$KEY", "${KEY}", "undefined", "null", "<your-key>", &id, registered.claim_token.expose()];
        let amid = AMID.map(|amid| amid.replace('T', &key));
        let half = format!("{}\u{200b}{}", &key[..20], &key[20..]);
        for token in others.into_iter().chain(amid.iter().map(String::as_str)).chain([half.as_str()]) {
            for call in [
                app.http().post("/oauth2/revoke").form(&[("token", token)]),
                app.http().post("/oauth2/revoke").json(&json!({"token": token})),
            ] {
                let said = call.send().await.oauth_error(400, "invalid_request");
                let described = said["error_description"].as_str().unwrap();
                assert!(described.contains("`token`") && !described.contains(&key[12..]), "{described}");
            }
        }
        assert!(works(&app, &key).await);
        // RFC 7009 §2.2.
        app.http().post("/oauth2/revoke").form(&[("token", "nonsense")]).send().await.ok();
    }
}

#[tokio::test]
async fn a103_verification_and_introspection_see_the_key_or_say_what_is_wrong() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let (service, human) = (app.service_key().await, app.human("ada@example.com").await);
    let key = a_key(&app, &human).await;
    let verify = |token: &str| app.http().post("/v1/keys/verify").bearer(&service).json(&json!({"key": token})).send();
    let introspect = |token: &str| app.http().post("/oauth2/introspect").bearer(&service).form(&[("token", token)]).send();
    for around in AROUND {
        let token = around.replace('T', &key);
        assert_eq!(verify(&token).await.ok()["data"]["code"], "VALID", "{around:?}");
        assert_eq!(introspect(&token).await.ok()["active"], true, "{around:?}");
    }
    for amid in AMID {
        let token = amid.replace('T', &key);
        let refused = verify(&token).await;
        assert!(refused.status == 400 && refused.text().contains("`key`"), "{amid}: {}", refused.text());
        let said = introspect(&token).await.oauth_error(400, "invalid_request");
        assert!(said["error_description"].as_str().unwrap().contains("`token`"), "{said}");
    }
    for unknown in ["", "not a key", "cs_live_nobody", &key[..key.len() - 1], "$KEY"] {
        assert_eq!(verify(unknown).await.ok()["data"]["code"], "NOT_FOUND", "{unknown}");
        assert_eq!(introspect(unknown).await.ok(), json!({"active": false}), "{unknown}");
    }
}

#[tokio::test]
async fn a103_a_header_holds_the_key_whatever_came_along() {
    let app = app_with("plans.free.requests_per_minute", "1000").await;
    let human = app.human("ada@example.com").await;
    let key = a_key(&app, &human).await;
    for around in AROUND.into_iter().filter(|around| !around.contains(['\n', '\r'])) {
        let text = around.replace('T', &key);
        for (name, value) in
            [("x-api-key", text.clone()), ("authorization", format!("Bearer {text}")), ("authorization", format!("ApiKey {text}"))]
        {
            let answer = app.http().get("/v1/whoami").header(name, &value).send().await;
            assert_eq!(answer.status, 200, "{name}: {around:?}");
        }
    }
    for amid in AMID {
        let text = amid.replace('T', &key);
        assert_eq!(app.http().get("/v1/whoami").header("x-api-key", &text).send().await.status, 401, "{amid}");
        assert_eq!(app.http().get("/v1/whoami").bearer(&text).send().await.status, 401, "{amid}");
    }
}

#[tokio::test]
async fn a103_claim_and_pickup_tokens_and_verifiers_are_read_so_too() {
    let app = app_with("limits.registrations_per_hour", "0").await;
    let human = app.human("ada@example.com").await;
    for around in AROUND {
        let agent = app.register_with_challenge().await;
        let token = around.replace('T', token(&agent).expose());
        let pending = app.http().poll(&token).await;
        // Without its verifier it is not to be had: the token was read, or the answer would be the same.
        pending.oauth_error(400, "invalid_grant");
        app.http().poll_with(&token, &around.replace('T', verifier().expose())).await.oauth_error(400, "authorization_pending");
        app.advance(10);
        let again = app.http().post("/agent/identity/claim").json(&json!({"claim_token": token})).send().await;
        let code = again.ok()["claim_attempt"]["user_code"].as_str().unwrap().to_owned();
        let id = app.type_code(&human, &code).await.unwrap();
        let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
        app.decide(&human, &review, everything(&review)).await.unwrap();
        let delivered = app.http().poll_with(&token, &around.replace('T', verifier().expose())).await.ok();
        assert!(works(&app, delivered["access_token"].as_str().unwrap()).await, "{around:?}");

        let agent = app.register().await;
        let (pickup, _) = app.service.claims.offer_pickup(app.approve(&human, &agent).await).await.unwrap();
        let token = around.replace('T', pickup.expose());
        app.http().post("/agent/pickup").form(&[("pickup_token", &token)]).send().await.ok();
    }
}

#[tokio::test]
async fn a103_session_and_refresh_tokens_are_read_so_too() {
    let app = product("magpipe").set("sessions.publishable_key", "pub_tests_know_this_one").start().await;
    app.human("ada@example.com").await;
    let token = |grant: &str, body: serde_json::Value| {
        let call = app.http().post(&format!("/auth/v1/token?grant_type={grant}")).header("apikey", " \"pub_tests_know_this_one\"");
        async move { call.json(&body).send().await.ok() }
    };
    let sign_in = || token("password", json!({"email": "ada@example.com", "password": PASSWORD}));
    let lists = |access: &str| app.http().post("/functions/v1/list-agents").bearer(access).json(&json!({})).send();
    for around in AROUND {
        app.advance(900);
        let pair = sign_in().await;
        let refreshed =
            token("refresh_token", json!({"refresh_token": around.replace('T', pair["refresh_token"].as_str().unwrap())})).await;
        for (member, pair) in [("access_token", refreshed), ("refresh_token", sign_in().await)] {
            let (text, access) = (pair[member].as_str().unwrap(), pair["access_token"].as_str().unwrap());
            for amid in AMID {
                let call = app.http().post("/oauth2/revoke").form(&[("token", &amid.replace('T', text))]);
                call.send().await.oauth_error(400, "invalid_request");
            }
            assert_eq!(lists(access).await.status, 200);
            app.http().post("/oauth2/revoke").form(&[("token", &around.replace('T', text))]).send().await.ok();
            assert_eq!(lists(access).await.status, 401, "{member}: {around:?}");
        }
    }
}

#[tokio::test]
async fn a103_commands_and_tools_read_them_so_too() {
    let home = Home::new();
    home.account();
    let make = || {
        let made = home.run(&["keys", "create", "--account", ME, "--name", "x", "--scope", "audience:read", "--json"], "").ok();
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        ["key", "id"].map(|member| made[member].as_str().unwrap().to_owned())
    };
    let [key, id] = make();
    for around in AROUND.into_iter().filter(|around| !around.starts_with(['\r', '\n'])) {
        let verdict = home.run(&["keys", "verify"], &around.replace('T', &key));
        assert!(verdict.ended(0).out().starts_with("VALID"), "{around:?}: {}", verdict.out());
    }
    home.run(&["keys", "verify"], &format!("{key} {key}")).ended(2).says("`key`");
    home.run(&["keys", "verify"], "nonsense").ended(1);
    home.run(&["keys", "revoke", &format!(" {id}\n"), "--yes"], "").ended(0);
    assert!(home.run(&["keys", "verify"], &key).ended(1).out().starts_with("REVOKED"));

    let mut client = Client::start(&home).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read"]})).await;
    let claim = format!(" {}\n", text(&asked, "claim_id"));
    assert_eq!(client.tool("poll_claim", json!({"claim_id": claim, "wait_seconds": 0})).await["status"], "pending");
    client.done().await;
}

#[tokio::test]
async fn a_key_in_the_place_of_a_name_is_not_told_back() {
    let app = app().await;
    let (service, human) = (app.service_key().await, app.human("ada@example.com").await);
    let key = a_key(&app, &human).await;
    let call = |path: &str| app.http().post(path).bearer(&service);
    for call in [
        call("/oauth2/introspect").body(URL_ENCODED, key.as_str()),
        call("/oauth2/introspect").body(URL_ENCODED, format!("{key}&{key}")),
        call("/v1/keys/verify").json(&json!({"key": key, key.as_str(): true})),
        call("/v1/keys/verify").body("application/json", format!(r#"{{"{key}":1,"{key}":2}}"#)),
        call(&format!("/v1/keys/verify?{key}")).json(&json!({"key": key})),
        app.http().get(&format!("/v1/keys?{key}=1")).bearer(&service),
    ] {
        let refused = call.send().await;
        assert!(refused.status == 400 && !refused.text().contains(&key[14..]), "{}", refused.text());
    }
}

// What is no credential.

/// What clients send that have none: a name instead of its value, a word for nothing.
const NOTHING: [&str; 20] = [
    "",
    " ",
    "$COUNTERSIGN_API_KEY",
    "${COUNTERSIGN_API_KEY}",
    "${COUNTERSIGN_API_KEY:-}",
    "${env:COUNTERSIGN_API_KEY}",
    "{env:COUNTERSIGN_API_KEY}",
    "{{COUNTERSIGN_API_KEY}}",
    "{{ secrets.KEY }}",
    "%COUNTERSIGN_API_KEY%",
    "<your-key>",
    "<your key>",
    "undefined",
    "null",
    "None",
    "NaN",
    "\"\"",
    "[object Object]",
    "\"${KEY}\"",
    "op://vault/item/key",
];

#[tokio::test]
async fn f14_a_placeholder_is_nobody_over_mcp_and_401_on_a_resource() {
    let app = app().await;
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    }});
    let mcp = |name: &str, value: &str| {
        let call = app.http().post("/mcp").header("accept", "application/json, text/event-stream").header(name, value);
        call.json(&hello).send()
    };
    for nothing in NOTHING {
        for (name, value) in [
            ("authorization", format!("Bearer {nothing}")),
            ("authorization", format!("bearer  {nothing}")),
            ("authorization", format!("ApiKey {nothing}")),
            ("authorization", nothing.to_owned()),
            ("x-api-key", nothing.to_owned()),
            ("x-api-key", format!("Bearer {nothing}")),
        ] {
            let answer = mcp(name, &value).await;
            assert_eq!(answer.status, 200, "{name}: {value:?}: {}", answer.text());
            let refused = app.http().get("/v1/whoami").header(name, &value).send().await;
            assert_eq!(refused.status, 401, "{name}: {value:?}");
            assert!(refused.header("www-authenticate").starts_with("Bearer resource_metadata"), "nothing was presented: {value:?}");
            assert_eq!(app.http().get("/v1/authorize?scope=").header(name, &value).send().await.status, 401, "{name}: {value:?}");
        }
    }
    for wrong in
        ["cs_live_x", "x", "clé", "a b", "${KEY:-acme_1}", "<cs_live_0123456789ABCDEFGHIJKLMNOPQRST0abcde>", "$2b$10$x", "YOUR_API_KEY"]
    {
        for (name, value) in [("authorization", format!("Bearer {wrong}")), ("x-api-key", wrong.to_owned())] {
            let answer = mcp(name, &value).await;
            assert!(answer.status == 401 && answer.text().contains("the presented key is not valid"), "{name}: {value}: {}", answer.text());
        }
    }
    assert_eq!(mcp("authorization", "cs_live_x").await.status, 401, "a key without a scheme is one");
}

#[tokio::test]
async fn f17_what_is_no_credential_makes_no_second_one() {
    let app = app_with("plans.free.requests_per_minute", "10000").await;
    let human = app.human("ada@example.com").await;
    let key = a_key(&app, &human).await;
    let with = |headers: &[(&str, &str)]| {
        let call = |method, path| headers.iter().fold(app.http().call(method, path), |call, (name, value)| call.header(name, value));
        let calls = [call("GET", "/v1/whoami"), call("GET", "/v1/authorize?scope=audience:read"), {
            let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
            }});
            call("POST", "/mcp").header("accept", "application/json, text/event-stream").json(&hello)
        }];
        async move {
            let mut statuses = Vec::new();
            for call in calls {
                statuses.push(call.send().await.status);
            }
            statuses
        }
    };
    let bearer = format!("Bearer {key}");
    for nothing in NOTHING {
        let empty = format!("Bearer {nothing}");
        for headers in [
            [("authorization", empty.as_str()), ("x-api-key", &key)],
            [("authorization", nothing), ("x-api-key", &key)],
            [("x-api-key", nothing), ("authorization", &bearer)],
            [("authorization", empty.as_str()), ("authorization", &bearer)],
        ] {
            assert_eq!(with(&headers).await, [200, 200, 200], "{headers:?}");
        }
        assert_eq!(with(&[("authorization", &empty), ("x-api-key", nothing)]).await, [401, 401, 200], "{nothing}");
        assert_eq!(
            with(&[("authorization", &empty), ("x-api-key", "cs_live_x")]).await,
            [401, 401, 401],
            "{nothing}: a wrong key stays one"
        );
    }
    for foreign in
        ["Basic dXNlcjpwYXNz", "Digest username=\"x\", nonce=\"y\"", "Negotiate", "AWS4-HMAC-SHA256 Credential=a/b, Signature=c", "Token x"]
    {
        assert_eq!(with(&[("authorization", foreign), ("x-api-key", &key)]).await, [200, 200, 200], "{foreign}");
        assert_eq!(with(&[("authorization", foreign), ("x-api-key", "cs_live_x")]).await, [401, 401, 401], "{foreign}");
        assert_eq!(with(&[("authorization", foreign), ("authorization", &bearer)]).await, [400, 400, 400], "{foreign}");
        assert_eq!(with(&[("authorization", foreign)]).await[..2], [401, 401], "{foreign}");
    }
    for two in [[("authorization", bearer.as_str()), ("x-api-key", key.as_str())], [("x-api-key", "a"), ("x-api-key", &key)]] {
        assert_eq!(with(&two).await, [400, 400, 400]);
    }
}

#[tokio::test]
async fn f14_a_variable_is_read_as_a_header_is() {
    let home = Home::new();
    let run = |value: String| home.program(&["keys", "list", "--server", "http://127.0.0.1:9"]).env("COUNTERSIGN_API_KEY", value).output();
    for nothing in NOTHING {
        for value in [nothing.to_owned(), format!("Bearer {nothing}\n")] {
            Done(run(value).await.unwrap()).ended(4).says("set COUNTERSIGN_API_KEY");
        }
    }
    for value in ["cs_live_x", "Bearer cs_live_x\n", "\u{a0}\"cs_live_x\""] {
        Done(run(value.to_owned()).await.unwrap()).ended(1).says("can't be reached");
    }
}

#[tokio::test]
async fn f14_the_doctor_reads_a_client_s_file_as_the_server_reads_what_it_sends() {
    let (home, server) = (Home::new(), Home::new());
    let server = server.serve().await;
    let path = home.0.path().join("mcp.json");
    let check = |name: &str, value: &str| {
        let entry = json!({"mcpServers": {"countersign": {"url": format!("http://{}/mcp", server.address), "headers": {name: value}}}});
        std::fs::write(&path, entry.to_string()).unwrap();
        home.run(&["doctor", "--mcp-config", path.to_str().unwrap()], "")
    };
    for (value, code, says) in [
        ("Bearer $COUNTERSIGN_API_KEY", 0, "answers"),
        ("Bearer {env:COUNTERSIGN_API_KEY}", 0, "answers"),
        ("Bearer ${COUNTERSIGN_API_KEY:-}", 0, "answers"),
        ("Bearer %COUNTERSIGN_API_KEY%", 0, "answers"),
        ("Bearer ", 0, "answers"),
        ("Bearer <your-key>", 1, "holds no key and names no variable"),
        ("Bearer undefined", 1, "holds no key and names no variable"),
        ("Bearer ${KEY:-acme_1}", 1, "a key stands in the file"),
        ("Bearer acme_123", 1, "a key stands in the file"),
    ] {
        for name in ["Authorization", "X-API-Key"] {
            let done = check(name, value);
            assert!(done.ended(code).out().contains(says), "{name}: {value}: {}", done.out());
        }
    }
}

proptest! {
    #[test]
    fn a103_any_wrapping_comes_off_and_nothing_else(
        token in "[A-Za-z0-9_-]{20,80}", around in prop::collection::vec(prop::sample::select(&AROUND[..]), 0..5), text in any::<String>(),
    ) {
        prop_assume!(!token.to_ascii_lowercase().starts_with("bearer") && !token.to_ascii_lowercase().starts_with("apikey"));
        let wrapped = around.iter().fold(token.clone(), |inner, around| around.replace('T', &inner));
        prop_assert_eq!(said(&wrapped), Said::Token(&token));
        // Never a panic, and what was read once is read so again.
        let once = bare(&text);
        prop_assert!(bare(once) == once && text.contains(once));
        said(&text);
    }
}
