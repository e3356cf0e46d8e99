//! The whole flow with every byte, log line and file kept: no key, claim token, verifier, session or pickup token where it
//! does not belong.

use crate::{
    delivery::{with, working},
    support::process::*,
    support::*,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Every byte of every file below a folder, with its name.
fn files(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// Fails if a secret was said, logged, or lies in a file other than below `places`, where it must be private.
fn nowhere(home: &Home, said: &str, secrets: &[(&str, &String)], places: &[PathBuf]) {
    let log = fs::read(home.0.path().join("log")).unwrap();
    assert!(holds(&log, "TRACE") || holds(&log, "DEBUG"), "the log says everything");
    let mut found = Vec::new();
    files(home.0.path(), &mut found);
    for (name, secret) in secrets {
        // By its end: a head may be shown.
        let part = &secret[secret.len() / 3..];
        assert!(!holds(said.as_bytes(), part), "the {name} is in an answer");
        assert!(!holds(&log, part), "the {name} is in the log");
        for (path, _) in found.iter().filter(|(_, bytes)| holds(bytes, part)) {
            assert!(places.iter().any(|place| path.starts_with(place)), "the {name} is in {}", path.display());
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a65_a74_over_stdio_no_secret_is_where_it_does_not_belong_whatever_is_logged() {
    let home = Home::new();
    home.account();
    let (mut client, folder) = working(&home, &[]).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read", "keys:read"]})).await;
    let mut claims = fs::read_dir(home.data().join("claims")).unwrap().map(|entry| entry.unwrap().path());
    let claims = claims.find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
    let open: Value = serde_json::from_slice(&fs::read(&claims).unwrap()).unwrap();
    let (token, verifier) = (text(&open[0], "claim_token"), text(&open[0], "code_verifier"));
    let claim = json!({"claim_id": asked["claim_id"], "wait_seconds": 1});
    client.tool("poll_claim", claim.clone()).await;
    client.tool("poll_claim", with(&claim, json!({"delivery": "pickup"}))).await;
    let mut browser = page_of(&asked).await;
    browser.approve(&text(&asked, "user_code")).await;
    let session = browser.jar.values().max_by_key(|value| value.len()).unwrap().clone();
    let delivered = client.tool("poll_claim", claim).await;
    let stored: Value = serde_json::from_slice(&fs::read(text(&delivered, "stored_at")).unwrap()).unwrap();
    let key = text(&stored, "key");
    client.tool("check_scope", json!({"scopes": ["email:send"]})).await;
    client.tool("list_keys", json!({})).await;
    client.tool("list_keys", json!({"cursor": key})).await;
    // Root's to read alone.
    let environment = fs::read(format!("/proc/{}/environ", client.child.id().unwrap())).unwrap_or_default();
    let arguments = fs::read(format!("/proc/{}/cmdline", client.child.id().unwrap())).unwrap();
    // A second client, by the key in its environment, over the first one's socket.
    let (mut other, _) = working(&home, &[("COUNTERSIGN_API_KEY", &key)]).await;
    assert!(other.tool("check_scope", json!({})).await["key"]["id"].is_string());
    other.tool("revoke_key", json!({"key_id": delivered["key"]["id"]})).await;
    assert_eq!(other.tool("check_scope", json!({})).await["error"], "invalid_key");
    let said = [client.done().await.1, other.done().await.1].concat();

    let places = [home.data().join("claims"), home.data().join("credentials")];
    let secrets = [("key", &key), ("claim token", &token), ("verifier", &verifier), ("session", &session)];
    for (name, secret) in secrets {
        assert!(!holds(&environment, secret) && !holds(&arguments, secret), "the {name} is in the process's arguments or environment");
    }
    nowhere(&home, &said, &secrets, &places);
    assert!(fs::read_dir(folder).unwrap().next().is_none(), "nothing was left where the client works");
}

/// A client of `/mcp`, and every byte it received, headers too.
struct Caller {
    address: std::net::SocketAddr,
    headers: Vec<(String, String)>,
    seen: String,
}

impl Caller {
    async fn request(&mut self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut headers = vec![("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let answer = exchange(self.address, "POST", "/mcp", &headers, body.as_bytes()).await.unwrap();
        self.seen.push_str(&format!("{:?}\n{}\n", answer.headers, answer.text()));
        if method == "initialize" {
            self.headers.push(("mcp-session-id".to_owned(), answer.header("mcp-session-id").to_owned()));
            self.headers.push(("mcp-protocol-version".to_owned(), "2025-11-25".to_owned()));
        }
        let text = answer.text();
        let messages = text.lines().map(|line| line.strip_prefix("data:").unwrap_or(line));
        messages.filter_map(|line| serde_json::from_str::<Value>(line.trim()).ok()).find(|message| message["id"] == 1).unwrap_or_default()
    }

    async fn open(address: std::net::SocketAddr, key: Option<&str>) -> Self {
        let headers = key.map(|key| ("authorization".to_owned(), format!("Bearer {key}"))).into_iter().collect();
        let mut caller = Self { address, headers, seen: String::new() };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}});
        caller.request("initialize", hello).await;
        let body = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let mut headers = vec![("accept", "application/json, text/event-stream"), ("content-type", "application/json")];
        headers.extend(caller.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        exchange(address, "POST", "/mcp", &headers, body.as_bytes()).await.unwrap();
        caller
    }

    async fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let token = json!({"progressToken": "p"});
        let reply = self.request("tools/call", json!({"name": name, "arguments": arguments, "_meta": token})).await;
        reply["result"]["structuredContent"].clone()
    }
}

#[tokio::test]
async fn a65_a74_a86_over_http_no_secret_is_where_it_does_not_belong_whatever_is_logged() {
    let home = Home::new();
    home.account();
    let log = fs::File::create(home.0.path().join("log")).unwrap();
    let mut program = home.program(&["serve"]);
    let mut server = program.env("COUNTERSIGN_LOG", "trace").stderr(log).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address: std::net::SocketAddr = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(rest) = line.strip_prefix("Agents   http://") {
            break rest.strip_suffix("/auth.md").unwrap().parse().unwrap();
        }
    };
    let mut caller = Caller::open(address, None).await;
    let asked = caller.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read", "keys:read"]})).await;
    caller.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 1})).await;
    caller.tool("poll_claim", json!({"claim_id": asked["claim_id"], "delivery": "store", "wait_seconds": 0})).await;
    let mut browser = Browser::over(address);
    browser.open("/login").await;
    browser.submit("/login", &[("email", ME), ("password", PASSWORD)]).await;
    let session = browser.cookie(&format!("cs_{}", address.port())).unwrap();
    browser.approve(&text(&asked, "user_code")).await;
    let approved = caller.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await;
    let command = text(&approved["pickup"], "command");
    let pickup = command.split("\"pickup_token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(caller.seen.matches(&pickup).count(), 2, "as text and as structure of its one result");
    let before = caller.seen.replace(&pickup, "");
    caller.seen.clear();
    let mut fetched = tokio::process::Command::new("sh");
    fetched.args(["-c", &command]).env("XDG_CONFIG_HOME", home.0.path().join("config"));
    let fetched = fetched.stdin(Stdio::null()).output().await.unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let delivered = caller.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    let folder = home.0.path().join("config/countersign");
    let header = fs::read_to_string(fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path()).unwrap();
    let key = header.trim().strip_prefix("Authorization: Bearer ").unwrap().to_owned();
    let mut known = Caller::open(address, Some(&key)).await;
    assert_eq!(known.tool("check_scope", json!({"scopes": ["audience:read"]})).await["allowed"], true);
    known.tool("list_keys", json!({})).await;
    known.tool("list_keys", json!({"cursor": key})).await;
    known.tool("revoke_key", json!({"key_id": delivered["key"]["id"]})).await;
    known.tool("check_scope", json!({})).await;
    // The thief comes second: it gets nothing, and what it sent is worth nothing.
    let again =
        tokio::process::Command::new("sh").args(["-c", &command]).env("XDG_CONFIG_HOME", home.0.path().join("thief")).output().await;
    assert!(!again.unwrap().status.success());
    server.kill().await.unwrap();
    let printed = [fetched.stdout, fetched.stderr].concat();
    let said = [before, caller.seen, known.seen, String::from_utf8_lossy(&printed).into_owned()].concat();
    assert!(!said.contains("clm_"), "a claim token was sent");
    nowhere(&home, &said, &[("key", &key), ("session", &session), ("pickup token", &pickup)], &[folder]);
}
