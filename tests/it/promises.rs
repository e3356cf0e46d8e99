//! What the two products' documentation says, sentence by sentence, and the proof. Each product runs with its own file
//! of `tests/profiles`. The documented commands themselves are made by curl, Node and Python in `tests/clients/documented.py`.

use crate::support::*;
use countersign::{
    domain::{
        environment::Environment,
        key::{Key, Status},
    },
    service::keys::create::NewKey,
};
use serde_json::{Value, json};

const ASKED: &str = "audience:read campaign:read email:send";

async fn migma() -> TestApp {
    product("migma").start().await
}

async fn magpipe() -> TestApp {
    product("magpipe").set("sessions.publishable_key", "pub_tests_know_this_one").start().await
}

/// The documented first call.
async fn ask(app: &TestApp) -> Value {
    let body = json!({"type": "service_auth", "login_hint": "user@example.com", "agent_name": "Claude", "scope": ASKED});
    app.http().register(body).await.ok()
}

fn code(asked: &Value) -> &str {
    asked["claim"]["user_code"].as_str().unwrap()
}

async fn poll(app: &TestApp, asked: &Value) -> Answer {
    app.http().poll(asked["claim_token"].as_str().unwrap()).await
}

/// Types the code as the page asks for it, with the password where it is asked again.
async fn approve(browser: &mut Browser, code: &str) -> Answer {
    let path = browser.enter(code).await;
    browser.submit(&path, &[("decision", "approve"), ("code", code), ("password", PASSWORD)]).await
}

/// The whole of it: a human's browser, the agent's answer, its key.
async fn delivered(app: &TestApp) -> (Browser, Value, String) {
    let asked = ask(app).await;
    let mut browser = app.signed_in("ada@example.com").await;
    let approved = approve(&mut browser, code(&asked)).await;
    assert_eq!(approved.status, 303, "{}", approved.text());
    let got = poll(app, &asked).await.not_stored().ok();
    let key = got["access_token"].as_str().unwrap().to_owned();
    (browser, got, key)
}

fn migma_nobody(answer: &Answer) -> bool {
    let body = answer.json();
    answer.status == 401 && body["success"] == false && body["error"] == "Invalid or missing API key"
}

fn magpipe_nobody(answer: &Answer) -> bool {
    answer.status == 401 && answer.text() == r#"{"error":{"code":"unauthorized","message":"Unauthorized"}}"#
}

async fn list_agents(app: &TestApp, bearer: &str) -> Answer {
    app.http().post("/functions/v1/list-agents").bearer(bearer).json(&json!({})).send().await
}

// The first product, on agents.

/// "AI agents like Claude, Cursor, and OpenClaw can register themselves with your Migma account." "The agent requests
/// access, you approve it with a short code, and the agent receives its own scoped API key."
#[tokio::test]
async fn agents_register_themselves_and_receive_their_own_scoped_key() {
    let app = migma().await;
    for agent in ["Claude", "Cursor", "OpenClaw"] {
        let asked = app.http().register(json!({"type": "service_auth", "agent_name": agent, "scope": "audience:read"})).await.ok();
        let mut browser = app.signed_in("ada@example.com").await;
        assert_eq!(approve(&mut browser, code(&asked)).await.status, 303);
        let key = poll(&app, &asked).await.ok()["access_token"].as_str().unwrap().to_owned();
        app.http().projects(&key).await.ok();
        browser.open("/settings/keys").await;
        assert!(browser.page.text().contains(agent));
    }
}

/// "You never create, copy, or paste a key." "The agent receives its own key directly. The secret never passes through
/// chat, clipboards, or config files you manage by hand."
#[tokio::test]
async fn the_human_never_sees_the_secret() {
    let app = migma().await;
    let (mut browser, _, key) = delivered(&app).await;
    for page in ["/", "/settings/keys", "/claim"] {
        assert!(!browser.open(page).await.text().contains(&key[22..]), "{page}");
    }
}

