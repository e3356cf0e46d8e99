//! Answers nobody takes: they have a bound together, and others are answered.

use super::limits::{GOAWAY, HEADERS, SETTINGS, Wire, frame, listening, payloads, works};
use crate::support::{
    process::{Home, Server},
    *,
};
use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use countersign::server::connection_limits::ConnectionLimits;
use std::{net::SocketAddr, time::Duration};
use tokio::net::TcpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};

const DATA: u8 = 0;

/// What is large, or made anew for everybody.
const LARGE: [&str; 11] = [
    "/openapi.json",
    "/docs",
    "/docs/api",
    "/docs/http",
    "/auth.md",
    "/.well-known/auth.md",
    "/style.css",
    "/.well-known/oauth-authorization-server",
    "/login",
    "/signup",
    "/nowhere",
];

/// A hello of HTTP/2 that lets so many bytes of each answer come.
fn with_window(bytes: u32) -> Vec<u8> {
    let [a, b, c, d] = bytes.to_be_bytes();
    // SETTINGS_INITIAL_WINDOW_SIZE
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[0, 4, a, b, c, d])].concat()
}

/// `GET path`, with a cookie or none, as literals of HPACK.
fn asks(address: SocketAddr, path: &str, cookie: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let mut block = [&[0x82, 0x86, 0x04][..], &text(path), &[0x01], &text(&address.to_string())].concat();
    if !cookie.is_empty() {
        block.extend([&[0x0f, 0x11][..], &text(cookie)].concat());
    }
    block
}

/// Connections that ask on so many streams each and take nothing.
async fn hoarders(address: SocketAddr, connections: usize, streams: u32, window: u32, ask: impl Fn(usize) -> Vec<u8>) -> Vec<Wire> {
    let mut all = Vec::new();
    for connection in 0..connections {
        let mut wire = Wire::open(address).await;
        let mut flood = with_window(window);
        for stream in 0..streams {
            flood.extend(frame(HEADERS, 0x5, 2 * stream + 1, &ask(connection + stream as usize)));
        }
        // It may be ended meanwhile.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut wire.stream, &flood).await;
        all.push(wire);
    }
    all
}

impl Server {
    /// The most memory it ever had, in MiB.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

/// A server with a key and a signed-in human whose list of keys is long.
async fn serving() -> (Home, Server, String, String) {
    let home = Home::new();
    home.data_with("[plans.free]\nrequests_per_minute = 1000000\n");
    let (_, key) = home.key("audience:read,keys:write");
    let server = home.serve().await;
    for _ in 0..60 {
        let made =
            server.http().post("/v1/keys").bearer(&key).json(&serde_json::json!({"name": "x".repeat(60), "scopes": ["audience:read"]}));
        assert_eq!(made.send().await.status, 201);
    }
    let browser = server.signed_in().await;
    let cookie = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    (home, server, key, cookie)
}

/// What it may take beside what it had: the bound, and room for what the system's allocator keeps.
const MAX_MIB: u64 = 64 + 56;

#[tokio::test]
async fn a90_closed_windows_hold_no_more_than_the_bound_and_others_are_served() {
    for window in [0, 1] {
        let (_home, server, key, _) = serving().await;
        for path in LARGE {
            server.http().get(path).send().await;
        }
        let before = server.peak();
        let kept = hoarders(server.address, 80, 100, window, |n| asks(server.address, LARGE[n % LARGE.len()], "")).await;
        for path in ["/openapi.json", "/docs/api", "/auth.md", "/login"] {
            assert_eq!(server.http().get(path).send().await.status, 200, "{path}");
        }
        works(&server, &key).await;
        let took = server.peak() - before;
        assert!(took < MAX_MIB, "{took} MiB for {} connections with windows of {window}", kept.len());
    }
}

#[tokio::test]
async fn a90_pages_made_for_one_human_are_bounded_as_well() {
    let (_home, server, key, cookie) = serving().await;
    let pages = ["/settings/keys", "/activity", "/settings/agents", "/settings/security"];
    let before = server.peak();
    let kept = hoarders(server.address, 40, 100, 0, |n| asks(server.address, pages[n % pages.len()], &cookie)).await;
    let browser = server.http();
    for page in pages {
        assert_eq!(browser.get(page).header("cookie", &cookie).send().await.status, 200, "{page}");
    }
    works(&server, &key).await;
    let took = server.peak() - before;
    assert!(took < MAX_MIB, "{took} MiB for {} connections", kept.len());
}

#[tokio::test]
async fn a90_http_1_1_that_is_never_read_is_bounded_and_others_are_served() {
    let (_home, server, key, cookie) = serving().await;
    server.http().get("/docs/api").send().await;
    let before = server.peak();
    let mut kept = Vec::new();
    for n in 0..400 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        let mut wire = Wire::of(stream, server.address);
        for _ in 0..40 {
            let path = ["/openapi.json", "/docs/api", "/settings/keys"][n % 3];
            wire.send(format!("GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: {cookie}\r\n\r\n", server.address)).await;
        }
        kept.push(wire);
    }
    works(&server, &key).await;
    assert_eq!(server.http().get("/openapi.json").send().await.status, 200);
    let took = server.peak() - before;
    assert!(took < 48, "{took} MiB for {} connections", kept.len());
}

