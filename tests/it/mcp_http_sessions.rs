//! Sessions of `/mcp`: whose they are, how many there may be, and how they end.

use super::mcp_http::Mcp;
use crate::support::*;
use serde_json::json;

#[tokio::test]
async fn a_session_belongs_to_the_key_that_opened_it() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let (one, two) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let check = json!({"name": "check_scope", "arguments": {"scopes": []}});
    let mine = Mcp::open(address, "2025-11-25", Some(one.key.expose())).await;
    let anonymous = Mcp::open(address, "2025-11-25", None).await;
    for (session, key) in [(&mine, Some(two.key.expose())), (&mine, None), (&anonymous, Some(one.key.expose()))] {
        let mut headers: Vec<_> = session.headers.iter().filter(|(name, _)| name != "authorization").cloned().collect();
        headers.extend(key.map(|key| ("authorization".to_owned(), format!("Bearer {key}"))));
        let mut thief = Mcp { address, headers, seen: Vec::new(), id: 100 };
        assert_eq!(thief.exchange_any("tools/call", check.clone()).await.0.status, 404);
    }
    let mut mine = mine;
    mine.done("check_scope", json!({"scopes": []})).await;
}

#[tokio::test]
async fn a87_one_address_has_twenty_anonymous_sessions_and_the_oldest_goes_first() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let mut with_key = Mcp::open(address, "2025-11-25", Some(key.key.expose())).await;
    let mut first = Mcp::open(address, "2025-11-25", None).await;
    let mut second = Mcp::open(address, "2025-11-25", None).await;
    for _ in 0..19 {
        Mcp::open(address, "2025-11-25", None).await;
    }
    assert_eq!(first.exchange_any("tools/list", json!({})).await.0.status, 404);
    assert_eq!(second.exchange("tools/list", json!({})).await.0.status, 200);
    with_key.done("check_scope", json!({"scopes": []})).await;
}

#[tokio::test]
async fn a_session_that_was_deleted_is_gone() {
    let (_app, address) = listening().await;
    let mut mcp = Mcp::open(address, "2025-11-25", None).await;
    let headers: Vec<_> = mcp.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!((200..300).contains(&exchange(address, "DELETE", "/mcp", &headers, b"").await.unwrap().status));
    assert_eq!(mcp.exchange_any("tools/list", json!({})).await.0.status, 404);
}

#[tokio::test]
async fn a_session_the_sdk_would_not_end_stays_its_keys() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let mine = Mcp::open(address, "2025-11-25", Some(key.key.expose())).await;
    let id = mine.headers.iter().find(|(name, _)| name == "mcp-session-id").unwrap().1.clone();
    let bearer = format!("Bearer {}", key.key.expose());
    let odd = [("mcp-session-id", id.as_str()), ("authorization", bearer.as_str()), ("mcp-protocol-version", "2026-07-28")];
    exchange(address, "DELETE", "/mcp", &odd, b"").await.unwrap();
    let headers = mine.headers.iter().filter(|(name, _)| name != "authorization").cloned().collect();
    let mut thief = Mcp { address, headers, seen: Vec::new(), id: 100 };
    assert_eq!(thief.exchange_any("tools/list", json!({})).await.0.status, 404);
}

#[tokio::test]
async fn one_key_does_not_crowd_out_the_sessions_of_others() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let (mine, greedy) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let mut kept = Mcp::open(address, "2025-11-25", Some(mine.key.expose())).await;
    let mut first = Mcp::open(address, "2025-11-25", Some(greedy.key.expose())).await;
    for _ in 0..20 {
        Mcp::open(address, "2025-11-25", Some(greedy.key.expose())).await;
    }
    assert_eq!(first.exchange_any("tools/list", json!({})).await.0.status, 404);
    kept.done("check_scope", json!({})).await;
}

#[tokio::test]
async fn a_key_revoked_while_it_waits_gets_no_other_key() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let mut mcp = Mcp::open(address, "2025-11-25", Some(key.key.expose())).await;
    let asked = mcp.done("register_agent", json!({"agent_name": "Claude"})).await;
    let waits = mcp.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 55}));
    let (polled, ()) = tokio::join!(waits, async {
        while app.service.claims.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
        approve(&app, &asked).await;
    });
    assert!(polled["isError"] == true && !polled.to_string().contains("pickup_token"), "{polled}");
}