/// "Before any access is granted you see the agent’s name and exactly which permissions it asked for, then confirm with
/// a code only you have." "Migma shows the agent’s name and the permissions it requested before you confirm."
#[tokio::test]
async fn name_and_permissions_are_seen_before_anything_is_granted() {
    let app = migma().await;
    let asked = ask(&app).await;
    let mut browser = app.signed_in("ada@example.com").await;
    browser.enter(code(&asked)).await;
    let page = browser.page.text();
    assert!(page.contains("Claude"));
    for (scope, info) in &app.service.context.config.scopes {
        assert_eq!(page.contains(&info.title), ASKED.contains(scope.as_str()), "{scope}");
    }
    poll(&app, &asked).await.oauth_error(400, "authorization_pending");
    // Another agent's code, and no code at all, confirm nothing.
    let other = app.signed_in("ada@example.com").await;
    let wrong = other.clone().submit_code(WRONG_CODE).await;
    assert_eq!(wrong.status, 400);
}

/// "The key carries only the permissions the agent requested, such as read-only access or sending. Nothing more."
#[tokio::test]
async fn the_key_carries_what_was_requested_and_nothing_more() {
    let app = migma().await;
    let (_, got, key) = delivered(&app).await;
    assert_eq!(got["scope"], ASKED);
    let who = app.http().get("/v1/whoami").bearer(&key).send().await.ok();
    assert_eq!(who["data"]["key"]["scopes"], json!(["audience:read", "campaign:read", "email:send"]));
}

/// "Agent keys appear in Settings → API Integration next to your own keys. Delete one and the agent loses access
/// immediately." "Revoke any agent key in Settings → API Integration."
#[tokio::test]
async fn an_agents_key_stands_beside_your_own_and_deleting_it_ends_access() {
    let app = migma().await;
    let (mut browser, got, key) = delivered(&app).await;
    let ada = app.service.accounts.account_by_email("ada@example.com").await.unwrap().id;
    let own = NewKey { name: "My own".to_owned(), ..new_key(&["audience:read"]) };
    app.service.keys.create_key(app.human_again(ada).await.actor(), ada, own, at("127.0.0.1")).await.unwrap();
    let page = browser.open("/settings/keys").await.text();
    assert!(page.contains("My own") && page.contains("Claude"));
    app.http().projects(&key).await.ok();
    let path = format!("/settings/keys/{}/revoke", got["key_id"].as_str().unwrap());
    browser.open(&path).await;
    assert_eq!(browser.submit(&path, &[("confirm", "Claude")]).await.status, 303);
    assert!(migma_nobody(&app.http().projects(&key).await));
}

/// "This works with any agent that can read a web page. Migma follows the auth.md convention, so agents discover and
/// complete the whole flow on their own." "Everything an agent needs is published at: /auth.md. Machine-readable metadata is
/// at /.well-known/oauth-authorization-server."
#[tokio::test]
async fn what_an_agent_needs_is_published() {
    let app = migma().await;
    let page = app.http().get("/auth.md").send().await.text();
    for needed in ["# Get access to Migma", "/agent/identity", "/oauth2/token", "MIGMA_API_KEY", "campaign:read", "Errors"] {
        assert!(page.contains(needed), "{needed}");
    }
    let metadata = app.http().get("/.well-known/oauth-authorization-server").send().await.ok();
    assert_eq!(metadata["token_endpoint"], "http://127.0.0.1:4080/oauth2/token");
    assert_eq!(metadata["agent_auth"]["identity_endpoint"], "http://127.0.0.1:4080/agent/identity");
    assert_eq!(metadata["agent_auth"]["skill"], "http://127.0.0.1:4080/auth.md");
}

