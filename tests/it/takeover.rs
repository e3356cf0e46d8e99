//! Three MCP clients, a server and a command line on one directory, whose owner is killed again and again.
//! `COUNTERSIGN_TEST_KILLS` says how often; ten times unless it is set.

use crate::support::{process::*, *};
use countersign::{
    instance::control::{
        client::SocketClient,
        request::{ControlRequest, ControlResponse},
    },
    platform::runtime::Runtime,
    store::{access::Order, error::StoreError, handle::Store, sled::engine::SledEngine, table::Table},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    sync::watch,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What came of it.
#[derive(Default)]
struct Seen {
    registrations: Mutex<Vec<String>>,
    links: Mutex<BTreeSet<String>>,
    keys: Mutex<Vec<String>>,
    longest: Mutex<Duration>,
    /// Calls answered so far.
    answered: watch::Sender<usize>,
}

impl Seen {
    fn took(&self, since: Instant) {
        let mut longest = self.longest.lock().unwrap();
        *longest = since.elapsed().max(*longest);
        self.answered.send_modify(|answered| *answered += 1);
    }

    /// Returns once as many calls were answered as there are callers: a kill per call would be no test of anything.
    async fn went_on(&self) {
        let before = *self.answered.borrow();
        self.answered.subscribe().wait_for(|answered| *answered >= before + 4).await.unwrap();
    }
}

/// An MCP client that registers, and is started again when it was killed.
async fn agent(home: Arc<Home>, number: usize, seen: Arc<Seen>, stop: CancellationToken) {
    let mut count = 0;
    while !stop.is_cancelled() {
        let mut child = home.program(&["mcp", "--profile", &number.to_string()]).stderr(Stdio::null()).spawn().unwrap();
        let (mut stdin, mut lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}});
        let mut message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello});
        while !stop.is_cancelled() {
            let asked = Instant::now();
            if stdin.write_all(format!("{message}\n").as_bytes()).await.is_err() {
                break;
            }
            // Its own end is the only one that may leave a call without an answer.
            let Ok(Some(line)) = lines.next_line().await else { break };
            let reply: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "tools/call" {
                seen.took(asked);
                let result = &reply["result"];
                assert_ne!(result["isError"], true, "a call failed: {reply}");
                let result = &result["structuredContent"];
                seen.registrations.lock().unwrap().push(text(result, "registration_id"));
                seen.links.lock().unwrap().insert(text(result, "verification_uri"));
            } else {
                stdin.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n").await.unwrap();
            }
            count += 1;
            let arguments = json!({"agent_name": format!("agent {number} {count}"), "scopes": ["audience:read"]});
            message = json!({"jsonrpc": "2.0", "id": count, "method": "tools/call", "params": {"name": "register_agent", "arguments": arguments}});
        }
        drop(stdin);
        let _ = child.wait().await;
    }
}

/// A server that is started again when it was killed. `serve` outranks `mcp`.
async fn server(home: Arc<Home>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let mut child = home.program(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::select! {
            _ = child.wait() => {}
            () = stop.cancelled() => {
                let _ = child.kill().await;
            }
        }
    }
}

/// Keys made from a shell meanwhile.
async fn shell(home: Arc<Home>, seen: Arc<Seen>, stop: CancellationToken) {
    let mut count = 0;
    while !stop.is_cancelled() {
        count += 1;
        let name = format!("key {count}");
        let asked = Instant::now();
        let made = home.program(&["keys", "create", "--account", ME, "--name", &name, "--scope", "audience:read"]).output().await.unwrap();
        seen.took(asked);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        seen.keys.lock().unwrap().push(name);
    }
}

