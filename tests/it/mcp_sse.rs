//! `/sse` and `/messages`, the transport of 2024-11-05, over the wire; and what ends a stream or a wait.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const JSON: (&str, &str) = ("content-type", "application/json");
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

/// A response that goes on: its status, and events as they come.
struct Stream {
    reader: BufReader<TcpStream>,
    status: u16,
    head: String,
}

impl Stream {
    async fn open(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut stream = Self { reader: BufReader::new(stream), status: 0, head: String::new() };
        while let Some(line) = stream.line().await.filter(|line| !line.is_empty()) {
            stream.head.push_str(&line.to_ascii_lowercase());
            stream.head.push('\n');
        }
        stream.status = stream.head.split(' ').nth(1).unwrap().parse().unwrap();
        stream
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).await.unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The data of the next event that has any; `None` at the end of the stream.
    async fn event(&mut self) -> Option<String> {
        loop {
            // Chunk lengths, comments and names of events are in between.
            match self.line().await?.strip_prefix("data:").map(|data| data.trim().to_owned()) {
                Some(data) if !data.is_empty() => return Some(data),
                _ => {}
            }
        }
    }

    async fn message(&mut self) -> Value {
        serde_json::from_str(&self.event().await.expect("the stream goes on")).unwrap()
    }
}

/// A client of HTTP+SSE.
struct Sse {
    address: SocketAddr,
    stream: Stream,
    messages: String,
    key: Option<String>,
    id: u64,
}

fn bearer(key: Option<&str>) -> Vec<(&'static str, String)> {
    key.map(|key| ("authorization", format!("Bearer {key}"))).into_iter().collect()
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

impl Sse {
    async fn connect(address: SocketAddr, key: Option<&str>) -> Self {
        let mut stream = Stream::open(address, "GET", "/sse", &borrowed(&bearer(key)), b"").await;
        assert_eq!(stream.status, 200, "{}", stream.head);
        let messages = stream.event().await.unwrap();
        assert!(messages.starts_with("/messages?sessionId="), "{messages}");
        Self { address, stream, messages, key: key.map(str::to_owned), id: 0 }
    }

    /// Connects and shakes hands in a version; returns the one that was agreed on.
    async fn open_with(address: SocketAddr, key: Option<&str>, version: &str, capabilities: Value) -> (Self, String) {
        let mut sse = Self::connect(address, key).await;
        let hello = json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "a test", "version": "1"}});
        let agreed = sse.request("initialize", hello).await["result"]["protocolVersion"].as_str().unwrap().to_owned();
        sse.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        (sse, agreed)
    }

    async fn open(address: SocketAddr, key: Option<&str>) -> Self {
        Self::open_with(address, key, "2024-11-05", json!({})).await.0
    }

    async fn post_as(&self, key: Option<&str>, body: &Value) -> Answer {
        let auth = bearer(key);
        let headers = [borrowed(&auth), vec![JSON]].concat();
        exchange(self.address, "POST", &self.messages, &headers, body.to_string().as_bytes()).await.unwrap()
    }

    async fn post(&self, body: &Value) -> Answer {
        self.post_as(self.key.as_deref(), body).await
    }

    async fn send(&self, body: &Value) {
        assert_eq!(self.post(body).await.status, 202);
    }

    async fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params})).await;
        self.id
    }

    async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        loop {
            let message = self.stream.message().await;
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
        }
    }

    async fn tool(&mut self, name: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": name, "arguments": arguments})).await["result"].clone()
    }

    async fn done(&mut self, name: &str, arguments: Value) -> Value {
        let result = self.tool(name, arguments).await;
        assert_ne!(result["isError"], true, "{name}: {result}");
        result["structuredContent"].clone()
    }
}

const PING: &str = r#"{"jsonrpc":"2.0","id":99,"method":"ping"}"#;

fn ping() -> Value {
    serde_json::from_str(PING).unwrap()
}

async fn until(what: impl Fn() -> bool) {
    eventually("as many wait", async || what().then_some(())).await;
}

#[tokio::test]
async fn the_whole_ceremony_goes_over_http_sse() {
    let (app, address) = listening().await;
    let mut sse = Sse::open(address, None).await;
    let tools = sse.request("tools/list", json!({})).await["result"]["tools"].as_array().unwrap().len();
    assert_eq!(tools, 5);
    let asked = sse.done("register_agent", json!({"agent_name": "Claude"})).await;
    assert_eq!(sse.done("register_agent", json!({"agent_name": "Claude"})).await, asked, "an identical call is the same");
    approve(&app, &asked).await;
    let polled = sse.done("poll_claim", json!({"claim_id": asked["claim_id"]})).await;
    assert_eq!(polled["status"], "approved");
    let refused = sse.tool("list_keys", json!({})).await;
    assert!(refused["isError"] == true && refused.to_string().contains("register_agent"), "{refused}");
}

