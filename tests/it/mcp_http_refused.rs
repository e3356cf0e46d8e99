//! What `/mcp` refuses before a tool is reached.

use super::mcp_http::{ACCEPT, JSON, Mcp, hello};
use crate::support::*;
use serde_json::{Value, json};

#[tokio::test]
async fn a63_foreign_hosts_and_origins_are_forbidden() {
    let (_app, address) = listening().await;
    let ours = format!("http://{address}");
    for (name, value) in [
        ("host", "evil.example"),
        ("host", "localhost"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost:1"),
        ("origin", "http://evil.example:80"),
    ] {
        let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON, (name, value)], &hello()).await.unwrap();
        assert_eq!(answer.status, 403, "{name}: {value}");
        assert_eq!(answer.json()["jsonrpc"], "2.0");
        let stream = exchange(address, "GET", "/mcp", &[("accept", "text/event-stream"), (name, value)], b"").await.unwrap();
        assert_eq!(stream.status, 403, "{name}: {value}");
    }
    assert_eq!(exchange(address, "POST", "/mcp", &[ACCEPT, JSON, ("origin", &ours)], &hello()).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_not_json_is_a_parse_error() {
    let (_app, address) = listening().await;
    for body in ["", "{", "not json", "\u{0}", "{\"jsonrpc\":"] {
        let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON], body.as_bytes()).await.unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32700)), "{body:?}");
    }
    let large = vec![b' '; 65_537];
    assert_eq!(exchange(address, "POST", "/mcp", &[ACCEPT, JSON], &large).await.unwrap().status, 413);
}

#[tokio::test]
async fn a_presented_key_that_is_not_valid_is_challenged_to_the_metadata_of_mcp() {
    let (_app, address) = listening().await;
    for value in ["Bearer cs_live_nothing", "Bearer x", "ApiKey x"] {
        let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON, ("authorization", value)], &hello()).await.unwrap();
        let challenge = answer.header("www-authenticate");
        assert_eq!(answer.status, 401, "{value}");
        assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert!(
            challenge.contains(&format!("resource_metadata=\"http://{address}/.well-known/oauth-protected-resource/mcp\"")),
            "{challenge}"
        );
    }
    let two = [ACCEPT, JSON, ("authorization", "Bearer x"), ("x-api-key", "y")];
    assert_eq!(exchange(address, "POST", "/mcp", &two, &hello()).await.unwrap().status, 400);
}

