//! How long sessions of MCP live and for whom there is room, and that a claim outlives the session it was opened in.

use super::left::{left_everywhere, settled, sound};
use crate::support::{process::Home, *};
use axum::body::{Body, BodyDataStream};
use countersign::store::table::Table;
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Streamable,
    Sse,
}

const WAYS: [Way; 2] = [Way::Streamable, Way::Sse];

/// A client's session, over either way that has them.
struct Session {
    http: Http,
    key: Option<String>,
    line: Line,
    id: u64,
}

enum Line {
    /// By its id.
    Streamable(String),
    Sse(Stream, String),
}

/// A body as it comes.
struct Stream(BodyDataStream, String);

impl Stream {
    fn new(body: Body) -> Self {
        Self(body.into_data_stream(), String::new())
    }

    /// The data of the next event that has any; `None` at the end.
    async fn event(&mut self) -> Option<String> {
        loop {
            while let Some((line, rest)) = self.1.split_once('\n').map(|(line, rest)| (line.to_owned(), rest.to_owned())) {
                self.1 = rest;
                if let Some(data) = line.strip_prefix("data:").map(str::trim).filter(|data| !data.is_empty()) {
                    return Some(data.to_owned());
                }
            }
            self.1.push_str(std::str::from_utf8(&self.0.next().await?.ok()?).unwrap());
        }
    }
}

fn hello() -> Value {
    json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}})
}

impl Session {
    async fn open(http: &Http, way: Way, key: Option<&str>) -> Self {
        let (http, key) = (http.clone(), key.map(str::to_owned));
        let session = match way {
            Way::Streamable => {
                let mut session = Self { http, key, line: Line::Streamable(String::new()), id: 0 };
                let answer = session.call("initialize", hello()).send().await;
                session.line = Line::Streamable(answer.header("mcp-session-id").to_owned());
                session
            }
            Way::Sse => {
                let call = http.get("/sse");
                let call = if let Some(key) = &key { call.bearer(key) } else { call };
                let mut stream = Stream::new(call.streamed().await.into_body());
                let messages = stream.event().await.unwrap();
                let mut session = Self { http, key, line: Line::Sse(stream, messages), id: 0 };
                session.request("initialize", hello()).await;
                session
            }
        };
        let told = session.message(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).send().await;
        assert_eq!(told.status, 202, "{}", told.text());
        session
    }

    fn message(&self, message: &Value) -> Call {
        let call = match &self.line {
            Line::Streamable(id) => {
                let call = self.http.post("/mcp").header("accept", "application/json, text/event-stream");
                if id.is_empty() { call } else { call.header("mcp-session-id", id) }
            }
            Line::Sse(_, messages) => self.http.post(messages),
        };
        let call = call.json(message);
        if let Some(key) = &self.key { call.bearer(key) } else { call }
    }

    fn call(&mut self, method: &str, params: Value) -> Call {
        self.id += 1;
        self.message(&json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}))
    }

    async fn request(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).send().await;
        assert!(answer.status < 300, "{}", answer.text());
        let mut once;
        let stream = match &mut self.line {
            Line::Streamable(_) => {
                once = Stream::new(Body::from(answer.bytes));
                &mut once
            }
            Line::Sse(stream, _) => stream,
        };
        loop {
            let message: Value = serde_json::from_str(&stream.event().await.expect("the stream goes on")).unwrap();
            if message["id"] == self.id && message.get("method").is_none() {
                return message["result"].clone();
            }
        }
    }

    /// A tool's result: what it gives, or why not.
    async fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let result = self.request("tools/call", json!({"name": name, "arguments": arguments})).await;
        serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap()
    }

    async fn register(&mut self) -> Value {
        self.tool("register_agent", json!({"agent_name": "Claude"})).await
    }

    async fn poll(&mut self, asked: &Value) -> Value {
        self.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await
    }

    /// Ends it, and with it what it holds of the server.
    async fn end(self) {
        if let Line::Streamable(id) = &self.line {
            self.http.call("DELETE", "/mcp").header("mcp-session-id", id).send().await;
        }
        drop(self);
        tasks().await;
    }

    /// Whether it is still there.
    async fn lives(&mut self) -> bool {
        self.call("ping", json!({})).send().await.status < 300
    }
}

