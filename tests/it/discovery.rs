//! What an agent finds that knows nothing but the address, against http.md §2.

use crate::support::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// An agent that follows what it reads. It has no path of its own in it.
struct Agent<'a> {
    app: &'a TestApp,
    base: String,
}

impl Agent<'_> {
    fn path(&self, url: &Value) -> String {
        let url = url.as_str().unwrap_or_else(|| panic!("{url} is no URL"));
        url.strip_prefix(&self.base).unwrap_or_else(|| panic!("{url} is elsewhere")).to_owned()
    }

    async fn read(&self, url: &Value) -> Value {
        self.app.http().get(&self.path(url)).send().await.ok()
    }

    async fn post(&self, url: &Value, body: Value) -> Answer {
        self.app.http().post(&self.path(url)).json(&body).send().await
    }
}

#[tokio::test]
async fn an_agent_that_reads_only_the_documents_gets_its_key() {
    let app = app_with("public_url", "https://keys.acme.example").await;
    let agent = Agent { app: &app, base: "https://keys.acme.example".to_owned() };
    let challenge = app.http().get(&app.service.context.config.api.r#try).send().await.header("www-authenticate").to_owned();
    let metadata = json!(challenge.split("resource_metadata=\"").nth(1).unwrap().split('"').next().unwrap());
    let resource = agent.read(&metadata).await;
    let issuer = resource["authorization_servers"][0].as_str().unwrap();
    let server = agent.read(&json!(format!("{issuer}/.well-known/oauth-authorization-server"))).await;
    assert_eq!(server["issuer"], issuer);
    let about = &server["agent_auth"];
    let asked = json!({
        "type": about["identity_types_supported"][0], "agent_name": "Claude", "scope": resource["scopes_supported"][0],
    });
    let registered = agent.post(&about["identity_endpoint"], asked).await.ok();
    let poll = json!({"grant_type": server["grant_types_supported"][0], "claim_token": registered["claim_token"]});
    agent.post(&server["token_endpoint"], poll.clone()).await.oauth_error(400, "authorization_pending");
    let human = app.human("alice@example.com").await;
    let id = app.type_code(&human, registered["claim"]["user_code"].as_str().unwrap()).await.unwrap();
    let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
    app.decide(&human, &review, everything(&review)).await.unwrap();
    let token = agent.post(&server["token_endpoint"], poll).await.ok();
    let next = token["next"].as_str().unwrap();
    let url = next[next.find("https://").unwrap()..].trim_end_matches('.').to_owned();
    let key = token["access_token"].as_str().unwrap();
    app.http().get(&agent.path(&json!(url))).bearer(key).send().await.ok();
    agent.post(&server["revocation_endpoint"], json!({"token": key})).await.ok();
    assert_eq!(app.http().get(&agent.path(&json!(url))).bearer(key).send().await.status, 401);
}

#[tokio::test]
async fn agent_auth_names_each_endpoint_by_each_name_and_only_what_is_on() {
    let app = app().await;
    let server = app.http().get("/.well-known/oauth-authorization-server").send().await.ok();
    let about = &server["agent_auth"];
    assert_eq!(about["identity_endpoint"], about["register_uri"]);
    assert_eq!(about["claim_endpoint"], about["claim_uri"]);
    assert_eq!(about["skill"], "http://127.0.0.1:4080/auth.md");
    assert_eq!(about["identity_types_supported"], json!(["service_auth"]));
    assert_eq!((about.get("anonymous"), about.get("events_endpoint")), (None, None), "these are not built");
    assert_eq!((&server["response_types_supported"], &server["code_challenge_methods_supported"]), (&json!([]), &json!(["S256"])));
    for (name, value) in server.as_object().unwrap() {
        if name.ends_with("_endpoint") {
            let path = value.as_str().unwrap().strip_prefix("http://127.0.0.1:4080").unwrap();
            assert_ne!(app.http().post(path).send().await.status, 404, "{name} is not there");
        }
    }
}

#[tokio::test]
async fn f15_who_follows_a_refusal_into_oauth_is_told_what_to_do_and_led_nowhere() {
    let app = app().await;
    let server = app.http().get("/.well-known/oauth-authorization-server").send().await.ok();
    let path = |name: &str| server[name].as_str().unwrap().strip_prefix("http://127.0.0.1:4080").unwrap().to_owned();
    let client = json!({"redirect_uris": ["http://127.0.0.1:9/callback"], "client_name": "a test", "token_endpoint_auth_method": "none"});
    let before = app.row_counts().await;
    let register = path("registration_endpoint");
    for body in [client.to_string(), String::new(), "nonsense".to_owned()] {
        let refused = app.http().post(&register).body("application/json", body).send().await;
        let refused = refused.oauth_error(403, "forbidden");
        assert!(refused["error_description"].as_str().unwrap().starts_with("the presented key is not valid: "), "{refused}");
    }
    assert_eq!(app.row_counts().await, before, "nobody is registered");
    let back = "?response_type=code&client_id=x&redirect_uri=http%3A%2F%2Fevil.example%2F&state=s";
    let page = app.http().get(&(path("authorization_endpoint") + back)).header("accept", "text/html").send().await;
    assert!(page.status == 200 && page.location().is_empty() && !page.text().contains("evil.example"), "{}", page.text());
    assert!(page.text().contains("the presented key is not valid"), "{}", page.text());
}

#[tokio::test]
async fn the_protected_resources_are_the_api_and_mcp() {
    let app = build().set("api.url", "https://api.acme.example").set("brand.terms_url", "https://acme.example/terms").start().await;
    let api = app.http().get("/.well-known/oauth-protected-resource").send().await.ok();
    assert_eq!((&api["resource"], &api["authorization_servers"]), (&json!("https://api.acme.example"), &json!(["http://127.0.0.1:4080"])));
    assert_eq!(
        (&api["resource_name"], &api["resource_tos_uri"], api.get("resource_policy_uri")),
        (&json!("Countersign"), &json!("https://acme.example/terms"), None)
    );
    let mcp = app.http().get("/.well-known/oauth-protected-resource/mcp").send().await.ok();
    assert_eq!(mcp["resource"], "http://127.0.0.1:4080/mcp");
}

#[tokio::test]
async fn auth_md_is_markdown_at_both_addresses() {
    let app = app().await;
    let (one, two) = (app.http().get("/auth.md").send().await, app.http().get("/.well-known/auth.md").send().await);
    assert!(one.header("content-type").starts_with("text/markdown"));
    assert_eq!(one.text(), two.text());
}

#[tokio::test]
async fn auth_md_names_every_scope_agents_can_have_and_no_other() {
    let app = app().await;
    let page = app.http().get("/auth.md").send().await.text();
    for (scope, title) in [
        ("audience:read", "View subscribers"),
        ("campaign:write", "Write campaigns"),
        ("email:send", "Send e-mails"),
        ("keys:read", "See all your keys"),
        ("keys:revoke", "Revoke any"),
    ] {
        assert!(page.contains(&format!("`{scope}`")) && page.contains(title), "{scope}");
    }
    for hidden in ["vault:open", "keys:write", "keys:verify"] {
        assert!(!page.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn auth_md_explains_every_error_an_agent_can_meet() {
    let app = app().await;
    let page = app.http().get("/auth.md").send().await.text();
    for code in [
        "authorization_pending",
        "slow_down",
        "access_denied",
        "expired_token",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_login_hint",
        "unsupported_identity_type",
        "unsupported_grant_type",
        "invalid_claim_token",
        "claimed_or_in_flight",
        "already_claimed",
        "claim_expired",
        "too_many_attempts",
        "rate_limit_exceeded",
        "request_timeout",
        "payload_too_large",
        "unsupported_media_type",
        "method_not_allowed",
        "not_found",
        "invalid_token",
        "misdirected_request",
        "conflict",
        "temporarily_unavailable",
        "server_error",
    ] {
        assert!(page.contains(&format!("`{code}`")), "{code} is not explained");
    }
}

#[tokio::test]
async fn auth_md_has_this_deployments_urls_and_no_other() {
    let app = build()
        .set("public_url", "https://keys.acme.example")
        .set("pages_url", "https://acme.example")
        .set("service_name", "Acme Mail")
        .start()
        .await;
    let page = app.http().get("/auth.md").send().await.text();
    for url in [
        "https://keys.acme.example/agent/identity",
        "https://keys.acme.example/oauth2/token",
        "https://acme.example/claim",
        "https://keys.acme.example/v1/projects",
    ] {
        assert!(page.contains(url), "{url}");
    }
    assert!(page.contains("Acme Mail") && !page.contains("127.0.0.1") && !page.contains("4080"));
    assert!(!page.contains('@') || !page.contains("@BASE@"), "a placeholder was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_auth_md_leaves_a_key_in_a_private_file_and_prints_no_secret() {
    let (app, address) = build().set("claim.interval", "1").listen_in_real_time().await;
    let page = app.http().get("/auth.md").send().await.text();
    let script = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    let home = tempfile::TempDir::new().unwrap();
    std::fs::write(home.path().join("get-key.sh"), script).unwrap();
    let mut child = tokio::process::Command::new("sh")
        .args(["get-key.sh", "Shell \"agent\" \\", "audience:read"])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env_remove("KEY_FILE")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stdout.take().unwrap()));
    let (link, code) = (lines.next_line().await.unwrap().unwrap(), lines.next_line().await.unwrap().unwrap());
    assert_eq!(link, format!("Link: http://{address}/claim"));
    let human = app.human("alice@example.com").await;
    let id = app.type_code(&human, code.strip_prefix("Code: ").unwrap()).await.unwrap();
    let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
    assert_eq!(review.agent_name, "Shell \"agent\" \\");
    app.decide(&human, &review, everything(&review)).await.unwrap();
    let rest = lines.next_line().await.unwrap().unwrap();
    let output = child.wait_with_output().await.unwrap();
    let file = home.path().join(".countersign_api_key");
    assert!(output.status.success(), "{rest} {output:?}");
    let key = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(key.starts_with("cs_live_") && !rest.contains(&key) && !String::from_utf8_lossy(&output.stderr).contains(&key));
    app.http().projects(key.trim()).await.ok();
}