/// "the agent registers with Migma and shows you a short code together with a link to migma.ai/claim." "Surface
/// claim.user_code and claim.verification_uri_complete to the user."
#[tokio::test]
async fn the_link_leads_to_the_claim_page_of_the_products_own_site() {
    let app = product("migma").set("public_url", "https://api.migma.ai").set("pages_url", "https://migma.ai").start().await;
    let body = json!({"type": "service_auth", "agent_name": "Claude", "scope": ASKED});
    let asked = app.http().post("/agent/identity").json(&body).send().await.ok();
    assert_eq!(asked["claim"]["verification_uri"], "https://migma.ai/claim");
    assert_eq!(asked["claim"]["verification_uri_complete"], format!("https://migma.ai/claim?code={}", code(&asked)));
    assert_eq!(code(&asked).len(), 9);
}

/// "Open the link, sign in (or create a free account), and enter the code."
#[tokio::test]
async fn a_human_without_an_account_makes_a_free_one_and_approves() {
    let app = migma().await;
    let asked = ask(&app).await;
    let mut browser = app.browser();
    assert!(browser.open(&format!("/claim?code={}", code(&asked))).await.text().contains("/signup"));
    browser.open("/signup").await;
    assert_eq!(browser.submit("/signup", &[("email", "new@example.com"), ("password", PASSWORD)]).await.status, 303);
    assert_eq!(approve(&mut browser, code(&asked)).await.status, 303);
    let got = poll(&app, &asked).await.ok();
    let who = app.http().get("/v1/whoami").bearer(got["access_token"].as_str().unwrap()).send().await.ok();
    assert_eq!((&who["data"]["plan"], &who["data"]["email"]), (&json!("free"), &json!("new@example.com")));
}

/// "Once you approve, the agent automatically receives a scoped API key and continues working. The key is shown to the
/// agent exactly once." "The key is delivered to the agent exactly once and is never shown again."
#[tokio::test]
async fn the_key_is_delivered_exactly_once() {
    let app = migma().await;
    let asked = ask(&app).await;
    let mut browser = app.signed_in("ada@example.com").await;
    approve(&mut browser, code(&asked)).await;
    let key = poll(&app, &asked).await.ok()["access_token"].as_str().unwrap().to_owned();
    poll(&app, &asked).await.oauth_error(400, "invalid_grant");
    for path in ["/v1/whoami", "/v1/keys"] {
        assert!(!app.http().get(path).bearer(&key).send().await.text().contains(&key[22..]), "{path}");
    }
}

