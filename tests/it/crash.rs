//! Killed at any moment, under load and while it opens: everything acknowledged is there, nothing is torn, and no
//! revoked key works. `tests/crash` runs it longer, over a larger store.

use super::durable::{SEED, key_row};
use crate::support::{
    process::{Home, ME, Server, asking, text},
    *,
};
use countersign::store::handle::Store;
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What the agents and humans were told last; `Unknown` while they wait for an answer, and if none came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Good,
    Revoked,
    Unknown,
}

#[derive(Default)]
struct Ledger {
    /// Keys by id, with their secret.
    keys: HashMap<String, (String, Told)>,
    /// Claim tokens of registrations: waiting, or approved; `Unknown` ones may be either.
    claims: HashMap<String, (String, Told)>,
    /// Keys something was said of since the last comparison.
    lately: HashSet<String>,
    acknowledged: usize,
}

/// Keys of earlier rounds that are looked at again after each kill.
const SOME: usize = 200;

type Shared = Arc<Mutex<Ledger>>;

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

impl Ledger {
    fn told(&mut self, key: &str, told: Told) {
        self.keys.get_mut(key).unwrap().1 = told;
        self.lately.insert(key.to_owned());
        self.acknowledged += usize::from(told != Told::Unknown);
    }

    fn made(&mut self, id: String, secret: String) {
        self.lately.insert(id.clone());
        self.keys.insert(id, (secret, Told::Good));
    }

    fn pick(from: &HashMap<String, (String, Told)>, told: Told, at: u32) -> Option<(&String, &String)> {
        let fit: Vec<_> = from.iter().filter(|(_, (_, t))| *t == told).map(|(id, (secret, _))| (id, secret)).collect();
        fit.get(at as usize % fit.len().max(1)).copied()
    }
}

/// One agent, human or owner: does one thing after another until the server is gone.
async fn works(http: Http, mut browser: Browser, boss: String, ledger: Shared, seed: u64) {
    let draws = Seeded::new(seed);
    while step(&http, &mut browser, &boss, &ledger, &draws).await.is_some() {}
}

/// `None` once the server is gone.
async fn step(http: &Http, browser: &mut Browser, boss: &str, ledger: &Shared, draws: &Seeded) -> Option<()> {
    let (what, at) = (draws.below(10), draws.below(u32::MAX));
    match what {
        0..3 => {
            let body = json!({"name": "made", "scopes": ["audience:read"]});
            let made = http.post("/v1/keys").bearer(boss).json(&body).try_send().await.ok()?;
            assert_eq!(made.status, 201, "{}", made.text());
            let made = made.json()["data"].clone();
            let mut ledger = ledger.lock().unwrap();
            ledger.made(text(&made, "id"), text(&made, "key"));
            ledger.acknowledged += 1;
        }
        3..5 => {
            let picked = {
                let mut ledger = ledger.lock().unwrap();
                let picked = Ledger::pick(&ledger.keys, Told::Good, at).map(|(id, key)| (id.clone(), key.clone()));
                picked.inspect(|(id, _)| ledger.told(id, Told::Unknown))
            };
            let Some((id, key)) = picked else { return Some(()) };
            let revoked = http.call("DELETE", &format!("/v1/keys/{id}")).bearer(boss).try_send().await.ok()?;
            assert_eq!(revoked.status, 200, "{}", revoked.text());
            ledger.lock().unwrap().told(&id, Told::Revoked);
            assert_eq!(http.get("/v1/whoami").bearer(&key).try_send().await.ok()?.status, 401, "{id} was revoked");
        }
        5..7 => {
            let asked = http.post("/agent/identity").json(&asking(false)).try_send().await.ok()?.ok();
            let mut ledger = ledger.lock().unwrap();
            ledger.claims.insert(text(&asked, "claim_token"), (text(&asked["claim"], "user_code"), Told::Good));
            ledger.acknowledged += 1;
        }
        7 => {
            let picked = {
                let mut ledger = ledger.lock().unwrap();
                let picked = Ledger::pick(&ledger.claims, Told::Good, at).map(|(token, code)| (token.clone(), code.clone()));
                picked.inspect(|(token, _)| ledger.claims.get_mut(token).unwrap().1 = Told::Unknown)
            };
            let Some((token, code)) = picked else { return Some(()) };
            browser.try_send(http.get("/claim")).await.ok()?;
            let entered = browser.try_submit("/claim", &[("code", &code)]).await.ok()?;
            assert_eq!(entered.status, 303, "{}", entered.text());
            let path = entered.location().to_owned();
            browser.try_send(http.get(&path)).await.ok()?;
            let approved = browser.try_submit(&path, &[("decision", "approve")]).await.ok()?;
            assert_eq!(approved.status, 303, "{}", approved.text());
            let delivered = http.post("/oauth2/token").json(&json!({"grant_type": CLAIM_GRANT, "claim_token": token}));
            let delivered = delivered.try_send().await.ok()?.ok();
            let mut ledger = ledger.lock().unwrap();
            ledger.claims.remove(&token);
            ledger.made(text(&delivered, "key_id"), text(&delivered, "access_token"));
            ledger.acknowledged += 2;
        }
        _ => {
            let picked = Ledger::pick(&ledger.lock().unwrap().keys, Told::Good, at).map(|(id, key)| (id.clone(), key.clone()));
            let Some((id, key)) = picked else { return Some(()) };
            let status = http.get("/v1/whoami").bearer(&key).try_send().await.ok()?.status;
            let good = ledger.lock().unwrap().keys[&id].1 == Told::Good;
            assert!(!good || status == 200, "{id} is good and got {status}");
        }
    }
    Some(())
}

