//! `--server URL`: a server on another computer, reached as any agent reaches it.

use crate::support::process::*;
use serde_json::{Value, json};
use std::{fs, process::Stdio, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Mutex,
};

pub(crate) async fn client_of(home: &Home, url: &str, settings: &[(&str, &str)]) -> Client {
    Client::of(home.program(&["mcp", "--server", url]).stderr(Stdio::null()).envs(settings.iter().copied())).await
}

#[tokio::test]
async fn all_five_tools_work_against_a_server_elsewhere() {
    let (there, here) = (Home::new(), Home::new());
    there.account();
    let server = there.serve().await;
    let url = format!("http://{}", server.address);
    let mut client = client_of(&here, &url, &[]).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read", "keys:read"]})).await;
    assert_eq!(text(&asked, "verification_uri"), format!("{url}/claim"));
    let claim = json!({"claim_id": asked["claim_id"], "wait_seconds": 0});
    assert_eq!(client.tool("poll_claim", claim).await["status"], "pending");
    let mut browser = server.signed_in().await;
    let waiting = client.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 30}));
    let code = text(&asked, "user_code");
    let (delivered, _) = tokio::join!(waiting, browser.approve(&code));
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    assert_eq!(client.tool("check_scope", json!({"scopes": ["audience:read", "email:send"]})).await["missing"], json!(["email:send"]));
    assert_eq!(client.tool("list_keys", json!({})).await["keys"][0]["id"], delivered["key"]["id"]);
    let stored: Value = serde_json::from_slice(&fs::read(text(&delivered, "stored_at")).unwrap()).unwrap();
    assert_eq!(stored["origin"], url);

    let key = text(&stored, "key");
    let list = here.program(&["keys", "list", "--json", "--server", &url]).env("COUNTERSIGN_API_KEY", &key).output().await.unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["keys"][0]["id"], delivered["key"]["id"]);
    assert_eq!(client.tool("revoke_key", json!({"key_id": delivered["key"]["id"]})).await["status"], "revoked");
    assert!(!here.data().join("store").exists(), "nothing was served here");
    let (code, seen) = client.done().await;
    assert!(code == Some(0) && !seen.contains(&key[10..]) && !seen.contains("clm_"));
}

#[tokio::test]
async fn key_commands_work_on_a_server_elsewhere_with_a_key() {
    let (there, here) = (Home::new(), Home::new());
    there.account();
    let server = there.serve().await;
    let url = format!("http://{}", server.address);
    let scopes = "keys:read,keys:write,keys:revoke";
    let mine = there.run(&["keys", "create", "--account", ME, "--name", "mine", "--scope", scopes], "").ok();
    let run = |arguments: &[&str]| {
        let output = here.program(&[arguments, &["--server", &url]].concat()).env("COUNTERSIGN_API_KEY", mine.trim()).output();
        async { Done(output.await.unwrap()) }
    };
    let made: Value =
        serde_json::from_str(&run(&["keys", "create", "--name", "child", "--scope", "keys:read", "--json"]).await.ok()).unwrap();
    assert!(text(&made, "key").starts_with("cs_live_"));
    assert!(run(&["keys", "list"]).await.ok().contains("child"));
    run(&["keys", "revoke", &text(&made, "id"), "--yes"]).await.ok();
    run(&["accounts", "list"]).await.ended(2).says("--server");
    here.run(&["keys", "list", "--server", &url], "").ended(4).says("COUNTERSIGN_API_KEY");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_not_safe_is_said() {
    let home = Home::new();
    home.run(&["keys", "list", "--server", "http://example.com"], "").ended(2).says("https");
    home.run(&["mcp", "--server", "https://example.com/path"], "").ended(2).says("server");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let done = home.program(&["keys", "list", "--server", &url]).env("COUNTERSIGN_API_KEY", "cs_live_x").output().await.unwrap();
    Done(done).ended(1).says("can't be reached").says(&url);
    let mut client = client_of(&home, &url, &[]).await;
    let answer = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    assert_eq!(answer["error"], "unavailable", "{answer}");
}

/// A listener that answers everything with `answer` and keeps what it was sent.
pub(crate) async fn listening(answer: String) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 64 << 10];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            kept.lock().await.extend_from_slice(&buffer[..read]);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, seen)
}

#[tokio::test]
async fn a82_a_redirect_takes_no_credential_along() {
    let (evil, seen) = listening("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_owned()).await;
    let moved = format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {evil}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let (url, _) = listening(moved).await;
    let home = Home::new();
    let mut client = client_of(&home, &url, &[("COUNTERSIGN_API_KEY", "cs_live_mine")]).await;
    assert_eq!(client.tool("check_scope", json!({})).await["error"], "unavailable");
    assert_eq!(client.tool("register_agent", json!({"agent_name": "Claude"})).await["error"], "unavailable");
    assert!(seen.lock().await.is_empty(), "nothing went there");
}

#[tokio::test]
async fn a82_a_key_of_one_server_is_never_sent_to_another() {
    let (there, here) = (Home::new(), Home::new());
    there.account();
    let server = there.serve().await;
    let mut client = client_of(&here, &format!("http://{}", server.address), &[]).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read"]})).await;
    let open = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read", "keys:read"]})).await;
    server.signed_in().await.approve(&text(&asked, "user_code")).await;
    assert_eq!(client.tool("poll_claim", json!({"claim_id": asked["claim_id"]})).await["status"], "delivered");
    assert!(client.tool("check_scope", json!({})).await["key"]["id"].is_string());

    let (other, seen) = listening("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_owned()).await;
    let mut client = client_of(&here, &other, &[]).await;
    client.tool("check_scope", json!({})).await;
    client.tool("list_keys", json!({})).await;
    let foreign = client.tool("poll_claim", json!({"claim_id": open["claim_id"], "wait_seconds": 0})).await;
    assert_eq!(foreign["error"], "unknown_claim", "a claim is known only to the client of its own server");
    let seen = String::from_utf8_lossy(&seen.lock().await).to_ascii_lowercase();
    assert!(!seen.contains("authorization") && !seen.contains("cs_live_") && !seen.contains("clm_"), "{seen}");
}

#[tokio::test]
async fn a82_a_planted_socket_gets_no_byte() {
    let home = Home::new();
    home.account();
    let path = home.data().join("owner.sock");
    let planted = tokio::net::UnixListener::bind(&path).unwrap();
    // Somebody else's: only root can give a file away, so elsewhere a file takes its place.
    let announced = json!({"pid": 1, "role": "mcp", "url": "http://127.0.0.1:1", "socket": path});
    fs::write(home.data().join("owner.lock"), announced.to_string()).unwrap();
    let foreign = std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).is_ok();
    if !foreign {
        fs::remove_file(&path).unwrap();
        fs::write(&path, "not a socket").unwrap();
    }
    let client = countersign::instance::control::client::SocketClient::of(&home.data()).unwrap();
    let call = countersign::instance::control::request::ControlRequest::CheckScope {
        credential: countersign::api::values::Revealed::new("cs_live_mine"),
        scopes: Vec::new(),
        environment: None,
    };
    assert_eq!(client.ask(&call).await.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    // Nobody even knocked.
    let knocked = futures::FutureExt::now_or_never(planted.accept());
    assert!(knocked.is_none());
}