/// "The returned access_token is a standard Migma API key. Use it everywhere a key works: the REST API, the SDK, the CLI,
/// and the MCP server". The command line is tested in `process`, the tools with real clients.
#[tokio::test]
async fn the_access_token_is_a_standard_key() {
    let app = migma().await;
    let (_, got, key) = delivered(&app).await;
    assert_eq!(got["token_type"], "Bearer");
    assert!(key.starts_with("mgma_sk_live_") && got.get("expires_in").is_none());
    app.http().projects(&key).await.ok();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "check_scope", "arguments": {"scopes": ["email:send"]},
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
                  "io.modelcontextprotocol/clientCapabilities": {}}}});
    let asked = app.http().post("/mcp").bearer(&key).header("accept", "application/json, text/event-stream");
    let asked = asked.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", "check_scope");
    let answer = asked.json(&call).send().await;
    assert!(answer.status == 200 && answer.text().contains(r#""allowed":true"#), "{} {}", answer.status, answer.text());
}

/// "Approval requires a signed-in Migma user entering a short-lived code. The email an agent mentions is display only
/// and grants nothing by itself."
#[tokio::test]
async fn the_mentioned_email_grants_nothing() {
    let app = migma().await;
    let asked = ask(&app).await;
    let mut nobody = app.browser();
    nobody.open("/claim").await;
    assert!(nobody.page.text().contains("Sign in"));
    assert_eq!(app.http().post("/claim").form(&[("code", code(&asked))]).send().await.status, 403);
    // Whoever has the code decides, whatever e-mail was mentioned; and is told that it is another's.
    let mut browser = app.signed_in("ada@example.com").await;
    browser.enter(code(&asked)).await;
    assert!(browser.page.text().contains("user@example.com"));
    approve(&mut browser, code(&asked)).await;
    let got = poll(&app, &asked).await.ok();
    assert!(got["approved_by"].as_str().unwrap().starts_with('a'), "{}", got["approved_by"]);
}

/// "Requested scopes are capped to the standard API permissions and shown to you before approval."
#[tokio::test]
async fn scopes_are_capped_to_the_permissions_there_are() {
    let app = migma().await;
    let body = json!({"type": "service_auth", "agent_name": "Claude", "scope": "email:send billing:write keys:write"});
    let asked = app.http().register(body).await.ok();
    assert_eq!((&asked["post_claim_scopes"], &asked["ignored_scopes"]), (&json!(["email:send"]), &json!(["billing:write", "keys:write"])));
    let mut browser = app.signed_in("ada@example.com").await;
    browser.enter(code(&asked)).await;
    let page = browser.page.text();
    assert!(page.contains("Send emails to subscribers") && page.contains("Asked for and not available"));
    approve(&mut browser, code(&asked)).await;
    assert_eq!(poll(&app, &asked).await.ok()["scope"], "email:send");
}

/// "Codes expire after ten minutes and a registration expires after one hour."
#[tokio::test]
async fn codes_live_ten_minutes_and_registrations_an_hour() {
    let app = migma().await;
    let asked = ask(&app).await;
    assert_eq!(asked["claim"]["expires_in"], 600);
    app.advance(599);
    poll(&app, &asked).await.oauth_error(400, "authorization_pending");
    app.advance(1);
    assert_eq!(poll(&app, &asked).await.oauth_error(400, "expired_token")["retry"], "claim");
    let mut browser = app.signed_in("ada@example.com").await;
    assert_eq!(browser.submit_code(code(&asked)).await.status, 400);
    app.advance(2999);
    let again = app.http().post("/agent/identity/claim").json(&json!({"claim_token": asked["claim_token"]})).send().await;
    again.ok();
    app.advance(1);
    assert_eq!(poll(&app, &asked).await.oauth_error(400, "expired_token")["retry"], "register");
}

// The first product, on keys.

/// "Copy the key immediately - it won’t be shown again!" "API keys are shown only once at creation."
#[tokio::test]
async fn a_key_is_shown_once_at_creation() {
    let app = migma().await;
    let maker = app.key(&app.human("ada@example.com").await, &["keys:write", "keys:read", "email:read"]).await;
    let body = json!({"name": "Production", "scopes": ["email:read"]});
    let made = app.http().post("/v1/keys").bearer(maker.key.expose()).json(&body).send().await;
    let (made, stored) = (made.json()["data"].clone(), made.not_stored().status);
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!((stored, key.starts_with("mgma_sk_live_")), (201, true));
    for path in ["/v1/keys".to_owned(), format!("/v1/keys/{id}")] {
        assert!(!app.http().get(&path).bearer(maker.key.expose()).send().await.text().contains(&key[22..]));
    }
}

/// "Include your API key in the Authorization header of every request". "Wrong format (must be Bearer YOUR_KEY)". "API key
/// not included in Authorization header". "Key has been revoked". "Using test key in production environment". "Your API
/// key is invalid or missing".
#[tokio::test]
async fn every_common_cause_of_401_gets_the_documented_body() {
    let app = product("migma").set("keys.offered_environments", "[\"live\", \"test\"]").start().await;
    let human = app.human("ada@example.com").await;
    let (key, revoked) = (app.key(&human, &["email:read"]).await, app.key(&human, &["email:read"]).await);
    let test = NewKey { environment: Some(Environment::Test), ..new_key(&["email:read"]) };
    let test = app.service.keys.create_key(human.actor(), human.account, test, human.source).await.unwrap();
    app.service.keys.revoke_key(&human.actor(), revoked.view.id, None, human.source).await.unwrap();
    let (key, get) = (key.key.expose(), || app.http().get("/v1/projects"));
    get().bearer(key).send().await.ok();
    for (cause, call) in [
        ("not included", get()),
        ("another header", get().header("x-api-key", key)),
        ("no scheme", get().header("authorization", key)),
        ("another scheme", get().header("authorization", &format!("Basic {key}"))),
        ("revoked", get().bearer(revoked.key.expose())),
        ("test key in production", get().bearer(test.key.expose())),
        ("made up", get().bearer("mgma_sk_live_1234567890abcdef")),
    ] {
        assert!(migma_nobody(&call.send().await), "{cause}");
    }
}

/// The permissions table. "When creating an API key, you can grant specific permissions to limit what the key can
/// access". "If your application only needs to read data, create a key with only read permissions".
#[tokio::test]
async fn each_documented_permission_limits_a_key_to_itself() {
    let app = product("migma").set("plans.free.requests_per_minute", "1000").start().await;
    let human = app.human("ada@example.com").await;
    let verifier = app.key(&human, &["keys:verify"]).await;
    let documented = ["audience:read", "audience:write", "email:read", "email:send", "template:read", "webhook:read", "webhook:write"];
    for granted in documented {
        let key = app.key(&human, &[granted]).await;
        for needed in documented {
            let body = json!({"key": key.key.expose(), "scope": needed});
            let verdict = app.http().post("/v1/keys/verify").bearer(verifier.key.expose()).json(&body).send().await.ok();
            let code = if granted == needed { "VALID" } else { "INSUFFICIENT_SCOPE" };
            assert_eq!(verdict["data"]["code"], code, "{granted} where {needed} is needed");
        }
    }
}

/// "Test keys start with mgma_sk_test_ and production keys start with mgma_sk_live_". "Use different API keys for different
/// environments".
#[tokio::test]
async fn keys_show_their_environment_and_work_in_it_only() {
    for (here, there, head) in [("live", Environment::Test, "mgma_sk_live_"), ("test", Environment::Live, "mgma_sk_test_")] {
        let app = product("migma").set("environment", here).start().await;
        let human = app.human("ada@example.com").await;
        let own = app.key(&human, &["email:read"]).await;
        assert!(own.key.expose().starts_with(head));
        app.http().projects(own.key.expose()).await.ok();
        let other = NewKey { environment: Some(there), ..new_key(&["email:read"]) };
        let other = app.service.keys.create_key(human.actor(), human.account, other, human.source).await.unwrap();
        assert!(migma_nobody(&app.http().projects(other.key.expose()).await));
    }
}

/// "Create a new API key with the same permissions. Update your application to use the new key. Test thoroughly. Revoke
/// the old key." "Generate new keys and revoke old ones regularly to limit exposure."
#[tokio::test]
async fn a_key_is_replaced_without_a_gap() {
    let app = migma().await;
    let human = app.human("ada@example.com").await;
    let old = app.key(&human, &["email:read"]).await;
    let new = app.key(&human, &["email:read"]).await;
    app.http().projects(old.key.expose()).await.ok();
    app.http().projects(new.key.expose()).await.ok();
    app.service.keys.revoke_key(&human.actor(), old.view.id, None, human.source).await.unwrap();
    app.http().projects(new.key.expose()).await.ok();
    assert!(migma_nobody(&app.http().projects(old.key.expose()).await));
}

/// "Go to Settings → API Integration → API Keys to see: Key name and ID (first 8 characters), Permissions granted, Creation
/// date, Last used date, Usage statistics". "View last used date for each key". "Tracking: Each key tracks its last_used_at
/// timestamp".
#[tokio::test]
async fn the_keys_page_shows_what_is_documented() {
    let app = migma().await;
    let mut browser = app.signed_in("ada@example.com").await;
    let ada = app.service.accounts.account_by_email("ada@example.com").await.unwrap().id;
    let new = NewKey { name: "Production".to_owned(), ..new_key(&["email:read", "webhook:read"]) };
    let made = app.service.keys.create_key(app.human_again(ada).await.actor(), ada, new, at("127.0.0.1")).await.unwrap();
    assert!(browser.open("/settings/keys").await.text().contains("Never used"));
    app.http().projects(made.key.expose()).await.ok();
    let page = browser.open("/settings/keys").await.text();
    for shown in ["Production", &made.view.prefix, "email:read", "webhook:read", "Created", "Last used"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert_eq!(made.view.prefix.len(), "mgma_sk_live_".len() + 8);
    assert!(!page.contains(made.key.expose()));
    let used = app.http().get(&format!("/v1/keys/{}/usage", made.view.id)).bearer(made.key.expose()).send().await.ok();
    let today = used["data"]["days"].as_array().unwrap().iter().find(|day| day["accepted"].as_u64() > Some(0)).cloned();
    assert!(today.is_some(), "{used}");
}

/// "Click the delete icon next to the key. Confirm the deletion - this action cannot be undone". "Revoking a key will
/// immediately invalidate it. Any applications using that key will receive 401 Unauthorized errors." And of the second
/// product: "Find the key you want to revoke. Click Revoke. Confirm the action. The key will immediately stop working. This
/// cannot be undone."
#[tokio::test]
async fn revoking_is_confirmed_immediate_and_for_good() {
    for name in ["migma", "magpipe"] {
        let app = product(name).start().await;
        let mut browser = app.signed_in("ada@example.com").await;
        let ada = app.service.accounts.account_by_email("ada@example.com").await.unwrap().id;
        let scope = app.service.context.config.scopes.keys().next().unwrap().to_string();
        let owner = app.human_again(ada).await.actor();
        let made = app.service.keys.create_key(owner, ada, new_key(&[&scope]), at("127.0.0.1")).await.unwrap();
        let path = format!("/settings/keys/{}/revoke", made.view.id);
        let list = browser.open("/settings/keys").await.text();
        assert!(list.contains(&format!("href=\"{path}\"")) || list.contains(&format!("/settings/keys/{}", made.view.id)), "{name}");
        // Looking at the confirmation ends nothing.
        browser.open(&path).await;
        app.http().projects(made.key.expose()).await.ok();
        assert_eq!(browser.submit(&path, &[("confirm", "another")]).await.status, 400, "{name}");
        app.http().projects(made.key.expose()).await.ok();
        browser.open(&path).await;
        assert_eq!(browser.submit(&path, &[("confirm", &made.view.name)]).await.status, 303, "{name}");
        assert_eq!(app.http().projects(made.key.expose()).await.status, 401, "{name}");
        // A browser holds on to the server it came from.
        drop(browser);
        let app = app.restart().await;
        let refused = app.http().projects(made.key.expose()).await;
        assert!(if name == "migma" { migma_nobody(&refused) } else { magpipe_nobody(&refused) }, "{name}");
    }
}

/// "Your API key doesn’t have permission for this action" gets the documented 403; "Create a new key with the required
/// permissions".
#[tokio::test]
async fn a_missing_permission_gets_the_documented_403() {
    let app = migma().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["email:read"]).await;
    let create = |key: &str| app.http().post("/v1/keys").bearer(key).json(&json!({"name": "x", "scopes": ["email:read"]}));
    let refused = create(key.key.expose()).send().await;
    let body = refused.json();
    assert_eq!((refused.status, &body["success"], &body["error"]), (403, &json!(false), &json!("Insufficient permissions")));
    let wider = app.key(&human, &["email:read", "keys:write"]).await;
    assert_eq!(create(wider.key.expose()).send().await.status, 201);
}

/// "API keys are subject to rate limits based on your plan: Free 10 requests/minute, Pro 100 requests/minute, Enterprise
/// Custom limits". "Rate limit headers are included in every response". "When you exceed the rate limit, you’ll receive a 429
/// Too Many Requests response".
#[tokio::test]
async fn each_plan_has_its_limit_and_every_answer_says_where_it_stands() {
    for (plan, limit) in [("free", 10), ("pro", 100), ("enterprise", 1000)] {
        let app = migma().await;
        let human = app.human("ada@example.com").await;
        app.edit(human.account, move |account| account.plan = plan.to_owned()).await;
        let key = app.key(&human, &["email:read"]).await;
        for left in (0..limit).rev() {
            let answer = app.http().projects(key.key.expose()).await;
            let headers = ["limit", "remaining"].map(|name| answer.header(&format!("x-ratelimit-{name}")).parse().unwrap());
            assert_eq!((answer.status, headers), (200, [limit, left]), "{plan}");
            assert!(answer.header("x-ratelimit-reset").parse::<i64>().unwrap() > app.service.context.runtime.now().as_second());
        }
        let over = app.http().projects(key.key.expose()).await;
        let body = over.json();
        assert_eq!((over.status, &body["success"], &body["error"]), (429, &json!(false), &json!("Rate limit exceeded")), "{plan}");
        assert_eq!(body["retryAfter"].to_string(), over.header("retry-after"), "{plan}");
        assert_eq!(over.header("x-ratelimit-remaining"), "0", "{plan}");
    }
}

/// "Enterprise: Custom limits": a key's own number.
#[tokio::test]
async fn an_enterprise_contract_sets_a_keys_own_limit() {
    let app = migma().await;
    let human = app.human("ada@example.com").await;
    app.edit(human.account, |account| account.plan = "enterprise".to_owned()).await;
    let made = app.key(&human, &["email:read"]).await;
    let id = made.view.id;
    app.store
        .write(move |rows| {
            let mut key: Key = countersign::store::rows::key(rows, id)?.expect("the key is there");
            key.requests_per_minute = Some(5000);
            countersign::store::rows::save(rows, &key)
        })
        .await
        .map_err(|error: countersign::store::error::StoreError| error)
        .unwrap();
    assert_eq!(app.http().projects(made.key.expose()).await.header("x-ratelimit-limit"), "5000");
}

/// "Test your API key with a simple request. Expected response for valid key".
#[tokio::test]
async fn the_simple_request_gets_the_expected_response() {
    let app = migma().await;
    let key = app.key(&app.human("ada@example.com").await, &["email:read"]).await;
    assert_eq!(app.http().projects(key.key.expose()).await.text(), r#"{"success":true,"data":{"projects":[],"total":0}}"#);
}

// The second product.

/// "Both use Bearer token authentication via the Authorization header."
#[tokio::test]
async fn key_and_session_token_are_both_bearer_tokens() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["agents:read"]).await;
    let session = sign_in(&app).await;
    for token in [key.key.expose(), session["access_token"].as_str().unwrap()] {
        assert_eq!(list_agents(&app, token).await.ok(), json!({"agents": []}));
        let call = || app.http().post("/functions/v1/list-agents").json(&json!({}));
        for (header, value) in [("authorization", token.to_owned()), ("x-api-key", token.to_owned()), ("apikey", token.to_owned())] {
            assert!(magpipe_nobody(&call().header(header, &value).send().await), "{header}");
        }
    }
}