/// What anybody was told is so; what nobody was told is decided now. `all` of it, or what was said since the last
/// comparison and some of the rest.
async fn compare(server: &Server, ledger: &Shared, all: bool) {
    let (keys, claims) = {
        let mut ledger = ledger.lock().unwrap();
        let lately = std::mem::take(&mut ledger.lately);
        let some = ledger.keys.len() / SOME + 1;
        let due = |(n, (id, _)): &(usize, (&String, &(String, Told)))| all || lately.contains(*id) || n % some == 0;
        let keys: Vec<_> = ledger.keys.iter().enumerate().filter(due).map(|(_, (id, key))| (id.clone(), key.clone())).collect();
        (keys, ledger.claims.clone())
    };
    for (id, (key, told)) in keys {
        let status = server.http().get("/v1/whoami").bearer(&key).send().await.status;
        match told {
            Told::Good => assert_eq!(status, 200, "{id} was acknowledged"),
            Told::Revoked => assert_eq!(status, 401, "the end of {id} was acknowledged"),
            Told::Unknown => ledger.lock().unwrap().keys.get_mut(&id).unwrap().1 = if status == 200 { Told::Good } else { Told::Revoked },
        }
    }
    for (token, (_, told)) in claims {
        let answer = server.http().poll(&token).await;
        match told {
            Told::Good => assert!(["authorization_pending", "slow_down"].contains(&answer.json()["error"].as_str().unwrap())),
            Told::Revoked | Told::Unknown => {
                // Bound or decided, whole in either case: approved now, or still waiting, or its key was fetched.
                ledger.lock().unwrap().claims.remove(&token);
                if answer.status == 200 {
                    server.http().get("/v1/whoami").bearer(&text(&answer.json(), "access_token")).send().await.ok();
                }
            }
        }
    }
}

/// Starts the program and kills it before it is ready.
async fn killed_while_it_opens(home: &Home, after: Duration) {
    let mut child = home.program(&["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    // The pause is what is tested: a kill at any moment of its start.
    tokio::time::sleep(after).await;
    child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a71_killed_again_and_again_under_load_nothing_acknowledged_is_lost_and_nothing_torn() {
    let (kills, many) = (number("CRASH_KILLS", 20), number("CRASH_KEYS", 2000));
    let (home, draws, ledger) = (Home::new(), Seeded::new(u64::from(number("CRASH_SEED", 1))), Shared::default());
    home.data_with("[plans.free]\nrequests_per_minute = 1000000000\n[claim]\ncode_ttl = \"1d\"\nregistration_ttl = \"1d\"\n");
    let (_, boss) = home.key("keys:write,keys:revoke,audience:read");
    let store = Store::new(Arc::new(reopen(&home.data())));
    let owner = store.read(|rows| rows.accounts().by_email(&ME.parse().unwrap())).await.unwrap().unwrap().id;
    for first in (0..many).step_by(1000) {
        let range = first..many.min(first + 1000);
        store.write(move |rows| range.clone().try_for_each(|n| rows.save(&key_row(owner, n)))).await.unwrap();
    }
    store.close().await;
    drop(store);
    // One address and one sign-in for all lives: sessions outlive kills, too.
    let first = home.serve().await;
    let (at, browser) = (first.address.to_string(), first.signed_in().await);
    first.killed().await;
    for round in 1..kills {
        if round % 10 == 5 {
            killed_while_it_opens(&home, Duration::from_millis(u64::from(draws.below(300)))).await;
            continue;
        }
        let server = home.serve_at(&at).await;
        compare(&server, &ledger, false).await;
        let workers: Vec<_> = (0..6)
            .map(|n| works(server.http(), browser.clone(), boss.clone(), ledger.clone(), u64::from(round) * 100 + n))
            .map(tokio::spawn)
            .collect();
        // The same: a kill at any moment of the load.
        tokio::time::sleep(Duration::from_millis(u64::from(100 + draws.below(600)))).await;
        server.killed().await;
        for worker in workers {
            worker.await.unwrap();
        }
    }
    let server = home.serve_at(&at).await;
    compare(&server, &ledger, true).await;
    assert!(server.stopped().await.success());
    let said = home.run(&["doctor"], "").out();
    assert!(said.contains("rows hang together"), "{said}");
    let acknowledged = ledger.lock().unwrap().acknowledged;
    println!("{kills} kills, {acknowledged} acknowledged changes, {many} keys beside them");
    assert!(acknowledged > kills as usize, "the load did something: {acknowledged}");
    let store = Store::new(Arc::new(reopen(&home.data())));
    let keys = store.read(|rows| rows.keys().of_account(owner)).await.unwrap();
    assert_eq!(keys.iter().filter(|key| key.shown == SEED).count(), many as usize);
}
