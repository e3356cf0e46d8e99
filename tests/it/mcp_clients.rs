//! What clients do that the SDK does not expect: how they ask for an answer, what they write for nothing, and what they
//! make of a model's arguments on the way.

use crate::support::*;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const BOTH: &str = "application/json, text/event-stream";

/// A client of Streamable HTTP that asks as it is told to.
struct Client {
    address: SocketAddr,
    session: Option<String>,
    version: &'static str,
    accept: Vec<&'static str>,
    capabilities: Value,
}

impl Client {
    /// Opens a session in a version that has them.
    async fn open(address: SocketAddr, version: &'static str, accept: &[&'static str], capabilities: Value) -> Self {
        let mut client = Self { address, session: None, version, accept: accept.to_vec(), capabilities };
        let answer = client.raw(&client.call("initialize", client.hello())).await;
        assert_eq!(answer.status, 200, "{accept:?} {}", answer.text());
        client.session = Some(answer.header("mcp-session-id").to_owned());
        let initialized = client.raw(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        assert_eq!(initialized.status, 202, "{accept:?}");
        client
    }

    fn stateless(address: SocketAddr, accept: &[&'static str], capabilities: Value) -> Self {
        Self { address, session: None, version: "2026-07-28", accept: accept.to_vec(), capabilities }
    }

    fn hello(&self) -> Value {
        json!({"protocolVersion": self.version, "capabilities": self.capabilities, "clientInfo": {"name": "a test", "version": "1"}})
    }

    fn call(&self, method: &str, mut params: Value) -> String {
        if self.version == "2026-07-28" {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.version,
                "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            });
        }
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
    }

    fn headers<'a>(&'a self, body: &'a Value) -> Vec<(&'a str, &'a str)> {
        let mut headers: Vec<_> = self.accept.iter().map(|accept| ("accept", *accept)).collect();
        headers.push(("content-type", "application/json"));
        headers.extend(self.session.iter().map(|id| ("mcp-session-id", id.as_str())));
        if self.session.is_some() || self.version == "2026-07-28" {
            headers.push(("mcp-protocol-version", self.version));
        }
        if self.version == "2026-07-28" {
            headers.extend(body["method"].as_str().map(|method| ("mcp-method", method)));
            headers.extend(body["params"]["name"].as_str().map(|name| ("mcp-name", name)));
        }
        headers
    }

    async fn raw(&self, body: &str) -> Answer {
        let read = serde_json::from_str(body).unwrap_or_default();
        exchange(self.address, "POST", "/mcp", &self.headers(&read), body.as_bytes()).await.unwrap()
    }

    async fn tool(&self, name: &str, arguments: Value) -> Value {
        let answer = self.raw(&self.call("tools/call", json!({"name": name, "arguments": arguments}))).await;
        let reply = reply(&answer);
        let text = reply["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{name} {arguments}: {}", answer.text()));
        serde_json::from_str(text).unwrap()
    }
}

/// The message that answers, whatever form it came in.
fn reply(answer: &Answer) -> Value {
    let text = answer.text();
    if answer.header("content-type").starts_with("application/json") {
        return serde_json::from_str(&text).unwrap();
    }
    let mut messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?.trim()).ok());
    messages.rfind(|message| message.get("method").is_none()).unwrap_or_else(|| panic!("{}: {text}", answer.status))
}

/// What a client may say it takes, and the one form it then gets.
const TAKEN: &[(&[&str], &str)] = &[
    (&[BOTH], "text/event-stream"),
    (&[], "text/event-stream"),
    (&["*/*"], "text/event-stream"),
    (&["*/*;q=0.1"], "text/event-stream"),
    (&["application/*, text/*"], "text/event-stream"),
    (&["application/json", "text/event-stream"], "text/event-stream"),
    (&["TEXT/Event-Stream; q=0.2"], "text/event-stream"),
    (&["text/event-stream"], "text/event-stream"),
    (&["text/html, */*;q=0.8"], "text/event-stream"),
    (&["application/json;q=0, */*"], "text/event-stream"),
    (&["application/json"], "application/json"),
    (&["Application/JSON; charset=utf-8"], "application/json"),
    (&["application/*"], "application/json"),
    (&["text/event-stream;q=0, */*"], "application/json"),
    (&["text/plain, application/json;q=0.1"], "application/json"),
];
const REFUSED: &[&str] = &["text/html", "application/xml, text/plain", "application/json;q=0", "*/*;q=0", "image/*"];