async fn sign_in(app: &TestApp) -> Value {
    let call = app.http().post("/auth/v1/token?grant_type=password").header("apikey", "pub_tests_know_this_one");
    call.json(&json!({"email": "ada@example.com", "password": PASSWORD})).send().await.ok()
}

/// "API Key: Never (until revoked)". "We recommend API keys for most integrations. They don’t expire". "API keys are
/// long-lived tokens that persist until you revoke them."
#[tokio::test]
async fn keys_persist_until_they_are_revoked() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["agents:read"]).await;
    app.advance_and_purge(20 * 366 * 24 * 3600).await;
    let app = app.restart().await;
    list_agents(&app, key.key.expose()).await.ok();
    let human = app.again(&human).await;
    app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    assert!(magpipe_nobody(&list_agents(&app, key.key.expose()).await));
}

/// The same holds for keys agents receive: neither product's expire.
#[tokio::test]
async fn an_agents_key_does_not_expire_either() {
    let app = migma().await;
    let (_, _, key) = delivered(&app).await;
    app.advance_and_purge(20 * 366 * 24 * 3600).await;
    app.http().projects(&key).await.ok();
}

/// "Prefix: All keys start with mgp_ followed by 40 hex characters". "They start with the mgp_ prefix."
#[tokio::test]
async fn all_keys_are_mgp_and_forty_hex_characters() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    for _ in 0..10 {
        let key = app.key(&human, &["agents:read"]).await;
        let hex = key.key.expose().strip_prefix("mgp_").unwrap();
        assert!(hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }
}

