//! What is acknowledged lasts: through a full disk, a damaged file, an older or newer program.

use crate::support::process::{Home, ME, Server, asking};
use crate::support::*;
use countersign::{
    domain::{
        environment::Environment,
        id::{AccountId, KeyId},
        key::{Key, Origin},
        server_secret::Purpose,
    },
    service::admin::migrations::{self, SCHEMA},
    store::{error::StoreError, handle::Store, table::Table},
};
use jiff::Timestamp;
use serde_json::Value;
use std::{fs, os::unix::fs::FileExt, process::Command, sync::Arc};

impl Home {
    /// A data directory with this configuration.
    pub(super) fn data_with(&self, config: &str) {
        fs::create_dir_all(self.data()).unwrap();
        fs::write(self.data().join("countersign.toml"), config).unwrap();
    }

    /// A key of an account that is made if it is not there.
    pub(super) fn key(&self, scopes: &str) -> (String, String) {
        self.run(&["accounts", "create", "--email", ME, "--password-stdin"], &format!("{PASSWORD}\n"));
        let made = self.run(&["keys", "create", "--account", ME, "--name", "k", "--scope", scopes, "--json"], "").ok();
        let made: Value = serde_json::from_str(&made).unwrap();
        (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    }

    /// The verdict on a key, whether a server runs or not.
    pub(super) fn verdict(&self, key: &str) -> String {
        self.run(&["keys", "verify"], &format!("{key}\n")).out().lines().next().unwrap_or_default().to_owned()
    }
}

/// What is shown of keys that only fill the store.
pub(super) const SEED: &str = "cs_live_xxxxxxxx";

/// A key nobody has.
pub(super) fn key_row(account: AccountId, n: u32) -> Key {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let [a, b, c, d] = n.to_be_bytes();
    let random = [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d];
    Key {
        id: KeyId::new(now, random),
        account,
        name: "k".parse().unwrap(),
        hash: server_secret().hash(Purpose::ApiKey, &random),
        secret: "s".to_owned(),
        shown: SEED.to_owned(),
        environment: Environment::Live,
        scopes: Default::default(),
        created_at: now,
        expires_at: None,
        revoked: None,
        disabled_at: None,
        disabled_reason: None,
        disabled_with: None,
        parent: None,
        root: None,
        origin: Origin::Human,
        requests_per_minute: None,
        replaces: None,
        replaced_by: None,
        redeliverable: None,
    }
}

/// Sets how long the files of a running program may become.
pub(super) fn limit_files(server: &Server, bytes: &str) {
    let pid = server.child.id().unwrap().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).status().unwrap().success());
}

/// A server whose writes can be made to fail; the signal for that is ignored, as a server without the limit never gets it.
pub(super) async fn fillable(home: &Home) -> Server {
    Server::started(home.in_shell("trap '' XFSZ")).await
}

pub(super) async fn revoke(server: &Server, by: &str, id: &str) -> u16 {
    server.http().call("DELETE", &format!("/v1/keys/{id}")).bearer(by).send().await.status
}

#[tokio::test]
async fn a_disk_that_fails_takes_writes_away_and_gives_them_back_without_a_restart() {
    let home = Home::new();
    home.data_with("[plans.free]\nrequests_per_minute = 1000000\n");
    let ((_, boss), (id, key)) = (home.key("keys:revoke"), home.key("audience:read"));
    let server = fillable(&home).await;
    let before = server.http().register(asking(false)).await.ok();
    limit_files(&server, "1");
    assert_eq!(revoke(&server, &boss, &id).await, 503);
    home.run(&["keys", "revoke", &id, "--yes"], "").ended(1).says("countersign doctor");
    assert!(home.run(&["doctor"], "").ended(1).out().contains("it verifies and changes nothing"));
    assert_eq!(home.verdict(&key), "VALID", "what is not on disk is not shown");
    assert_eq!(server.http().register(asking(false)).await.status, 503);
    assert_eq!(server.http().get("/readyz").send().await.status, 200);
    server.http().poll(before["claim_token"].as_str().unwrap()).await.oauth_error(400, "authorization_pending");
    limit_files(&server, "unlimited");
    let last =
        eventually("changes are taken again", async || Some(revoke(&server, &boss, &id).await).filter(|status| *status != 503)).await;
    assert_eq!((last, home.verdict(&key).as_str()), (200, "REVOKED"));
    server.http().register(asking(false)).await.ok();
    server.killed().await;
    let server = home.serve().await;
    assert_eq!((home.verdict(&key), home.verdict(&boss)), ("REVOKED".to_owned(), "VALID".to_owned()));
    server.http().poll(before["claim_token"].as_str().unwrap()).await.oauth_error(400, "authorization_pending");
}

impl Home {
    /// Changes rows of the stopped store.
    pub(super) async fn edit_store(
        &self,
        edit: impl Fn(&mut dyn countersign::store::access::Write) -> Result<(), StoreError> + Send + 'static,
    ) {
        let store = Store::new(Arc::new(reopen(&self.data())));
        store.write(edit).await.unwrap();
        store.close().await;
    }
}

// Damage, and other versions.

#[tokio::test]
async fn a_damaged_database_is_named_with_the_ways_out() {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    let db = fs::OpenOptions::new().write(true).open(home.data().join("store/db")).unwrap();
    for at in (0..db.metadata().unwrap().len()).step_by(512) {
        db.write_all_at(&[0x5a; 256], at).unwrap();
    }
    home.run(&["serve"], "").ended(1).says("countersign doctor").says("countersign restore");
    home.run(&["keys", "verify"], &key).ended(1).says("countersign restore");
    let said = home.run(&["doctor"], "").ended(1).out();
    assert!(said.contains("fail  store") && said.contains("→ keep the directory as it is"), "{said}");
}