#[tokio::test]
async fn f01_whoever_takes_one_of_the_two_types_is_answered_in_it() {
    let (_app, address) = listening().await;
    for (accept, form) in TAKEN {
        let session = Client::open(address, "2025-11-25", accept, json!({})).await;
        for client in [session, Client::stateless(address, accept, json!({}))] {
            for (method, params) in
                [("tools/list", json!({})), ("tools/call", json!({"name": "register_agent", "arguments": {"agent_name": "A"}}))]
            {
                let answer = client.raw(&client.call(method, params)).await;
                assert_eq!((answer.status, answer.header("content-type")), (200, *form), "{accept:?} {method} {}", answer.text());
                let reply = reply(&answer);
                assert!(reply["id"] == 7 && reply["result"].is_object(), "{accept:?} {method} {reply}");
            }
            if let Some(id) = &client.session {
                let mut headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
                headers.push(("mcp-session-id", id));
                assert_eq!(exchange(address, "DELETE", "/mcp", &headers, b"").await.unwrap().status, 204, "{accept:?}");
            }
        }
    }
}

#[tokio::test]
async fn f01_who_takes_neither_is_told_what_to_take() {
    let (_app, address) = listening().await;
    for accept in REFUSED {
        for version in ["2025-11-25", "2026-07-28"] {
            let client = Client { address, session: None, version, accept: vec![accept], capabilities: json!({}) };
            let method = if version == "2026-07-28" { "tools/list" } else { "initialize" };
            let answer = client.raw(&client.call(method, client.hello())).await;
            assert_eq!(answer.status, 406, "{accept} {}", answer.text());
            let said = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(said.contains("application/json") && said.contains("text/event-stream"), "{said}");
        }
    }
}

#[tokio::test]
async fn f01_a_stream_opens_for_whoever_takes_events() {
    let (_app, address) = listening().await;
    for (accept, form) in TAKEN {
        let client = Client::open(address, "2025-11-25", accept, json!({})).await;
        let status = Open::get(&client).await.status;
        assert_eq!(status, if *form == "text/event-stream" { 200 } else { 406 }, "{accept:?}");
    }
}

#[tokio::test]
async fn f01_messages_of_http_sse_are_taken_whatever_is_accepted() {
    let (_app, address) = listening().await;
    for accept in TAKEN.iter().flat_map(|(accept, _)| accept.first()).chain(REFUSED) {
        let headers = [("accept", *accept), ("content-type", "application/json")];
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#;
        let answer = exchange(address, "POST", "/messages?sessionId=nobody", &headers, body).await.unwrap();
        assert_eq!(answer.status, 404, "{accept} {}", answer.text());
    }
}

#[tokio::test]
async fn f01_a_poll_for_json_alone_waits_inside_the_call() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let session = Client::open(address, "2025-06-18", &["application/json"], json!({})).await;
    for client in [session, Client::stateless(address, &["application/json"], json!({}))] {
        let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
        let params = json!({"name": "poll_claim", "arguments": {"claim_id": asked["claim_id"]}, "_meta": {"progressToken": "p"}});
        let (answer, ()) = tokio::join!(async { client.raw(&client.call("tools/call", params)).await }, async {
            while app.service.claims.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            let id = app.type_code(&human, asked["user_code"].as_str().unwrap()).await.unwrap();
            let review = app.service.claims.review(&human.session, id, human.source).await.unwrap();
            app.decide(&human, &review, everything(&review)).await.unwrap();
        });
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.json()["result"]["structuredContent"]["status"], "approved", "{}", answer.text());
    }
}

#[tokio::test]
async fn f01_who_takes_json_alone_is_not_asked_what_it_would_not_see() {
    let (_app, address) = listening().await;
    let shows = json!({"elicitation": {"url": {}}});
    let client = Client::open(address, "2025-11-25", &["application/json"], shows.clone()).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    assert!(asked["next"].as_str().unwrap().contains(asked["user_code"].as_str().unwrap()), "{asked}");
    // Since 2026-07-28 the question is the answer.
    let client = Client::stateless(address, &["application/json"], shows);
    let ask = client.call("tools/call", json!({"name": "register_agent", "arguments": {"agent_name": "Claude"}}));
    assert_eq!(reply(&client.raw(&ask).await)["result"]["resultType"], "input_required");
}

#[tokio::test]
async fn f01_a_json_poll_ends_with_its_client() {
    let (app, address) = listening().await;
    let client = Client::open(address, "2025-11-25", &["application/json"], json!({})).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    let poll = client.call("tools/call", json!({"name": "poll_claim", "arguments": {"claim_id": asked["claim_id"]}}));
    let read = serde_json::from_str(&poll).unwrap();
    let open = Open::send(address, "POST", &client.headers(&read), poll.as_bytes()).await;
    while app.service.claims.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    drop(open);
    while app.service.claims.waiting() > 0 {
        tokio::task::yield_now().await;
    }
}

