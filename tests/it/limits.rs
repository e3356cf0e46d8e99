//! What a client may take of the listener, and how the program ends when it is told to.

use crate::support::process::{Home, Server, asking, text};
use crate::support::*;
use axum::{
    Router,
    body::{Body, Bytes},
    routing::get,
};
use countersign::server::{connection_limits::ConnectionLimits, listen};
use futures::{StreamExt, stream};
use serde_json::json;
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::interval,
};
use tokio_util::sync::CancellationToken;

/// One connection, byte by byte.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    address: SocketAddr,
}

impl Wire {
    pub(super) async fn open(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap(), address)
    }

    pub(super) fn of(stream: TcpStream, address: SocketAddr) -> Self {
        Self { stream, address }
    }

    /// What comes next; nothing once it is over.
    pub(super) async fn some(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 65_536];
        let length = self.stream.read(&mut bytes).await.unwrap_or(0);
        bytes.truncate(length);
        bytes
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A request that keeps the connection, answered.
    pub(super) async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address)).await;
        let mut answer = vec![0; 4096];
        let length = self.stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    /// What comes until the other side closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end, too.
        let _ = self.stream.read_to_end(&mut bytes).await;
        bytes
    }

    pub(super) async fn answer(&mut self) -> String {
        String::from_utf8_lossy(&self.rest().await).into_owned()
    }

    /// Sends a byte now and then for as long as the other side takes them; what it said in the end.
    async fn dribble(self) -> String {
        let (mut from, mut to) = self.stream.into_split();
        let mut said = Vec::new();
        let mut tick = interval(Duration::from_millis(200));
        tokio::select! {
            _ = from.read_to_end(&mut said) => {}
            () = async { loop {
                tick.tick().await;
                if to.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }} => {}
        }
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// A running program with a good key.
pub(super) async fn serving() -> (Home, Server, String) {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    let server = home.serve().await;
    (home, server, key)
}

/// A request whose body has only begun.
fn post(address: SocketAddr, path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{{")
}

pub(super) async fn works(server: &Server, key: &str) {
    assert_eq!(server.http().get("/v1/whoami").bearer(key).send().await.status, 200);
}

#[tokio::test]
async fn a77_slow_heads_are_cut_and_slow_bodies_get_408() {
    // What real ones have: the wire is waited for in real time, so these have less.
    let real = ConnectionLimits::default();
    assert_eq!((real.head, real.body), (Duration::from_secs(10), Duration::from_secs(15)));
    let limits = ConnectionLimits { head: Duration::from_secs(1), body: Duration::from_secs(1), ..real };
    let (_app, address) = build().listen_within(limits).await;
    let (mut nothing, mut head, mut body) = (Wire::open(address).await, Wire::open(address).await, Wire::open(address).await);
    head.send("GET /healthz HTTP/1.1\r\nx-long: ").await;
    body.send(post(address, "/agent/identity")).await;
    let mut call = Wire::open(address).await;
    call.send(post(address, "/mcp")).await;
    let (nothing, head, body, call) = tokio::join!(nothing.answer(), head.dribble(), body.dribble(), call.dribble());
    assert_eq!((nothing.as_str(), head.as_str()), ("", ""));
    assert!(body.starts_with("HTTP/1.1 408 ") && body.contains("\"request_timeout\""), "{body}");
    assert!(call.starts_with("HTTP/1.1 408 ") && call.contains("\"jsonrpc\""), "{call}");
    assert_eq!(exchange(address, "GET", "/healthz", &[], b"").await.unwrap().status, 200, "others are served");
}

#[tokio::test]
async fn a77_heads_that_are_too_large_get_431() {
    let (_home, server, key) = serving().await;
    for lines in [format!("x: {}\r\n", "x".repeat(20_000)), "x: y\r\n".repeat(200)] {
        let mut wire = Wire::open(server.address).await;
        wire.send(format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n{lines}\r\n", server.address)).await;
        let answer = wire.answer().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    works(&server, &key).await;
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// RFC 9113 §7.
const ENHANCE_YOUR_CALM: u32 = 11;

pub(super) fn hello() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()
}

/// `GET http://address/`, in the indexes of HPACK (RFC 7541 Appendix A).
fn request(address: SocketAddr) -> Vec<u8> {
    let host = address.to_string();
    [&[0x82, 0x86, 0x84, 0x41, u8::try_from(host.len()).unwrap()], host.as_bytes()].concat()
}

/// The payloads of frames of that kind.
pub(super) fn payloads(mut bytes: &[u8], kind: u8) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(head) = bytes.first_chunk::<9>() {
        let end = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if head[3] == kind {
            found.push(bytes.get(9..end).unwrap_or_default().to_vec());
        }
        bytes = bytes.get(end..).unwrap_or_default();
    }
    found
}

fn said_calm_down(bytes: &[u8]) -> bool {
    payloads(bytes, GOAWAY).iter().any(|payload| payload.get(4..8) == Some(&ENHANCE_YOUR_CALM.to_be_bytes()[..]))
}

#[tokio::test]
async fn a77_a_flood_of_streams_opened_and_reset_ends_the_connection() {
    let (_home, server, key) = serving().await;
    let mut wire = Wire::open(server.address).await;
    let block = request(server.address);
    let mut flood = hello();
    for n in 0..10_000 {
        flood.extend(frame(HEADERS, 0x5, 2 * n + 1, &block));
        flood.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    // It may be cut before all of it was sent.
    let _ = wire.stream.write_all(&flood).await;
    assert!(said_calm_down(&wire.rest().await));
    works(&server, &key).await;
}

#[tokio::test]
async fn a77_a_head_in_endless_continuations_ends_the_connection() {
    let (_home, server, key) = serving().await;
    let mut wire = Wire::open(server.address).await;
    let mut flood = [hello(), frame(HEADERS, 0x1, 1, &request(server.address))].concat();
    let line = [&[0x00, 1, b'x', 100][..], &[b'x'; 100]].concat();
    for _ in 0..10_000 {
        flood.extend(frame(CONTINUATION, 0, 1, &line));
    }
    let _ = wire.stream.write_all(&flood).await;
    assert!(said_calm_down(&wire.rest().await));
    works(&server, &key).await;
}

#[tokio::test]
async fn a77_at_the_bound_idle_connections_make_place_and_busy_ones_stay() {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    let mut shell = home.in_shell("ulimit -n 200");
    shell.env("COUNTERSIGN_PLANS__FREE__REQUESTS_PER_MINUTE", "1000");
    let server = Server::started(shell).await;
    let claim = text(&server.http().register(asking(false)).await.ok(), "claim_token");
    let mut waits = Wire::open(server.address).await;
    let body = json!({"grant_type": CLAIM_GRANT, "claim_token": claim}).to_string();
    waits
        .send(format!(
            "POST /oauth2/token HTTP/1.1\r\nhost: {}\r\nprefer: wait=55\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            server.address,
            body.len()
        ))
        .await;
    // Each has asked once, so that only time (75 seconds of it) or others would end it.
    let mut idle = Vec::new();
    for _ in 0..600 {
        let mut wire = Wire::open(server.address).await;
        assert!(wire.get("/healthz").await.starts_with("HTTP/1.1 200 "));
        idle.push(wire);
        if idle.len() % 100 == 0 {
            works(&server, &key).await;
        }
    }
    for wire in &mut idle[..400] {
        assert!(wire.rest().await.is_empty(), "the first ones made place");
    }
    assert!(idle[599].get("/healthz").await.starts_with("HTTP/1.1 200 "), "the last ones are there");
    assert_eq!(server.stopped().await.code(), Some(0));
    assert!(waits.answer().await.contains("authorization_pending"), "who waited was told");
}

#[tokio::test]
async fn a_program_that_is_out_of_files_goes_on_and_takes_connections_again() {
    let (_home, server, key) = serving().await;
    let mut kept = Wire::open(server.address).await;
    assert!(kept.get("/healthz").await.starts_with("HTTP/1.1 200 "));
    let pid = server.child.id().unwrap().to_string();
    let files = |limit: &str| {
        let limited = std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).status();
        assert!(limited.unwrap().success());
    };
    files("1");
    let mut waits = Wire::open(server.address).await;
    waits.send(format!("GET /healthz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address)).await;
    assert!(kept.get("/healthz").await.starts_with("HTTP/1.1 200 "));
    files("1024");
    assert!(waits.answer().await.starts_with("HTTP/1.1 200 "));
    works(&server, &key).await;
}

/// A router of our own behind the listener, with little patience.
pub(super) async fn listening(router: Router, limits: ConnectionLimits) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(listen::serve(listener, router, limits, stop.clone()));
    (address, stop)
}

#[tokio::test]
async fn a77_what_does_nothing_is_ended_and_what_answers_is_not() {
    // Real time, as the listener keeps it for sockets; as little of it as its ticks tell apart.
    const IDLE: Duration = Duration::from_secs(1);
    let limits = ConnectionLimits { head: IDLE, idle: IDLE, ..ConnectionLimits::default() };
    let ticks = || stream::unfold((), |()| async { Some((Ok::<_, Infallible>(Bytes::from("x")), tokio::time::sleep(IDLE / 2).await)) });
    let streams = get(move || async move { Body::from_stream(ticks().take(8)) });
    let waits = get(move || async move {
        tokio::time::sleep(4 * IDLE).await;
        "waited"
    });
    let large = get(|| async { vec![b'x'; 50_000_000] });
    let router = Router::new().route("/", get(|| async {})).route("/streams", streams).route("/waits", waits).route("/large", large);
    let (address, stop) = listening(router, limits).await;
    let (mut quiet, mut unread, mut silent, mut second) =
        (Wire::open(address).await, Wire::open(address).await, Wire::open(address).await, Wire::open(address).await);
    assert!(quiet.get("/").await.starts_with("HTTP/1.1 200 "));
    assert!(second.get("/").await.starts_with("HTTP/1.1 200 "));
    second.send("GET / HTTP/1.1\r\n").await;
    unread.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    silent.send(hello()).await;
    let (streamed, waited) = tokio::join!(exchange(address, "GET", "/streams", &[], b""), exchange(address, "GET", "/waits", &[], b""));
    assert_eq!((streamed.unwrap().bytes.len(), waited.unwrap().text().as_str()), (8, "waited"));
    assert!(quiet.rest().await.is_empty(), "a connection kept for nothing");
    assert!(second.dribble().await.is_empty(), "a second head that never ends");
    assert!(!payloads(&silent.rest().await, GOAWAY).is_empty(), "an HTTP/2 connection without streams is told");
    stop.cancel();
    // Were it not ended, the server would wait for its reader now.
    while TcpStream::connect(address).await.is_ok() {}
    assert!(unread.rest().await.len() < 50_000_000, "an answer nobody takes");
}

#[tokio::test]
async fn told_to_end_it_takes_no_more_finishes_what_it_has_and_writes_what_it_counted() {
    // A connection may ask once more within a second: a machine that is too busy to come in time says nothing.
    for _ in 0..5 {
        if told_to_end().await < Duration::from_secs(1) {
            return;
        }
    }
    panic!("nothing was asked within a second of the signal");
}

/// How long it took to ask once more.
async fn told_to_end() -> Duration {
    let (home, server, key) = serving().await;
    for _ in 0..3 {
        works(&server, &key).await;
    }
    let (mut late, mut stream) = (Wire::open(server.address).await, Wire::open(server.address).await);
    let (mut kept, mut idle) = (Wire::open(server.address).await, Wire::open(server.address).await);
    stream.send(format!("GET /sse HTTP/1.1\r\nhost: {}\r\n\r\n", server.address)).await;
    for wire in [&mut kept, &mut idle] {
        assert!(wire.get("/readyz").await.starts_with("HTTP/1.1 200 "));
    }
    late.send("GET /readyz HTTP/1.1\r\n").await;
    // Behind this answer the half request was read.
    works(&server, &key).await;
    let told = tokio::time::Instant::now();
    server.told("-TERM");
    while TcpStream::connect(server.address).await.is_ok() {}
    late.send(format!("host: {}\r\n\r\n", server.address)).await;
    let answers = [kept.get("/readyz").await, late.answer().await];
    let took = told.elapsed();
    if took < Duration::from_secs(1) {
        for not_ready in answers {
            assert!(not_ready.starts_with("HTTP/1.1 503 ") && not_ready.contains("connection: close"), "{not_ready}");
        }
    }
    assert!(kept.rest().await.is_empty() && idle.rest().await.is_empty(), "one last answer, and none for who asks nothing");
    assert!(stream.answer().await.ends_with("0\r\n\r\n"), "a stream has its end");
    assert_eq!(server.ended().await.code(), Some(0));
    let keys = home.run(&["keys", "list", "--json"], "").ok();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&keys).unwrap()["keys"][0]["usage"]["total"], 4, "{keys}");
    took
}

#[tokio::test]
async fn told_twice_it_ends_at_once() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let (_home, server, _) = serving().await;
        let mut body = Wire::open(server.address).await;
        body.send(post(server.address, "/agent/identity")).await;
        server.told(signal);
        while TcpStream::connect(server.address).await.is_ok() {}
        server.told(signal);
        assert_eq!(server.ended().await.code(), Some(code));
    }
}