/// A router whose answers are made anew, of 50 KB each.
fn wasteful() -> Router {
    Router::new().route("/large", get(|| async { vec![b'x'; 50_000] })).route("/", get(|| async { "small" }))
}

async fn is_answered(address: SocketAddr, path: &str, length: usize) {
    let answer = exchange(address, "GET", path, &[], b"").await.unwrap();
    assert_eq!((answer.status, answer.bytes.len()), (200, length), "{path}");
}

/// Ends when the other side does.
async fn closed(wire: &mut Wire) -> Vec<u8> {
    tokio::time::timeout(Duration::from_secs(20), wire.rest()).await.expect("it was ended")
}

#[tokio::test]
async fn a90_past_the_bound_those_who_take_nothing_are_ended_and_others_go_on() {
    let limits = ConnectionLimits { untaken: 1 << 20, ..ConnectionLimits::default() };
    let (address, _stop) = listening(wasteful(), limits).await;
    // One that reads slowly what it asked for, and is not the worst.
    let mut modest = hoarders(address, 1, 2, 0, |_| asks(address, "/large", "")).await;
    for round in 0..5 {
        let mut greedy = hoarders(address, 4, 100, 0, |_| asks(address, "/large", "")).await;
        let mut ended = 0;
        for wire in &mut greedy {
            ended += usize::from(tokio::time::timeout(Duration::from_secs(2), wire.rest()).await.is_ok());
        }
        assert!(ended >= 1, "round {round}");
        is_answered(address, "/large", 50_000).await;
        is_answered(address, "/", 5).await;
        drop(greedy);
    }
    // Its windows open: both answers come.
    let open = [
        frame(8, 0, 1, &100_000_u32.to_be_bytes()),
        frame(8, 0, 3, &100_000_u32.to_be_bytes()),
        frame(8, 0, 0, &1_000_000_u32.to_be_bytes()),
    ]
    .concat();
    modest[0].send(open).await;
    let mut length = 0;
    while length < 100_000 {
        let bytes = modest[0].some().await;
        assert!(!bytes.is_empty(), "it was not the worst, and was ended");
        length += bytes.len();
    }
}

/// What a change answers may be there this once: the secret of a key, a key that was waited for.
#[tokio::test]
async fn a90_past_the_bound_a_change_is_still_answered() {
    let router = wasteful().route("/change", post(|| async { vec![b'x'; 20_000] }));
    let (address, _stop) = listening(router, ConnectionLimits { untaken: 10_000, ..ConnectionLimits::default() }).await;
    let asked = exchange(address, "GET", "/large", &[], b"").await.unwrap();
    assert_eq!((asked.status, asked.header("retry-after")), (503, "1"));
    let changed = exchange(address, "POST", "/change", &[], b"").await.unwrap();
    assert_eq!((changed.status, changed.bytes.len()), (200, 20_000));
    is_answered(address, "/", 5).await;
}

#[tokio::test]
async fn a90_what_is_counted_is_given_back_however_an_answer_ends() {
    let limits = ConnectionLimits { untaken: 400_000, ..ConnectionLimits::default() };
    let (address, _stop) = listening(wasteful(), limits).await;
    for round in 0..30 {
        // Left before the answer, in the middle of it, reset, and taken to its end: five answers at most are there at once.
        drop(hoarders(address, 1, 2, 0, |_| asks(address, "/large", "")).await);
        let mut reset = hoarders(address, 1, 2, 1, |_| asks(address, "/large", "")).await;
        reset[0].send([frame(3, 0, 1, &8_u32.to_be_bytes()), frame(3, 0, 3, &8_u32.to_be_bytes())].concat()).await;
        drop(reset);
        let mut half = Wire::open(address).await;
        half.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
        half.some().await;
        drop(half);
        eventually(&format!("round {round}: what nobody holds is not counted"), async || {
            (exchange(address, "GET", "/large", &[], b"").await.unwrap().status == 200).then_some(())
        })
        .await;
    }
}