/// A request whose answer goes on.
struct Open {
    stream: TcpStream,
    status: u16,
}

impl Open {
    async fn send(address: SocketAddr, method: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head =
            format!("{method} /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        stream
    }

    async fn get(client: &Client) -> Self {
        let mut stream = Self::send(client.address, "GET", &client.headers(&Value::Null), b"").await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let status = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap().parse().unwrap();
        Self { stream, status }
    }

    /// All that comes until the server ends it.
    async fn rest(mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.unwrap();
        rest
    }
}

#[tokio::test]
async fn f05_no_event_is_without_data_where_the_version_is_older_than_2025_11_25() {
    let (_app, address) = listening().await;
    for (version, primed) in [("2024-11-05", false), ("2025-03-26", false), ("2025-06-18", false), ("2025-11-25", true)] {
        let empty = |text: &str| text.lines().any(|line| line.trim_end() == "data:");
        let mut client = Client { address, session: None, version, accept: vec![BOTH], capabilities: json!({}) };
        let hello = client.raw(&client.call("initialize", client.hello())).await;
        assert_eq!((empty(&hello.text()), &reply(&hello)["result"]["protocolVersion"]), (primed, &json!(version)), "{}", hello.text());
        client.session = Some(hello.header("mcp-session-id").to_owned());
        client.raw(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        for (method, params) in
            [("tools/list", json!({})), ("ping", json!({})), ("tools/call", json!({"name": "list_keys", "arguments": {}}))]
        {
            let answer = client.raw(&client.call(method, params)).await;
            assert_eq!(empty(&answer.text()), primed, "{version} {method}: {}", answer.text());
            assert!(reply(&answer)["id"] == 7, "{version} {method}");
        }
        let stream = Open::get(&client).await;
        exchange(address, "DELETE", "/mcp", &client.headers(&Value::Null), b"").await.unwrap();
        assert_eq!((stream.status, empty(&stream.rest().await)), (200, primed), "{version}");
    }
}

#[tokio::test]
async fn f05_the_version_that_was_agreed_on_counts_not_the_one_that_was_asked_for() {
    let (_app, address) = listening().await;
    let hello = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":"2031-01-01","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#;
    let client = Client { address, session: None, version: "2031-01-01", accept: vec![BOTH], capabilities: json!({}) };
    let answer = client.raw(hello).await;
    let agreed = reply(&answer)["result"]["protocolVersion"].as_str().unwrap().to_owned();
    assert_eq!(answer.text().contains("retry:"), *agreed >= *"2025-11-25", "{}", answer.text());
    // And who does not say which version it speaks is older than the header that says it.
    let session = answer.header("mcp-session-id").to_owned();
    let headers = [("accept", BOTH), ("content-type", "application/json"), ("mcp-session-id", session.as_str())];
    let ping = exchange(address, "POST", "/mcp", &headers, br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#).await.unwrap();
    assert!(ping.status == 200 && !ping.text().contains("retry:"), "{}", ping.text());
}

#[tokio::test]
async fn f04_null_is_nothing_over_mcp() {
    let (_app, address) = listening().await;
    let client = Client::open(address, "2025-06-18", &[BOTH], json!({})).await;
    for nothing in ["null", "[]"] {
        for request in [
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":@}"#,
            r#"{"jsonrpc":"2.0","id":7.0,"method":"tools/list","params":@}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"cursor":null,"_meta":@}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"list_keys","arguments":@,"_meta":@}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"list_keys","arguments":"{}"}}"#,
        ] {
            let answer = client.raw(&request.replace('@', nothing)).await;
            assert!(
                answer.status == 200 && reply(&answer)["id"] == 7 && reply(&answer)["result"].is_object(),
                "{request} {}",
                answer.text()
            );
        }
        for notification in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":@}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}"#,
        ] {
            let answer = client.raw(&notification.replace('@', nothing)).await;
            assert_eq!(answer.status, 202, "{notification} {}", answer.text());
        }
    }
    for wrong in [
        r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":7.5,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":"x"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[1]}"#,
    ] {
        let answer = client.raw(wrong).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!(-32600)), "{wrong}");
    }
}