#[tokio::test]
async fn http_sse_speaks_up_to_2025_11_25() {
    let (_app, address) = listening().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        assert_eq!(Sse::open_with(address, None, version, json!({})).await.1, version);
    }
    assert_eq!(Sse::open_with(address, None, "2026-07-28", json!({})).await.1, "2025-11-25");
}

#[tokio::test]
async fn methods_that_are_not_declared_do_not_exist_over_http_sse() {
    let (_app, address) = listening().await;
    let mut sse = Sse::open(address, None).await;
    for method in ["prompts/list", "resources/list", "resources/templates/list", "prompts/get", "nonsense/call"] {
        assert_eq!(sse.request(method, json!({"name": "x"})).await["error"]["code"], -32601, "{method}");
    }
}

#[tokio::test]
async fn a_session_of_http_sse_is_for_who_opened_it_and_nobody_learns_that_it_is_there() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let (mine, other) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let (mine, other) = (mine.key.expose(), other.key.expose());
    let (keyed, anonymous) = (Sse::open(address, Some(mine)).await, Sse::open(address, None).await);
    let unknown = Sse { messages: format!("/messages?sessionId={}", "A".repeat(43)), ..Sse::connect(address, None).await };
    let refusal = unknown.post_as(None, &ping()).await;
    for (session, key) in [(&keyed, Some(other)), (&keyed, None), (&anonymous, Some(mine))] {
        let answer = session.post_as(key, &ping()).await;
        assert_eq!((answer.status, answer.text()), (404, refusal.text()));
    }
    keyed.send(&ping()).await;
    anonymous.send(&ping()).await;
}

#[tokio::test]
async fn ids_of_http_sse_have_256_bits_and_are_kept_nowhere() {
    let (_app, address) = listening().await;
    let (one, two) = (Sse::connect(address, None).await, Sse::connect(address, None).await);
    let id = |sse: &Sse| sse.messages.rsplit('=').next().unwrap().to_owned();
    assert_eq!((id(&one).len(), id(&two).len()), (43, 43));
    assert_ne!(id(&one), id(&two));
    assert!(one.stream.head.contains("cache-control: no-store"), "{}", one.stream.head);
}

#[tokio::test]
async fn a_stream_that_is_dropped_ends_its_session_and_its_wait() {
    let (app, address) = listening().await;
    let mut sse = Sse::open(address, None).await;
    let asked = sse.done("register_agent", json!({"agent_name": "Claude"})).await;
    sse.ask("tools/call", json!({"name": "poll_claim", "arguments": {"claim_id": asked["claim_id"], "wait_seconds": 55}})).await;
    until(|| app.service.claims.waiting() == 1).await;
    let Sse { stream, messages, .. } = sse;
    drop(stream);
    until(|| app.service.claims.waiting() == 0).await;
    let answer = exchange(address, "POST", &messages, &[JSON], PING.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_revoked_key_ends_its_streams_and_waits_at_once() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let (key, other) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let mut sse = Sse::open(address, Some(key.key.expose())).await;
    let mut spared = Sse::open(address, Some(other.key.expose())).await;
    let (mut stream, _) = get_stream(address, key.key.expose()).await;
    let asked = sse.done("register_agent", json!({"agent_name": "Claude"})).await;
    sse.ask("tools/call", json!({"name": "poll_claim", "arguments": {"claim_id": asked["claim_id"], "wait_seconds": 55}})).await;
    until(|| app.service.claims.waiting() == 1).await;
    app.service.keys.revoke_key(&human.actor(), key.view.id, None, human.source).await.unwrap();
    while stream.event().await.is_some() {}
    while sse.stream.event().await.is_some() {}
    until(|| app.service.claims.waiting() == 0).await;
    assert_eq!(sse.post(&ping()).await.status, 401);
    spared.done("check_scope", json!({})).await;
}

#[tokio::test]
async fn a_key_that_revokes_itself_is_told_so_before_its_stream_ends() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let mut sse = Sse::open(address, Some(key.key.expose())).await;
    assert_eq!(sse.done("revoke_key", json!({"key_id": key.view.id})).await["status"], "revoked");
    assert_eq!(sse.stream.event().await, None);
}

