//! A key verification that does only what none can do without: read the JSON, hash the key, look it up in memory, answer
//! with a few headers. Run: `verify PORT FILE`, with a key per line in FILE.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    routing::{get, post},
    serve::ListenerExt,
};
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use std::{
    hash::{BuildHasherDefault, Hasher},
    io::{BufRead, BufReader},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A hash is as good a place in the table as any.
#[derive(Default, Clone)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

struct Record {
    id: u64,
    owner: u64,
    expires: u64,
    scopes: u64,
    enabled: bool,
    uses: AtomicU64,
}

struct Keys {
    by_hash: DashMap<[u8; 32], Record, BuildHasherDefault<FirstBytes>>,
    requests: AtomicU64,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    key: &'a str,
    #[serde(borrow)]
    scope: Option<&'a str>,
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    code: &'static str,
    key_id: u64,
    owner: u64,
    expires: u64,
    scopes: &'static [&'static str],
    remaining: u64,
}

const NONE: Verdict = Verdict { valid: false, code: "NOT_FOUND", key_id: 0, owner: 0, expires: 0, scopes: &[], remaining: 0 };

async fn verify(State(keys): State<Arc<Keys>>, body: Bytes) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-request-id"), HeaderValue::from(keys.requests.fetch_add(1, Ordering::Relaxed)));
    let Ok(asked) = serde_json::from_slice::<Asked>(&body) else { return (StatusCode::BAD_REQUEST, headers, Vec::new()) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let verdict = match keys.by_hash.get(blake3::hash(asked.key.as_bytes()).as_bytes()) {
        Some(key) if key.enabled && key.expires > now && (asked.scope.is_none() || key.scopes & 1 == 1) => {
            let uses = key.uses.fetch_add(1, Ordering::Relaxed);
            let remaining = 1_000_000_000_u64.saturating_sub(uses);
            headers.insert(HeaderName::from_static("x-ratelimit-limit"), HeaderValue::from_static("1000000000"));
            headers.insert(HeaderName::from_static("x-ratelimit-remaining"), HeaderValue::from(remaining));
            let scopes = &["audience:read", "email:send"];
            Verdict { valid: true, code: "VALID", key_id: key.id, owner: key.owner, expires: key.expires, scopes, remaining }
        }
        _ => NONE,
    };
    (StatusCode::OK, headers, serde_json::to_vec(&verdict).unwrap_or_default())
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, file] = arguments.as_slice() else { return Err(std::io::Error::other("usage: verify PORT FILE")) };
    let keys = Keys { by_hash: DashMap::default(), requests: AtomicU64::new(0) };
    for (line, id) in BufReader::new(std::fs::File::open(file)?).lines().zip(0..) {
        let record = Record { id, owner: id / 10, expires: 4_000_000_000, scopes: 3, enabled: true, uses: AtomicU64::new(0) };
        keys.by_hash.insert(*blake3::hash(line?.as_bytes()).as_bytes(), record);
    }
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/v1/keys/verify", post(verify))
        .with_state(Arc::new(keys));
    // As many threads as the product has: TOKIO_WORKER_THREADS, else one per core.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), app).await
    })
}