#[tokio::test]
async fn the_doctor_finds_rows_and_index_entries_that_lead_nowhere() {
    let home = Home::new();
    home.key("audience:read");
    assert!(home.run(&["doctor"], "").out().contains("rows hang together"));
    home.edit_store(|rows| {
        let (hash, _) = rows.scan(Table::KeyHashes, &[], None, countersign::store::access::Order::Ascending, 1)?.remove(0);
        rows.remove(Table::KeyHashes, &hash);
        rows.put(Table::Emails, b"nobody@example.com", b"acc_nobody".to_vec());
        rows.put(Table::Grants, b"torn", b"{".to_vec());
        Ok(())
    })
    .await;
    let said = home.run(&["doctor"], "").ended(1).out();
    assert!(
        said.contains("3 of") && said.contains("is not found through KeyHashes") && said.contains("Grants torn: can't be read"),
        "{said}"
    );
}

#[tokio::test]
async fn a75_an_older_program_refuses_newer_data_and_says_so() {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    home.edit_store(|rows| rows.save_setting("schema", &(SCHEMA + 1))).await;
    home.run(&["serve"], "").ended(1).says("newer countersign");
    home.edit_store(|rows| rows.save_setting("schema", &SCHEMA)).await;
    assert_eq!(home.verdict(&key), "VALID", "nothing was touched");
}

#[tokio::test]
async fn a75_data_of_the_first_form_moves_forward_and_its_keys_go_on() {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    home.edit_store(|rows| {
        let secrets: Vec<String> = rows.setting("secrets")?.unwrap();
        rows.erase_setting("secrets");
        rows.save_setting("secret", &secrets[0])?;
        rows.save_setting("schema", &1)
    })
    .await;
    assert_eq!(home.verdict(&key), "VALID");
    fs::write(home.data().join("secret"), [1; 32]).unwrap();
    home.run(&["serve"], "").ended(1).says("not the one this data was made with");
}

#[tokio::test]
async fn a_migration_goes_on_after_the_batch_a_kill_stopped_it_at() {
    use countersign::store::access::Order::Ascending;
    // Marks two rows a batch; the third batch fails while the store says so.
    const STEPS: &[migrations::Migration] = &[|rows, after| {
        if after.as_deref() == Some(&[3]) && rows.get(Table::Counters, b"stop")?.is_some() {
            return Err(StoreError::Unavailable("as a kill would".to_owned()));
        }
        let page = rows.scan(Table::Usage, &[], after.as_deref(), Ascending, 2)?;
        page.iter().for_each(|(key, value)| rows.put(Table::Usage, key, [value.as_slice(), b"!"].concat()));
        Ok(page.last().map(|(key, _)| key.clone()))
    }];
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::new(Arc::new(reopen(dir.path())));
    let put = |rows: &mut dyn countersign::store::access::Write| {
        (0..5u8).for_each(|n| rows.put(Table::Usage, &[n], b"x".to_vec()));
        rows.put(Table::Counters, b"stop", Vec::new());
        rows.save_setting("schema", &1)
    };
    store.write(put).await.unwrap();
    assert!(migrations::migrate(&store, STEPS).await.is_err());
    let go_on = |rows: &mut dyn countersign::store::access::Write| {
        rows.remove(Table::Counters, b"stop");
        Ok::<_, StoreError>(())
    };
    store.write(go_on).await.unwrap();
    migrations::migrate(&store, STEPS).await.unwrap();
    let values = store.read(|rows| rows.scan(Table::Usage, &[], None, Ascending, 9)).await.unwrap();
    assert!(values.len() == 5 && values.iter().all(|(_, value)| value == b"x!"), "each row once: {values:?}");
    assert_eq!(store.read(|rows| rows.setting::<u32>("schema")).await.unwrap(), Some(2));
}

// On disk before the reply.

#[tokio::test]
async fn every_acknowledged_change_is_synced_between_the_request_and_its_reply() {
    let home = Home::new();
    home.key("audience:read");
    let trace = home.data().join("../trace");
    let calls = "trace=fdatasync,write,writev,sendto,sendmsg";
    let server = Server::started(home.below(&["strace", "-D", "-f", "-y", "-s", "16", "-e", calls, "-o", trace.to_str().unwrap()])).await;
    for _ in 0..5 {
        server.http().register(asking(false)).await.ok();
    }
    // With `-D` it is the program that is killed, and the tracer tells of it last.
    server.killed().await;
    let trace = loop {
        let trace = fs::read_to_string(&trace).unwrap();
        if trace.trim_end().ends_with("+++ killed by SIGKILL +++") {
            break trace;
        }
        tokio::task::yield_now().await;
    };
    let (mut synced, mut replies) = (false, 0);
    let mut under_way = std::collections::HashSet::new();
    for line in trace.lines() {
        let thread = line.split(' ').next().unwrap();
        if line.contains("fdatasync(") && line.contains("/store/db>") {
            under_way.insert(thread);
        }
        if line.contains("fdatasync") && line.ends_with("= 0") {
            synced |= under_way.remove(thread);
        }
        if line.contains("\"HTTP/1.1 200") {
            assert!(std::mem::take(&mut synced), "a reply without fdatasync before it: {line}");
            replies += 1;
        }
    }
    assert_eq!(replies, 5, "{trace}");
}