/// A session of Streamable HTTP, and its stream of the server's own.
async fn get_stream(address: SocketAddr, key: &str) -> (Stream, String) {
    let auth = format!("Bearer {key}");
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}}});
    let headers = [ACCEPT, JSON, ("authorization", auth.as_str())];
    let opened = exchange(address, "POST", "/mcp", &headers, hello.to_string().as_bytes()).await.unwrap();
    let session = opened.header("mcp-session-id").to_owned();
    let headers = [("accept", "text/event-stream"), ("authorization", auth.as_str()), ("mcp-session-id", session.as_str())];
    let stream = Stream::open(address, "GET", "/mcp", &headers, b"").await;
    assert_eq!(stream.status, 200, "{}", stream.head);
    (stream, session)
}

#[tokio::test]
async fn a_wait_ends_when_nobody_reads_its_answer_any_more() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let auth = format!("Bearer {}", key.key.expose());
    let (_stream, session) = get_stream(address, key.key.expose()).await;
    let asked = json!({"name": "register_agent", "arguments": {"agent_name": "Claude"}});
    let in_session = [ACCEPT, JSON, ("authorization", auth.as_str()), ("mcp-session-id", session.as_str())];
    let body = |params: &Value| json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}).to_string();
    let mut registered = Stream::open(address, "POST", "/mcp", &in_session, body(&asked).as_bytes()).await;
    let claim = registered.message().await["result"]["structuredContent"]["claim_id"].clone();
    let mut poll = json!({"name": "poll_claim", "arguments": {"claim_id": claim, "wait_seconds": 55}});
    let waiting = Stream::open(address, "POST", "/mcp", &in_session, body(&poll).as_bytes()).await;
    until(|| app.service.claims.waiting() == 1).await;
    drop(waiting);
    until(|| app.service.claims.waiting() == 0).await;
    poll["_meta"] = stateless_meta(json!({}));
    let headers = [ACCEPT, JSON, ("authorization", auth.as_str()), ("mcp-protocol-version", "2026-07-28")];
    let headers = [&headers[..], &[("mcp-method", "tools/call"), ("mcp-name", "poll_claim")]].concat();
    let text = body(&poll);
    let waiting = tokio::spawn({
        let headers: Vec<(&'static str, String)> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        async move { Stream::open(address, "POST", "/mcp", &borrowed(&headers), text.as_bytes()).await.status }
    });
    until(|| app.service.claims.waiting() == 1).await;
    waiting.abort();
    until(|| app.service.claims.waiting() == 0).await;
}

fn stateless_meta(capabilities: Value) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    })
}

#[tokio::test]
async fn a_wait_that_is_cancelled_ends_and_one_with_a_token_tells_of_its_progress() {
    let (app, address) = listening().await;
    let mut sse = Sse::open(address, None).await;
    let asked = sse.done("register_agent", json!({"agent_name": "Claude"})).await;
    let poll =
        json!({"name": "poll_claim", "arguments": {"claim_id": asked["claim_id"], "wait_seconds": 55}, "_meta": {"progressToken": "p"}});
    let id = sse.ask("tools/call", poll).await;
    let told = sse.stream.message().await;
    assert_eq!((&told["method"], &told["params"]["progressToken"]), (&json!("notifications/progress"), &json!("p")));
    until(|| app.service.claims.waiting() == 1).await;
    sse.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
    until(|| app.service.claims.waiting() == 0).await;
    assert_eq!(sse.done("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await["status"], "pending");
}

#[tokio::test]
async fn a87_one_address_has_twenty_anonymous_streams_and_the_oldest_goes_first() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    let mut keyed = Sse::open(address, Some(key.key.expose())).await;
    let mut first = Sse::connect(address, None).await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(Sse::connect(address, None).await);
    }
    assert_eq!(first.stream.event().await, None, "the oldest goes");
    for other in &others {
        other.send(&ping()).await;
    }
    keyed.done("check_scope", json!({})).await;
}

#[tokio::test]
async fn a63_streams_and_messages_of_foreign_hosts_and_origins_are_forbidden() {
    let (_app, address) = listening().await;
    let sse = Sse::connect(address, None).await;
    for foreign in [("host", "evil.example"), ("origin", "https://evil.example"), ("origin", "null")] {
        let stream = exchange(address, "GET", "/sse", &[foreign], b"").await.unwrap();
        let message = exchange(address, "POST", &sse.messages, &[JSON, foreign], PING.as_bytes()).await.unwrap();
        assert_eq!((stream.status, message.status), (403, 403), "{foreign:?}");
    }
    sse.send(&ping()).await;
}