/// "Display: In the dashboard, keys show as mgp_abc12345... (first 8 characters only)". "Give the key a descriptive name".
/// "The full API key is only displayed once at creation time. If you lose it, you’ll need to generate a new one."
#[tokio::test]
async fn the_dashboard_shows_eight_characters_only() {
    let app = magpipe().await;
    let mut browser = app.signed_in("ada@example.com").await;
    let ada = app.service.accounts.account_by_email("ada@example.com").await.unwrap().id;
    let new = NewKey { name: "CI Pipeline".to_owned(), ..new_key(&["agents:read"]) };
    let made = app.service.keys.create_key(app.human_again(ada).await.actor(), ada, new, at("127.0.0.1")).await.unwrap();
    let page = browser.open("/settings/keys").await.text();
    let key = made.key.expose();
    assert!(page.contains("CI Pipeline") && page.contains(&key[..12]) && !page.contains(&key[..13]));
}

/// "Limit: Maximum 10 active keys per account".
#[tokio::test]
async fn an_account_has_ten_active_keys_at_most() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let session = sign_in(&app).await;
    let generate = |n: usize| {
        let call = app.http().post("/functions/v1/manage-api-keys").bearer(session["access_token"].as_str().unwrap());
        call.json(&json!({"action": "generate", "name": format!("Server {n}")})).send()
    };
    // All eleven at once.
    let answers = futures::future::join_all((0..11).map(generate)).await;
    let made = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((made, answers.iter().filter(|answer| answer.status == 409).count()), (10, 1));
    let filter = countersign::service::keys::list::KeyFilter { status: Some(Status::Active), ..Default::default() };
    assert_eq!(app.service.keys.list_keys(&human.actor(), None, &filter).await.unwrap().keys.len(), 10);
}