#[tokio::test]
async fn f08_f09_f10_f12_arguments_are_taken_as_clients_write_them() {
    let (app, address) = listening().await;
    let human = app.human("alice@example.com").await;
    let key = app.key(&human, &["audience:read", "keys:read"]).await;
    for version in ["2025-11-25", "2026-07-28"] {
        let client = match version {
            "2026-07-28" => Client::stateless(address, &[BOTH], json!({})),
            _ => Client::open(address, version, &[BOTH], json!({})).await,
        };
        let n8n = json!({"toolCallId": "call_1", "sessionId": "s", "action": "sendMessage", "chatInput": "hello"});
        let with_n8n = |mut arguments: Value| {
            arguments.as_object_mut().unwrap().extend(n8n.as_object().unwrap().clone());
            arguments
        };
        for (number, scopes) in
            [json!("[\"audience:read\"]"), json!("audience:read"), json!(["audience:read"]), json!(""), json!(null)].into_iter().enumerate()
        {
            let name = format!("Agent {number}");
            let arguments = json!({"agent_name": name, "scopes": scopes, "login_hint": "", "environment": ""});
            let asked = client.tool("register_agent", with_n8n(arguments)).await;
            assert_eq!(asked["scopes"], json!(["audience:read"]), "{scopes}: {asked}");
            for wait in [json!(0), json!(0.0), json!("0"), json!("0.0")] {
                let poll = json!({"claim_id": asked["claim_id"], "wait_seconds": wait, "delivery": "", "env_path": "", "env_name": null});
                assert_eq!(client.tool("poll_claim", with_n8n(poll)).await["status"], "pending", "{wait}");
            }
        }
        let two = client.tool("register_agent", json!({"agent_name": "Two", "scopes": "audience:read, keys:read"})).await;
        assert_eq!(two["scopes"], json!(["audience:read", "keys:read"]), "{two}");
        for (tool, arguments, named) in [
            ("register_agent", json!({"agent_name": ""}), "agent_name"),
            ("register_agent", json!({"agent_name": null}), "agent_name"),
            ("register_agent", json!({"agent_name": "x", "scope": "audience:read"}), "scopes"),
            ("register_agent", json!({"agentName": "x"}), "agent_name"),
            ("register_agent", json!({"agent_name": "x", "tool_call_id": "x"}), "tool_call_id"),
            ("poll_claim", json!({"claim_id": "x", "wait_seconds": 5.5}), "wait_seconds"),
            ("poll_claim", json!({"claim_id": "x", "wait_seconds": "5.5"}), "wait_seconds"),
            ("poll_claim", json!({"claim_id": "x", "wait_seconds": "56"}), "wait_seconds"),
            ("poll_claim", json!({"claim_id": "x", "wait_seconds": -1.0}), "wait_seconds"),
            ("poll_claim", json!({"claim_id": ""}), "claim_id"),
            ("list_keys", json!({"limits": 5}), "limit"),
            ("revoke_key", json!({"key_id": " "}), "key_id"),
        ] {
            let refused = client.tool(tool, arguments.clone()).await;
            assert!(refused["error"] == "invalid_arguments" && refused.to_string().contains(named), "{tool} {arguments}: {refused}");
        }
    }
    let http = app.http();
    let as_key = async |name: &str, arguments: Value| {
        let client = Client::stateless(address, &[BOTH], json!({}));
        let body: Value = serde_json::from_str(&client.call("tools/call", json!({"name": name, "arguments": arguments}))).unwrap();
        let call = client.headers(&body).into_iter().fold(http.post("/mcp"), |call, (header, value)| call.header(header, value));
        let answer = call.json(&body).bearer(key.key.expose()).send().await;
        serde_json::from_str::<Value>(reply(&answer)["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
    };
    let listed = as_key("list_keys", json!({"limit": 10.0, "cursor": "", "status": "", "environment": null, "action": "x"})).await;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1, "{listed}");
    let check = as_key("check_scope", json!({"scopes": "email:send audience:read", "environment": "", "chatInput": "x"})).await;
    assert_eq!((&check["allowed"], &check["missing"]), (&json!(false), &json!(["email:send"])), "{check}");
    // Nothing that was asked for is nothing allowed.
    for nothing in [json!({}), json!({"scopes": []}), json!({"scopes": ","}), json!({"scopes": "[]"}), json!({"action": "email:send"})] {
        let check = as_key("check_scope", nothing.clone()).await;
        assert_eq!((&check["allowed"], check["key"]["id"].is_string()), (&json!(false), true), "{nothing}: {check}");
        assert!(!check["next"].as_str().unwrap().starts_with("Go on"), "{nothing}: {check}");
    }
    for nothing in [json!(""), json!(" "), json!(null), json!("null")] {
        let refused = as_key("check_scope", json!({"scopes": nothing})).await;
        assert!(refused["error"] == "invalid_arguments" && refused.to_string().contains("scopes"), "{nothing}: {refused}");
    }
}