#[tokio::test]
async fn what_http_sse_refuses_it_refuses_in_json_rpc() {
    let (_app, address) = listening().await;
    let sse = Sse::connect(address, None).await;
    let path = sse.messages.as_str();
    let post = |path: &str, body: &str| {
        let (path, body) = (path.to_owned(), body.to_owned());
        async move { exchange(address, "POST", &path, &[JSON], body.as_bytes()).await.unwrap() }
    };
    for (answer, status, code) in [
        (post(path, "{").await, 400, -32700),
        (post(path, "[]").await, 400, -32600),
        (post("/messages", PING).await, 400, -32600),
        (post("/sse", PING).await, 405, -32600),
        (post(path, &" ".repeat(65_537)).await, 413, -32600),
    ] {
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{}", answer.text());
    }
    let refused = exchange(address, "GET", "/sse", &[("authorization", "Bearer cs_live_nothing")], b"").await.unwrap();
    let metadata = format!("resource_metadata=\"http://{address}/.well-known/oauth-protected-resource/mcp\"");
    assert!(refused.status == 401 && refused.header("www-authenticate").contains(&metadata), "{}", refused.status);
}

#[tokio::test]
async fn http_sse_can_be_turned_off() {
    let (_app, address) = build().set("mcp.legacy_sse", "false").listen().await;
    assert_eq!(exchange(address, "GET", "/sse", &[], b"").await.unwrap().status, 404);
    assert_eq!(exchange(address, "POST", "/messages?sessionId=x", &[JSON], PING.as_bytes()).await.unwrap().status, 404);
}

#[tokio::test]
async fn a_session_that_declared_it_is_asked_to_open_the_page() {
    let (app, address) = listening().await;
    let (mut sse, _) = Sse::open_with(address, None, "2025-11-25", json!({"elicitation": {"url": {}}})).await;
    for (action, said) in [("accept", "was shown"), ("decline", "closed the prompt"), ("cancel", "closed the prompt")] {
        let call = json!({"name": "register_agent", "arguments": {"agent_name": action}});
        let id = sse.ask("tools/call", call).await;
        let asked = sse.stream.message().await;
        assert_eq!((&asked["method"], &asked["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
        sse.send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": action}})).await;
        let answer = sse.stream.message().await;
        let registered = &answer["result"]["structuredContent"];
        assert_eq!((&answer["id"], &asked["params"]["url"]), (&json!(id), &registered["verification_uri_complete"]));
        assert!(asked["params"]["message"].as_str().unwrap().contains(registered["user_code"].as_str().unwrap()));
        assert!(registered["next"].as_str().unwrap().contains(said), "{registered}");
    }
    assert_eq!(app.service.claims.waiting(), 0);
}

#[tokio::test]
async fn a_mode_that_was_not_declared_is_never_sent() {
    let (_app, address) = listening().await;
    for declared in [json!({}), json!({"elicitation": {}}), json!({"elicitation": {"form": {}}})] {
        let (mut sse, _) = Sse::open_with(address, None, "2025-11-25", declared.clone()).await;
        sse.ask("tools/call", json!({"name": "register_agent", "arguments": {"agent_name": "Claude"}})).await;
        let first = sse.stream.message().await;
        assert!(first["result"]["structuredContent"]["user_code"].is_string(), "{declared}: {first}");
    }
}

#[tokio::test]
async fn a_client_that_can_not_show_the_page_after_all_gets_link_and_code() {
    let (_app, address) = listening().await;
    let (mut sse, _) = Sse::open_with(address, None, "2025-11-25", json!({"elicitation": {"url": {}}})).await;
    sse.ask("tools/call", json!({"name": "register_agent", "arguments": {"agent_name": "Claude"}})).await;
    let asked = sse.stream.message().await;
    let error = json!({"code": -32603, "message": "no browser"});
    sse.send(&json!({"jsonrpc": "2.0", "id": asked["id"], "error": error})).await;
    let registered = sse.stream.message().await["result"]["structuredContent"].clone();
    assert!(registered["next"].as_str().unwrap().contains(registered["user_code"].as_str().unwrap()), "{registered}");
}