/// An answer that says when it is held no more.
struct Held {
    bytes: Vec<u8>,
    _told: DropGuard,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[tokio::test]
async fn a90_an_answer_of_which_nobody_takes_a_byte_ends_its_connection() {
    let soon = Duration::from_secs(1);
    let limits = ConnectionLimits { unread: soon, ..ConnectionLimits::default() };
    let let_go = CancellationToken::new();
    let told = let_go.clone();
    let huge = get(|| async move { Bytes::from_owner(Held { bytes: vec![b'x'; 40_000_000], _told: told.drop_guard() }) });
    let router = wasteful().route("/huge", huge);
    let (address, _stop) = listening(router, limits).await;
    let mut unread = Wire::open(address).await;
    unread.send("GET /huge HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut closed_window = hoarders(address, 1, 3, 0, |_| asks(address, "/large", "")).await;
    // A poll that waits on the same connection keeps it no longer.
    let mut idle = Wire::open(address).await;
    assert!(idle.get("/").await.starts_with("HTTP/1.1 200 "));
    assert!(!payloads(&closed(&mut closed_window[0]).await, SETTINGS).is_empty());
    // Not read meanwhile, so that it is stuck: then it is gone.
    tokio::time::timeout(Duration::from_secs(20), let_go.cancelled()).await.expect("the server lets go of it");
    assert!(closed(&mut unread).await.len() < 40_000_000);
    assert!(idle.get("/").await.starts_with("HTTP/1.1 200 "), "who took all there was stays");
}

#[tokio::test]
async fn a90_one_address_has_not_all_connections() {
    let limits = ConnectionLimits { connections_of_one: 3, ..ConnectionLimits::default() };
    let (address, _stop) = listening(wasteful(), limits).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut wire = Wire::open(address).await;
        assert!(wire.get("/").await.starts_with("HTTP/1.1 200 "));
        held.push(wire);
    }
    for _ in 0..5 {
        assert!(closed(&mut Wire::open(address).await).await.is_empty(), "one too many");
    }
    assert!(held[0].get("/").await.starts_with("HTTP/1.1 200 "), "those it has go on");
    drop(held.pop());
    eventually("a place that is free can be had", async || exchange(address, "GET", "/", &[], b"").await.ok()).await;
}

#[tokio::test]
async fn a90_this_computer_private_networks_and_proxies_share_no_limit() {
    let limits = ConnectionLimits { connections_of_one: 3, ..ConnectionLimits::with_neighbours(&[]) };
    let (address, _stop) = listening(wasteful(), limits).await;
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut wire = Wire::open(address).await;
        assert!(wire.get("/").await.starts_with("HTTP/1.1 200 "));
        held.push(wire);
    }
}

/// What a connection of HTTP/2 is told of how many requests it may have at once.
async fn streams(limits: ConnectionLimits) -> u32 {
    let (address, _stop) = listening(wasteful(), limits).await;
    let mut wire = Wire::open(address).await;
    wire.send(with_window(65_535)).await;
    let mut bytes = Vec::new();
    while payloads(&bytes, SETTINGS).is_empty() {
        bytes.extend(wire.some().await);
    }
    // SETTINGS_MAX_CONCURRENT_STREAMS
    let settings = payloads(&bytes, SETTINGS).concat();
    let told = settings.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    u32::from_be_bytes(told[2..].try_into().unwrap())
}

#[tokio::test]
async fn a90_a_stranger_asks_fewer_things_at_once_than_a_proxy() {
    assert_eq!(streams(ConnectionLimits::default()).await, 32);
    assert_eq!(streams(ConnectionLimits::with_neighbours(&[])).await, 100);
}

#[tokio::test]
async fn answers_come_whole_in_pieces_over_both_protocols() {
    let router =
        Router::new().route("/large", get(|| async { (0..1_000_000_u32).flat_map(u32::to_be_bytes).take(1_000_003).collect::<Vec<_>>() }));
    let (address, _stop) = listening(router, ConnectionLimits::default()).await;
    let expected: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).take(1_000_003).collect();
    let answer = exchange(address, "GET", "/large", &[], b"").await.unwrap();
    assert_eq!((answer.header("content-length"), answer.bytes == expected), ("1000003", true));
    let mut wire = Wire::open(address).await;
    let open = frame(8, 0, 0, &2_000_000_u32.to_be_bytes());
    wire.send([with_window(2_000_000), open, frame(HEADERS, 0x5, 1, &asks(address, "/large", ""))].concat()).await;
    let mut bytes = Vec::new();
    while payloads(&bytes, DATA).iter().map(Vec::len).sum::<usize>() < expected.len() {
        let some = wire.some().await;
        assert!(!some.is_empty() && payloads(&bytes, GOAWAY).is_empty());
        bytes.extend(some);
    }
    assert!(payloads(&bytes, DATA).concat() == expected);
}