/// Runs what a result's command would.
async fn picked_up(http: &Http, polled: &Value) -> String {
    assert_eq!(polled["status"], "approved", "{polled}");
    let command = polled["pickup"]["command"].as_str().unwrap();
    let token = command.split("pickup_token\":\"").nth(1).unwrap().split('"').next().unwrap();
    let key = http.post("/agent/pickup").json(&json!({"pickup_token": token})).send().await.ok();
    key["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn f07_a_claim_outlives_the_session_it_was_opened_in_whichever_way() {
    let app = app_that_limits_nobody().await;
    let http = app.http();
    for (opened, polled) in [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| (WAYS[a], WAYS[b])) {
        let mut session = Session::open(&http, opened, None).await;
        let asked = session.register().await;
        drop(session);
        approve(&app, &asked).await;
        let mut fresh = Session::open(&http.from("192.0.2.9"), polled, None).await;
        let key = picked_up(&http, &fresh.poll(&asked).await).await;
        assert_eq!(http.projects(&key).await.status, 200, "{opened:?} {polled:?}");
        assert_eq!(fresh.poll(&asked).await["status"], "delivered");
    }
}

#[tokio::test]
async fn f07_a_claim_outlives_the_server() {
    for way in WAYS {
        let app = app_that_limits_nobody().await;
        let mut session = Session::open(&app.http(), way, None).await;
        let asked = session.register().await;
        approve(&app, &asked).await;
        session.end().await;
        let app = app.killed().await;
        let http = app.http();
        let key = picked_up(&http, &Session::open(&http, way, None).await.poll(&asked).await).await;
        assert_eq!(http.projects(&key).await.status, 200, "{way:?}");
    }
}

#[tokio::test]
async fn f07_a_claim_outlives_the_process() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let asked = Session::open(&server.http(), Way::Streamable, None).await.register().await;
    server.signed_in().await.approve(asked["user_code"].as_str().unwrap()).await;
    server.killed().await;
    let server = home.serve().await;
    let polled = Session::open(&server.http(), Way::Streamable, None).await.poll(&asked).await;
    let key = picked_up(&server.http(), &polled).await;
    assert_eq!(server.http().projects(&key).await.status, 200);
    assert_eq!(server.stopped().await.code(), Some(0));
}

#[tokio::test]
async fn f07_a_claim_a_key_opened_is_that_keys_in_any_session() {
    let app = build().set("mcp.allow_inline_delivery", "true").start().await;
    let (http, human) = (app.http(), app.human("alice@example.com").await);
    let (mine, other) = (app.key(&human, &["audience:read"]).await, app.key(&human, &["audience:read"]).await);
    let (mine, other) = (mine.key.expose(), other.key.expose());
    for way in WAYS {
        let asked = Session::open(&http, way, Some(mine)).await.register().await;
        for stranger in [None, Some(other)] {
            assert_eq!(Session::open(&http, way, stranger).await.poll(&asked).await["error"], "unknown_claim", "{way:?}");
        }
        approve(&app, &asked).await;
        let inline = json!({"claim_id": asked["claim_id"], "delivery": "inline"});
        let delivered = Session::open(&http, way, Some(mine)).await.tool("poll_claim", inline).await;
        assert_eq!(http.projects(delivered["secret"].as_str().unwrap()).await.status, 200);
        // What nobody in particular opened goes by a pickup alone, whoever asks.
        let asked = Session::open(&http, way, None).await.register().await;
        approve(&app, &asked).await;
        for anybody in [None, Some(other)] {
            let inline = json!({"claim_id": asked["claim_id"], "delivery": "inline", "wait_seconds": 0});
            let mut session = Session::open(&http, way, anybody).await;
            let refused = session.tool("poll_claim", inline).await;
            assert_eq!(refused["error"], "invalid_arguments", "{way:?} {refused}");
            assert_eq!(session.poll(&asked).await["status"], "approved");
        }
    }
}

#[tokio::test]
async fn an_identical_registration_after_the_decision_is_a_new_one() {
    let app = app_that_limits_nobody().await;
    let human = app.human("bob@example.com").await;
    let key = app.key(&human, &["audience:read"]).await;
    for (way, key) in WAYS.into_iter().flat_map(|way| [(way, None), (way, Some(key.key.expose()))]) {
        let mut session = Session::open(&app.http(), way, key).await;
        let asked = session.register().await;
        assert_eq!(session.register().await["claim_id"], asked["claim_id"], "{way:?}: while it waits it is the same");
        approve(&app, &asked).await;
        assert_ne!(session.register().await["claim_id"], asked["claim_id"], "{way:?}: a code that is used up helps nobody");
    }
}

/// Minutes pass, and whatever they end is ended.
async fn minutes_pass(seconds: u64) {
    // Who waits for a time has to be waiting before it comes.
    tasks().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
    tasks().await;
}

#[tokio::test]
async fn f06_a_session_whose_stream_is_open_is_not_idle() {
    let app = app_that_limits_nobody().await;
    let http = app.http();
    for way in WAYS {
        let mut session = Session::open(&http, way, None).await;
        let stream = match &session.line {
            Line::Streamable(id) => {
                let call = http.get("/mcp").header("accept", "text/event-stream").header("mcp-session-id", id);
                Some(call.streamed().await)
            }
            Line::Sse(..) => None,
        };
        let asked = session.register().await;
        for _ in 0..3 {
            minutes_pass(320).await;
        }
        approve(&app, &asked).await;
        assert_eq!(session.poll(&asked).await["status"], "approved", "{way:?}");
        drop(stream);
        if way == Way::Streamable {
            minutes_pass(290).await;
            assert!(session.lives().await, "each request begins the five minutes anew");
            minutes_pass(290).await;
            assert!(session.lives().await);
            minutes_pass(310).await;
            assert!(!session.lives().await, "without a stream silence ends it");
        }
    }
}

