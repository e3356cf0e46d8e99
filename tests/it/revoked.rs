//! A revoked key is refused from the reply on, whoever is in the middle of using it. `tests/revoke` asks more often.

use crate::support::process::{Home, Server, text};
use crate::support::*;
use countersign::{
    api::verification::Code,
    domain::secret::ApiKey,
    platform::runtime::Runtime,
    service::{caller::Requirements, services::Services},
    store::{
        changes::{Commit, Follower, Revision},
        engine::{Engine, ReadJob, Snapshot, WriteJob},
        error::StoreError,
        handle::Store,
        sled::engine::SledEngine,
    },
};
use futures::future::BoxFuture;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, Semaphore, watch},
};

const CONNECTIONS: u32 = 64;

/// The ways to ask whether a key is good.
#[derive(Clone, Copy)]
enum Way {
    Itself,
    ForwardAuth,
    Verify,
}

/// A connection that is kept, as clients under load do.
struct Asking {
    stream: TcpStream,
    address: SocketAddr,
    boss: String,
    way: Way,
}

impl Asking {
    async fn is_good(&mut self, key: &str) -> bool {
        let Self { address, boss, way, .. } = self;
        let request = match way {
            Way::Itself => format!("GET /v1/whoami HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n"),
            Way::ForwardAuth => {
                format!("GET /v1/authorize?scope=audience:read HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n")
            }
            Way::Verify => {
                let body = json!({"key": key}).to_string();
                let length = body.len();
                format!(
                    "POST /v1/keys/verify HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {boss}\r\n\
                     content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                )
            }
        };
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let (head, body) = self.answer().await;
        match (self.way, head.split(' ').nth(1)) {
            (Way::Verify, Some("200")) => {
                let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert!(["VALID", "REVOKED"].contains(&said["data"]["code"].as_str().unwrap()), "{said}");
                said["data"]["valid"] == true
            }
            (Way::Itself | Way::ForwardAuth, Some("200")) => true,
            (Way::Itself | Way::ForwardAuth, Some("401")) => false,
            _ => panic!("{head}"),
        }
    }

    async fn answer(&mut self) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "the server went away");
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
            let rest = &bytes[end + 4..];
            if rest.len() >= length {
                return (head, rest.to_vec());
            }
        }
    }
}

/// What the askers share with who revokes.
struct Trial {
    /// Asked by everybody; the number of the trial goes with it.
    key: watch::Sender<(u32, String)>,
    /// The last trial whose key is revoked, and the reply is here.
    revoked: AtomicU32,
    accepted: Semaphore,
    refused: Semaphore,
    late: AtomicU32,
}

async fn asks(trial: Arc<Trial>, mut asking: Asking) {
    let mut keys = trial.key.subscribe();
    while keys.changed().await.is_ok() {
        let (number, key) = keys.borrow_and_update().clone();
        let mut first = true;
        loop {
            let revoked = trial.revoked.load(Ordering::SeqCst) >= number;
            let good = asking.is_good(&key).await;
            trial.late.fetch_add(u32::from(good && revoked), Ordering::SeqCst);
            if good && std::mem::take(&mut first) {
                trial.accepted.add_permits(1);
            }
            if !good {
                break trial.refused.add_permits(1);
            }
        }
    }
}

