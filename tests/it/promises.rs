//! What the two products' documentation says, sentence by sentence, and the proof. Each product runs with its own file
//! of `tests/profiles`. The documented commands themselves are made by curl, Node and Python in `tests/clients/documented.py`.

use crate::support::*;
use countersign::service::keys::create::NewKey;
use serde_json::{Value, json};

pub(super) const ASKED: &str = "audience:read campaign:read email:send";

pub(super) async fn migma() -> TestApp {
    product("migma").start().await
}

/// The documented first call.
pub(super) async fn ask(app: &TestApp) -> Value {
    let body = json!({"type": "service_auth", "login_hint": "user@example.com", "agent_name": "Claude", "scope": ASKED});
    app.http().register(body).await.ok()
}

pub(super) fn code(asked: &Value) -> &str {
    asked["claim"]["user_code"].as_str().unwrap()
}

pub(super) async fn poll(app: &TestApp, asked: &Value) -> Answer {
    app.http().poll(asked["claim_token"].as_str().unwrap()).await
}

/// Types the code as the page asks for it, with the password where it is asked again.
pub(super) async fn approve(browser: &mut Browser, code: &str) -> Answer {
    let path = browser.enter(code).await;
    browser.submit(&path, &[("decision", "approve"), ("code", code), ("password", PASSWORD)]).await
}

/// The whole of it: a human's browser, the agent's answer, its key.
pub(super) async fn delivered(app: &TestApp) -> (Browser, Value, String) {
    let asked = ask(app).await;
    let mut browser = app.signed_in("ada@example.com").await;
    let approved = approve(&mut browser, code(&asked)).await;
    assert_eq!(approved.status, 303, "{}", approved.text());
    let got = poll(app, &asked).await.not_stored().ok();
    let key = got["access_token"].as_str().unwrap().to_owned();
    (browser, got, key)
}

pub(super) fn migma_nobody(answer: &Answer) -> bool {
    let body = answer.json();
    answer.status == 401 && body["success"] == false && body["error"] == "Invalid or missing API key"
}

pub(super) fn magpipe_nobody(answer: &Answer) -> bool {
    answer.status == 401 && answer.text() == r#"{"error":{"code":"unauthorized","message":"Unauthorized"}}"#
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
