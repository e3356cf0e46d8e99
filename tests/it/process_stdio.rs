//! The real program as MCP over stdio, with the files it keeps.

use crate::support::process::*;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink, path::Path};
use tempfile::TempDir;

#[test]
fn a70_with_an_empty_stdin_mcp_ends_with_0_and_prints_nothing() {
    let done = Home::new().run(&["mcp"], "");
    assert_eq!(done.ok(), "");
}

#[tokio::test]
async fn a70_over_stdio_the_key_lands_in_a_private_file_and_in_no_byte_of_the_answers() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read", "keys:read"]})).await;
    let claim = json!({"claim_id": asked["claim_id"], "wait_seconds": 0});
    assert_eq!(client.tool("poll_claim", claim.clone()).await["status"], "pending");
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    let delivered = client.tool("poll_claim", claim.clone()).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    let file = text(&delivered, "stored_at");
    let stored: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let key = text(&stored, "key");
    assert_eq!((mode(&file), mode(Path::new(&file).parent().unwrap())), (0o600, 0o700));
    assert_eq!(client.tool("poll_claim", claim).await["status"], "delivered");
    assert_eq!(client.tool("check_scope", json!({"scopes": ["audience:read"]})).await["allowed"], true);
    assert_eq!(client.tool("list_keys", json!({})).await["keys"][0]["id"], delivered["key"]["id"]);
    let projects = home.run(&["curl", "-sS", "/v1/projects"], "").ok();
    assert_eq!(serde_json::from_str::<Value>(&projects).unwrap(), json!({"success": true, "data": {"projects": [], "total": 0}}));
    assert_eq!(client.tool("revoke_key", json!({"key_id": delivered["key"]["id"]})).await["status"], "revoked");
    assert!(!Path::new(&file).exists(), "a revoked key's file goes");
    let (code, seen) = client.done().await;
    assert_eq!(code, Some(0));
    assert!(!seen.contains(&key) && !seen.contains(&key[8..]) && !seen.contains("clm_"), "a secret was sent");
}

#[tokio::test]
async fn a_stored_key_that_was_revoked_elsewhere_is_forgotten_and_said() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    let delivered = client.tool("poll_claim", claim).await;
    let (file, key) = (text(&delivered, "stored_at"), text(&delivered["key"], "id"));
    home.run(&["keys", "revoke", &key, "--yes"], "").ok();
    for command in [&["curl", "-sS", "/v1/projects"][..], &["exec", "--env", "KEY", "--", "true"]] {
        home.run(command, "").ended(4);
    }
    assert!(!Path::new(&file).exists());
}

#[tokio::test]
async fn a70_a_folder_that_is_a_link_takes_no_key_and_loses_none() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read"]})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    let elsewhere = TempDir::new().unwrap();
    symlink(elsewhere.path(), home.data().join("credentials")).unwrap();
    let claim = json!({"claim_id": asked["claim_id"], "wait_seconds": 0});
    let refused = client.tool("poll_claim", claim.clone()).await;
    assert_eq!(refused["error"], "conflict", "{refused}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(home.data().join("credentials")).unwrap();
    assert_eq!(client.tool("poll_claim", claim).await["status"], "delivered");
}

#[tokio::test]
async fn a_restarted_client_still_knows_its_claim() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    client.child.kill().await.unwrap();
    let mut client = Client::start(&home).await;
    let delivered = client.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    for file in fs::read_dir(home.data().join("claims")).unwrap() {
        assert_eq!(mode(file.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn two_clients_and_a_server_share_one_directory() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let (mut one, mut two) = (Client::start(&home).await, Client::start(&home).await);
    let asked = one.tool("register_agent", json!({"agent_name": "Claude"})).await;
    assert_eq!(text(&asked, "verification_uri"), format!("http://{}/claim", server.address));
    server.signed_in().await.approve(&text(&asked, "user_code")).await;
    assert_eq!(one.tool("poll_claim", json!({"claim_id": asked["claim_id"]})).await["status"], "delivered");
    assert_eq!(two.tool("list_keys", json!({})).await["keys"].as_array().unwrap().len(), 1, "the same client program, the same key");
    assert_eq!((one.done().await.0, two.done().await.0), (Some(0), Some(0)));
}