async fn take(from: &Semaphore) {
    from.acquire_many(CONNECTIONS).await.unwrap().forget();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a52_a_key_that_64_connections_use_is_refused_from_the_reply_on() {
    let times = std::env::var("REVOKE_TIMES").map_or(10, |times| times.parse().unwrap());
    let home = Home::new();
    home.data_with("[plans.free]\nrequests_per_minute = 1000000000\n");
    let (_, boss) = home.key("keys:write,keys:revoke,keys:verify,audience:read");
    let server = home.serve().await;
    let (key, _) = watch::channel((0, String::new()));
    let trial = Trial { key, revoked: AtomicU32::new(0), accepted: Semaphore::new(0), refused: Semaphore::new(0), late: AtomicU32::new(0) };
    let trial = Arc::new(trial);
    let mut askers = Vec::new();
    for n in 0..CONNECTIONS {
        let (stream, way) =
            (TcpStream::connect(server.address).await.unwrap(), [Way::Itself, Way::ForwardAuth, Way::Verify][n as usize % 3]);
        let asking = Asking { stream, address: server.address, boss: boss.clone(), way };
        askers.push(tokio::spawn(asks(trial.clone(), asking)));
    }
    for number in 1..=times {
        let (id, key) = fresh_key(&server, &boss).await;
        trial.key.send_replace((number, key));
        take(&trial.accepted).await;
        let revoked = server.http().call("DELETE", &format!("/v1/keys/{id}")).bearer(&boss).send().await;
        trial.revoked.store(number, Ordering::SeqCst);
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        take(&trial.refused).await;
    }
    assert_eq!(trial.late.load(Ordering::SeqCst), 0);
    println!("{times} keys revoked while {CONNECTIONS} connections used them: none was accepted after the reply");
    assert!(askers.iter().all(|asker| !asker.is_finished()), "all of them asked to the end");
    assert_eq!(server.stopped().await.code(), Some(0));
}

async fn fresh_key(server: &Server, boss: &str) -> (String, String) {
    let made = server.http().post("/v1/keys").bearer(boss).json(&json!({"name": "k", "scopes": ["audience:read"]})).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json()["data"].clone();
    (text(&made, "id"), text(&made, "key"))
}

/// A store whose next read sees what it sees, and comes back when it is told to.
struct Slow {
    inner: SledEngine,
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    armed: AtomicBool,
    has_read: Notify,
    go_on: Notify,
}

impl Engine for Slow {
    fn read<'a>(&'a self, job: ReadJob<'a>) -> BoxFuture<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            let read = self.inner.read(job).await;
            if self.held.armed.swap(false, Ordering::SeqCst) {
                self.held.has_read.notify_one();
                self.held.go_on.notified().await;
            }
            read
        })
    }

    fn write(&self, job: WriteJob) -> BoxFuture<'_, Result<Revision, StoreError>> {
        self.inner.write(job)
    }

    fn snapshot(&self, mark: Vec<u8>) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.inner.snapshot(mark)
    }

    fn fault(&self) -> Option<StoreError> {
        self.inner.fault()
    }

    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn changes(&self, since: Revision) -> Option<Vec<Commit>> {
        self.inner.changes(since)
    }

    fn follow(&self, follower: Arc<dyn Follower>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.follow(follower)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn a52_a_look_up_that_was_under_way_puts_no_revoked_key_back() {
    let mut app = app().await;
    let held = Arc::new(Held::default());
    app.store = Store::new(Arc::new(Slow { inner: reopen(&app.dir.path().join("slow")), held: held.clone() }));
    let service = Services::open(app.service.context.config.clone(), app.store.clone(), server_secret(), Runtime::system()).await.unwrap();
    app.service = Arc::new(service);
    let human = app.human("alice@example.com").await;
    let made = app.key(&human, &["audience:read"]).await;
    let key = ApiKey::presented(made.key.expose()).unwrap();
    held.armed.store(true, Ordering::SeqCst);
    let (service, asked) = (app.service.clone(), key.clone());
    let slow = tokio::spawn(async move { service.verifier.authenticate(Some(&asked), &Requirements::default()).await });
    held.has_read.notified().await;
    app.service.keys.revoke_key(&human.actor(), made.view.id, None, human.source).await.unwrap();
    held.go_on.notify_one();
    // It asked before the reply and may be told either; what it read is not kept.
    let _ = slow.await.unwrap();
    assert_eq!(app.service.verifier.verify_as_operator(key.expose(), Requirements::default()).await.unwrap().code, Code::Revoked);
}