/// The process that holds the directory, once it answers.
async fn owner(home: &Home) -> i32 {
    eventually("somebody holds the directory", async || {
        let client = SocketClient::of(&home.data()).ok()?;
        match client.ask(&ControlRequest::Status).await {
            Ok(Ok(ControlResponse::Status(standing))) => Some(i32::try_from(standing.pid).unwrap()),
            _ => None,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn however_often_the_owner_dies_no_call_is_lost_and_nothing_is_done_twice() {
    let kills: usize = std::env::var("COUNTERSIGN_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let (home, seen, stop) = (Arc::new(Home::new()), Arc::new(Seen::default()), CancellationToken::new());
    home.run(&["accounts", "create", "--email", ME, "--password-stdin"], &format!("{PASSWORD}\n")).ok();
    let mut running: Vec<_> = (1..=3).map(|n| tokio::spawn(agent(home.clone(), n, seen.clone(), stop.clone()))).collect();
    running.push(tokio::spawn(server(home.clone(), stop.clone())));
    running.push(tokio::spawn(shell(home.clone(), seen.clone(), stop.clone())));
    let mut vacant = Duration::ZERO;
    for kill in 0..kills {
        seen.went_on().await;
        let pid = owner(&home).await;
        // A pause that is what is tested: the kill comes at a random moment of the calls that are under way.
        let [delay] = Runtime::system().bytes();
        tokio::time::sleep(Duration::from_millis(u64::from(delay))).await;
        let signal = if kill % 4 == 3 { "-TERM" } else { "-KILL" };
        std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
        let died = Instant::now();
        eventually("another holds the directory", async || (owner(&home).await != pid).then_some(())).await;
        vacant = vacant.max(died.elapsed());
        let failed = running.iter().position(tokio::task::JoinHandle::is_finished);
        if let Some(failed) = failed {
            running.swap_remove(failed).await.unwrap();
        }
    }
    owner(&home).await;
    stop.cancel();
    for task in running {
        task.await.unwrap();
    }
    let store = {
        let countersign::instance::lock::Acquired::Mine(_lock) = countersign::instance::lock::InstanceLock::acquire(&home.data()).unwrap()
        else {
            panic!("somebody still has the directory")
        };
        Store::new(Arc::new(SledEngine::open(&home.data(), None).unwrap()))
    };
    let (registrations, keys) = store
        .read(|rows| {
            let pending = rows.scan(Table::Pending, &[], None, Order::Ascending, usize::MAX)?;
            let mut names = Vec::new();
            for (_, id) in &pending {
                let found: countersign::domain::registration::transitions::Registration = countersign::store::row::load(rows, id)?.unwrap();
                names.push((String::from_utf8(id.clone()).unwrap(), found.request().agent_name.to_string()));
            }
            let keys = rows.scan(Table::Keys, &[], None, Order::Ascending, usize::MAX)?;
            let mut made = Vec::new();
            for (id, _) in keys {
                made.push(countersign::store::row::load::<countersign::domain::key::Key>(rows, id)?.unwrap().name.to_string());
            }
            Ok::<_, StoreError>((names, made))
        })
        .await
        .unwrap();
    store.close().await;
    let acknowledged = seen.registrations.lock().unwrap();
    let names: BTreeSet<_> = registrations.iter().map(|(_, name)| name).collect();
    let ids: BTreeSet<_> = registrations.iter().map(|(id, _)| id).collect();
    assert_eq!(names.len(), registrations.len(), "a registration was made twice");
    assert!(acknowledged.iter().all(|id| ids.contains(id)), "an acknowledged registration is gone");
    let mut made = seen.keys.lock().unwrap().clone();
    made.sort();
    let mut keys = keys;
    keys.sort();
    assert_eq!(keys, made, "every key once, and none that nobody was told of");
    let links = seen.links.lock().unwrap();
    assert_eq!(links.len(), 1, "a link that was shown leads nowhere: {links:?}");
    println!(
        "{kills} kills: {} registrations, {} keys, longest call {:?}, longest without an owner {vacant:?}",
        acknowledged.len(),
        made.len(),
        seen.longest.lock().unwrap()
    );
}