#[tokio::test]
async fn f06_sessions_that_end_leave_nothing_behind() {
    let app = app_that_limits_nobody().await;
    let http = app.http();
    settled(&app).await;
    let before = tasks().await;
    for way in WAYS {
        for n in 0..30 {
            let session = Session::open(&http.from(&format!("192.0.2.{n}")), way, None).await;
            if let (Line::Streamable(id), 0) = (&session.line, n % 2) {
                let ended = session.http.call("DELETE", "/mcp").header("mcp-session-id", id).send().await;
                assert_eq!(ended.status, 204);
            }
        }
        minutes_pass(310).await;
        assert_eq!(tasks().await, before, "{way:?}");
    }
}

/// How many tasks are left once those that end have ended.
async fn tasks() -> usize {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut last = alive();
    for _ in 0..200 {
        tokio::task::yield_now().await;
        last = alive();
    }
    last
}

#[tokio::test]
async fn a99_fifty_five_keys_of_one_account_with_twenty_sessions_each_end_nobody_elses() {
    for way in WAYS {
        let app = build().set("plans.free.requests_per_minute", "100000").set("keys.max_active_per_account", "200").start().await;
        let http = app.http();
        let (greedy, modest) = (app.human("greedy@example.com").await, app.human("modest@example.com").await);
        let boss = app.key(&greedy, &["audience:read", "keys:write"]).await;
        let mine = app.key(&modest, &["audience:read"]).await;
        let mut others = vec![Session::open(&http, way, Some(mine.key.expose())).await];
        for n in 0..30 {
            others.push(Session::open(&http.from(&format!("192.0.2.{n}")), way, None).await);
        }
        let mut taken = Vec::new();
        for _ in 0..55 {
            let child = app.child(boss.key.expose(), new_key(&["audience:read"])).await.unwrap();
            for _ in 0..20 {
                taken.push(Session::open(&http.from("198.51.100.7"), way, Some(child.key.expose())).await);
            }
        }
        for other in &mut others {
            assert!(other.lives().await, "{way:?}");
        }
        // They crowd out only each other, and whoever comes now is served.
        let mut late = Session::open(&http, way, Some(mine.key.expose())).await;
        assert!(late.lives().await && !taken[0].lives().await && taken.last_mut().unwrap().lives().await, "{way:?}");
    }
}

#[tokio::test]
async fn a91_a_session_that_is_left_while_it_opens_is_not_there() {
    let app = app_that_limits_nobody().await;
    let http = app.http();
    let before = tasks().await;
    let made = async |_| {
        let mut nobody = Session { http: http.clone(), key: None, line: Line::Streamable(String::new()), id: 0 };
        (nobody.call("initialize", hello()), ())
    };
    let look = async |(), answer: Option<Answer>| {
        if let Some(answer) = answer {
            let id = answer.header("mcp-session-id").to_owned();
            http.call("DELETE", "/mcp").header("mcp-session-id", &id).send().await;
        }
        assert_eq!(tasks().await, before, "a session nobody knows of goes on");
    };
    left_everywhere(&app, "initialize", made, look).await;
}

#[tokio::test]
async fn a91_calls_of_tools_that_are_left_hold_nothing() {
    let app = app_that_limits_nobody().await;
    let (http, human) = (app.http(), app.human("alice@example.com").await);
    let boss = app.key(&human, &["audience:read", "keys:write", "keys:revoke"]).await.key.expose().to_owned();
    for way in WAYS {
        let mut session = Session::open(&http, way, Some(&boss)).await;
        let mut anonymous = Session::open(&http, way, None).await;
        for (name, arguments) in [
            ("register_agent", json!({"agent_name": "Claude"})),
            ("list_keys", json!({})),
            ("check_scope", json!({"scopes": ["audience:read"]})),
        ] {
            let made = async |round: u32| {
                let mut arguments = arguments.clone();
                if name == "register_agent" {
                    arguments["agent_name"] = json!(format!("Claude {round}"));
                }
                let calling = json!({"name": name, "arguments": arguments});
                (if name == "register_agent" { anonymous.call("tools/call", calling) } else { session.call("tools/call", calling) }, ())
            };
            left_everywhere(&app, &format!("{name} {way:?}"), made, async |(), _| _ = tasks().await).await;
        }
        // A poll that would wait is left at each of its first moments.
        let asked = anonymous.register().await;
        for leaving in [Leaving::AsItWaits, Leaving::AsItGoesOn] {
            for waits in 0..6 {
                let arguments = json!({"claim_id": asked["claim_id"], "wait_seconds": 55});
                let call = anonymous.call("tools/call", json!({"name": "poll_claim", "arguments": arguments}));
                let left = tokio::time::timeout(Duration::from_millis(100), call.left(waits, leaving)).await;
                if way == Way::Streamable {
                    assert!(!matches!(left, Ok(Some(_))), "nobody decided");
                    _ = tasks().await;
                    sound(&app, "a poll over MCP").await;
                }
            }
        }
    }
    assert_eq!(app.service.claims.registrations().pending, i64::try_from(app.row_counts().await[Table::Pending]).unwrap());
}