#[tokio::test]
async fn an_empty_bearer_and_a_placeholder_are_no_key() {
    let (_app, address) = listening().await;
    for value in
        ["Bearer ", "Bearer", "Bearer ${COUNTERSIGN_API_KEY}", "Bearer ${COUNTERSIGN_API_KEY:-}", "Bearer ${env:COUNTERSIGN_API_KEY}"]
    {
        let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON, ("authorization", value)], &hello()).await.unwrap();
        assert_eq!(answer.status, 200, "{value}: {}", answer.text());
        for second in [("authorization", "Bearer x"), ("x-api-key", "x")] {
            // Then there is one, and it is wrong.
            let two = [ACCEPT, JSON, ("authorization", value), second];
            assert_eq!(exchange(address, "POST", "/mcp", &two, &hello()).await.unwrap().status, 401, "{value} and {second:?}");
        }
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_its_own_open_session() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let mut mcp = Mcp::open(address, "2025-11-25", Some(key.key.expose())).await;
    mcp.done("check_scope", json!({"scopes": []})).await;
    app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    let (answer, _) = mcp.exchange_any("tools/call", json!({"name": "check_scope", "arguments": {"scopes": []}})).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn methods_that_are_not_declared_do_not_exist() {
    let (_app, address) = listening().await;
    for version in ["2025-06-18", "2025-11-25"] {
        let mut mcp = Mcp::open(address, version, None).await;
        let complete = json!({"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "x", "value": "y"}});
        for (method, params) in [
            ("prompts/list", json!({})),
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            ("completion/complete", complete),
            ("prompts/get", json!({"name": "x"})),
            ("resources/read", json!({"uri": "x:y"})),
            ("nonsense/call", json!({})),
        ] {
            let reply = mcp.request(method, params).await;
            assert_eq!(reply["error"]["code"], -32601, "{version} {method}: {reply}");
        }
    }
}

#[tokio::test]
async fn the_list_of_tools_is_the_contract() {
    let (_app, address) = listening().await;
    let mut mcp = Mcp::open(address, "2025-11-25", None).await;
    let listed = mcp.request("tools/list", json!({})).await["result"]["tools"].clone();
    let kept = |name: &str| -> Value {
        let file = format!("{}/tools/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    };
    for tool in listed.as_array().unwrap() {
        assert_eq!(*tool, kept(tool["name"].as_str().unwrap()));
    }
    assert_eq!(listed.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_stateless_call_of_2026_07_28_needs_no_session() {
    let (app, address) = listening().await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let call = |name: &'static str, arguments: Value| {
        let body =
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": arguments, "_meta": meta}});
        async move {
            let headers = [ACCEPT, JSON, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", name)];
            let answer = exchange(address, "POST", "/mcp", &headers, body.to_string().as_bytes()).await.unwrap();
            assert!(!answer.headers.contains_key("mcp-session-id"));
            let text = answer.text();
            let mut messages = text
                .lines()
                .map(|line| line.strip_prefix("data:").unwrap_or(line))
                .filter_map(|line| serde_json::from_str::<Value>(line.trim()).ok());
            messages.find(|message| message["id"] == 7).unwrap_or_else(|| panic!("{} {text}", answer.status))
        }
    };
    let asked = call("register_agent", json!({"agent_name": "Claude"})).await["result"]["structuredContent"].clone();
    approve(&app, &asked).await;
    let polled = call("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await;
    assert_eq!(polled["result"]["structuredContent"]["status"], "approved", "{polled}");
}

#[tokio::test]
async fn a63_two_hosts_are_none() {
    let (_app, address) = listening().await;
    let ours = address.to_string();
    for hosts in [[("host", ours.as_str()), ("host", "evil.example")], [("host", "evil.example"), ("host", ours.as_str())]] {
        let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON, hosts[0], hosts[1]], &hello()).await.unwrap();
        assert!(matches!(answer.status, 400 | 403), "{}", answer.status);
    }
}

#[tokio::test]
async fn a59_a_key_in_the_address_of_mcp_is_refused() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await.key.expose().to_owned();
    for name in ["access_token", "api_key", "key"] {
        let answer = exchange(address, "POST", &format!("/mcp?{name}={key}"), &[ACCEPT, JSON], &hello()).await.unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32600)), "{name}");
        assert!(!answer.text().contains(&key));
    }
}

#[tokio::test]
async fn json_that_is_no_request_is_an_invalid_request() {
    let (_app, address) = listening().await;
    for body in [
        "[]",
        "5",
        "null",
        "\"x\"",
        "{}",
        "{\"jsonrpc\":\"2.0\"}",
        "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"tools/list\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"tools/list\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":[\"check_scope\"]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{\"cursor\":1e999}}",
    ] {
        let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON], body.as_bytes()).await.unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32600)), "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_a_json_rpc_error() {
    let (_app, address) = listening().await;
    let mut mcp = Mcp::open(address, "2025-11-25", None).await;
    for (method, params) in [
        ("tools/call", json!({})),
        ("tools/call", json!({"name": 5})),
        ("tools/call", json!({"name": "nonsense"})),
        ("tools/call", json!({"name": "list_keys", "arguments": 5})),
    ] {
        let (answer, body) = mcp.exchange_any(method, params.clone()).await;
        let text = answer.text();
        assert!(
            answer.status < 500 && (body["error"]["code"].is_i64() || text.contains("\"code\":-326")),
            "{params}: {} {text}",
            answer.status
        );
    }
    let bare = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}).to_string();
    let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON], bare.as_bytes()).await.unwrap();
    assert!(answer.status < 500 && answer.text().contains("\"code\":-32"), "{} {}", answer.status, answer.text());
}

#[tokio::test]
async fn whatever_mcp_refuses_it_refuses_in_json_rpc() {
    let (_app, address) = listening().await;
    let refusals = [
        exchange(address, "GET", "/mcp", &[("accept", "text/event-stream")], b"").await.unwrap(),
        exchange(address, "DELETE", "/mcp", &[], b"").await.unwrap(),
        exchange(address, "PUT", "/mcp", &[ACCEPT, JSON], &hello()).await.unwrap(),
        exchange(address, "POST", "/mcp", &[JSON, ("accept", "text/html")], &hello()).await.unwrap(),
        exchange(address, "POST", "/mcp", &[ACCEPT], &hello()).await.unwrap(),
        exchange(address, "POST", "/mcp", &[ACCEPT, JSON, ("mcp-session-id", "nonsense")], &hello()).await.unwrap(),
    ];
    for refused in refusals {
        assert!((400..500).contains(&refused.status), "{}", refused.status);
        assert!(refused.json()["error"]["code"].is_i64() && refused.json()["jsonrpc"] == "2.0", "{} {}", refused.status, refused.text());
    }
}

#[tokio::test]
async fn every_answer_of_mcp_names_its_request() {
    let (_app, address) = listening().await;
    let answer = exchange(address, "POST", "/mcp", &[ACCEPT, JSON], &hello()).await.unwrap();
    assert!(!answer.header("x-request-id").is_empty());
}