/// "Session tokens are short-lived JWTs obtained by authenticating with email and password. They expire after 1 hour and
/// can be refreshed." "Use the refresh token to get a new one".
#[tokio::test]
async fn session_tokens_expire_after_an_hour_and_can_be_refreshed() {
    let app = magpipe().await;
    app.human("ada@example.com").await;
    let pair = sign_in(&app).await;
    assert_eq!((&pair["token_type"], &pair["expires_in"]), (&json!("bearer"), &json!(3600)));
    assert!(pair["access_token"].as_str().unwrap().starts_with("eyJ"));
    app.advance(3600);
    assert!(magpipe_nobody(&list_agents(&app, pair["access_token"].as_str().unwrap()).await));
    let call = app.http().post("/auth/v1/token?grant_type=refresh_token").header("apikey", "pub_tests_know_this_one");
    let fresh = call.json(&json!({"refresh_token": pair["refresh_token"]})).send().await.ok();
    list_agents(&app, fresh["access_token"].as_str().unwrap()).await.ok();
}

/// "If authentication fails, you’ll receive a 401 response. Missing Authorization header. Invalid or expired token. Revoked
/// API key."
#[tokio::test]
async fn every_failed_authentication_gets_the_documented_body() {
    let app = magpipe().await;
    let human = app.human("ada@example.com").await;
    let key = app.key(&human, &["agents:read"]).await;
    app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    let missing = app.http().post("/functions/v1/list-agents").json(&json!({})).send().await;
    assert!(magpipe_nobody(&missing));
    for token in [key.key.expose(), "mgp_your_api_key_here", "eyJhbGciOiJIUzI1NiIs...", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x"] {
        assert!(magpipe_nobody(&list_agents(&app, token).await), "{token}");
    }
}
