//! A backup brings back what was there, and nothing that was taken away since.

use super::{
    durable::{fillable, key_row, limit_files, revoke},
    seals::unsealed_journal,
};
use crate::support::{
    process::{Home, ME, asking, mode},
    *,
};
use countersign::store::handle::Store;
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

impl Home {
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.data().parent().unwrap().join(name)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.beside(name).to_str().unwrap().to_owned()
    }

    /// Keeps a journal from the next start on.
    pub(super) fn keeping_a_journal(self) -> Self {
        self.data_with(&format!("[backup]\njournal = {:?}\n", self.path("journal")));
        self
    }

    pub(super) fn backup(&self, name: &str) -> Value {
        serde_json::from_str(&self.run(&["backup", &self.path(name), "--json"], "").ok()).unwrap()
    }

    /// An empty home with the same secret, to restore into.
    pub(super) fn bare(&self) -> Home {
        let bare = Home::new();
        fs::create_dir(bare.data()).unwrap();
        fs::copy(self.data().join("secret"), bare.data().join("secret")).unwrap();
        Command::new("chmod").args(["700", bare.data().to_str().unwrap()]).status().unwrap();
        bare
    }
}

#[tokio::test]
async fn a_backup_is_private_whole_and_without_the_secret() {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    let server = home.serve().await;
    let manifest = home.backup("b");
    let rows = fs::read(home.beside("b/rows")).unwrap();
    assert_eq!((mode(home.beside("b")), mode(home.beside("b/rows")), mode(home.beside("b/manifest.json"))), (0o700, 0o600, 0o600));
    assert_eq!(
        (manifest["blake3"].as_str().unwrap(), manifest["bytes"].as_u64().unwrap()),
        (blake3::hash(&rows).to_hex().as_str(), rows.len() as u64)
    );
    let secret = fs::read(home.data().join("secret")).unwrap();
    let holds = |what: &[u8]| rows.windows(what.len()).any(|window| window == what);
    assert!(!holds(&secret) && !holds(key.as_bytes()) && holds(ME.as_bytes()));
    home.run(&["backup", &home.path("b")], "").ended(1).says("not empty");
    assert!(server.stopped().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_while_others_write_is_one_moment() {
    let home = Home::new();
    home.data_with("[plans.free]\nrequests_per_minute = 1000000000\n");
    let (_, boss) = home.key("keys:write,audience:read");
    home.edit_store(|rows| {
        let owner = rows.accounts().by_email(&ME.parse().unwrap())?.unwrap().id;
        (0..5000).try_for_each(|n| rows.save(&key_row(owner, n)))
    })
    .await;
    let server = home.serve().await;
    // Each writer makes one key after the other: what a moment holds of it begins with the first and has no gap.
    let made: [Arc<AtomicU32>; 4] = Default::default();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (http, boss, made) = (server.http(), boss.clone(), made[writer].clone());
            tokio::spawn(async move {
                loop {
                    let name = format!("{writer}.{}", made.load(SeqCst));
                    let body = serde_json::json!({"name": name, "scopes": ["audience:read"]});
                    assert_eq!(http.post("/v1/keys").bearer(&boss).json(&body).send().await.status, 201);
                    made.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    while made.iter().any(|made| made.load(SeqCst) < 5) {
        tokio::task::yield_now().await;
    }
    let count = || made.each_ref().map(|made| made.load(SeqCst));
    let before = count();
    let program = home.program(&["backup", &home.path("b")]).spawn().unwrap();
    assert!(program.wait_with_output().await.unwrap().status.success());
    let after = count();
    assert!(before.iter().sum::<u32>() < after.iter().sum(), "they wrote meanwhile");
    writers.iter().for_each(tokio::task::JoinHandle::abort);
    server.killed().await;
    let bare = home.bare();
    bare.run(&["restore", &home.path("b"), "--accept-resurrection"], "").ok();
    let store = Store::new(Arc::new(reopen(&bare.data())));
    let owner = store.read(|rows| rows.accounts().by_email(&ME.parse().unwrap())).await.unwrap().unwrap().id;
    let keys = store.read(|rows| rows.keys().of_account(owner)).await.unwrap();
    for writer in 0..4 {
        let prefix = format!("{writer}.");
        let mut held: Vec<u32> =
            keys.iter().filter_map(|key| key.name.to_string().strip_prefix(&prefix).map(|n| n.parse().unwrap())).collect();
        held.sort_unstable();
        assert_eq!(held, (0..held.len() as u32).collect::<Vec<_>>(), "no gap");
        // One may have been written whose reply was still on its way.
        assert!((before[writer]..=after[writer] + 1).contains(&(held.len() as u32)), "{before:?} {} {after:?}", held.len());
    }
}

#[tokio::test]
async fn a_backup_that_was_changed_or_is_not_whole_is_refused() {
    let home = Home::new();
    home.key("audience:read");
    home.backup("b");
    let (rows, manifest) = (home.beside("b/rows"), home.beside("b/manifest.json"));
    let (good_rows, good_manifest) = (fs::read(&rows).unwrap(), fs::read_to_string(&manifest).unwrap());
    let restore = |bare: &Home| bare.run(&["restore", &home.path("b"), "--accept-resurrection"], "");
    let mut flipped = good_rows.clone();
    flipped[100] ^= 1;
    fs::write(&rows, flipped).unwrap();
    restore(&home.bare()).ended(1).says("checksum");
    fs::write(&rows, &good_rows).unwrap();
    fs::write(&manifest, good_manifest.replace("\"in_journal\": false", "\"in_journal\": true")).unwrap();
    restore(&home.bare()).ended(1).says("checksum");
    fs::remove_file(&manifest).unwrap();
    restore(&home.bare()).ended(1).says("no whole backup");
    fs::write(&manifest, good_manifest).unwrap();
    restore(&home.bare()).ended(0);
}

#[tokio::test]
async fn a72_with_its_journal_gone_nothing_is_taken_away_until_it_is_back() {
    let home = Home::new().keeping_a_journal();
    let (id, key) = home.key("audience:read");
    let server = home.serve().await;
    fs::rename(home.beside("journal"), home.beside("moved")).unwrap();
    home.run(&["keys", "revoke", &id, "--yes"], "").ended(1).says("countersign doctor");
    assert!(home.run(&["doctor"], "").ended(1).out().contains("fail  journal"));
    assert_eq!(home.verdict(&key), "VALID");
    fs::rename(home.beside("moved"), home.beside("journal")).unwrap();
    home.run(&["keys", "revoke", &id, "--yes"], "").ok();
    assert!(fs::read_to_string(home.beside("journal")).unwrap().contains(&id));
    server.stopped().await;
    fs::remove_file(home.beside("journal")).unwrap();
    home.run(&["keys", "list"], "").says("the journal is not there");
}

#[tokio::test]
async fn a72_emptied_in_place_the_journal_takes_nothing_until_a_start() {
    let home = Home::new().keeping_a_journal();
    let (first, second) = (home.key("audience:read"), home.key("audience:read"));
    let server = home.serve().await;
    home.run(&["keys", "revoke", &first.0, "--yes"], "").ok();
    fs::write(home.beside("journal"), "").unwrap();
    home.run(&["keys", "revoke", &second.0, "--yes"], "").ended(1).says("countersign doctor");
    assert_eq!(home.verdict(&second.1), "VALID");
    assert_eq!(fs::read(home.beside("journal")).unwrap(), b"", "nothing stands behind a hole");
    server.stopped().await;
}

#[tokio::test]
async fn a72_what_is_no_journal_is_refused_and_stays_as_it_is() {
    let home = Home::new().keeping_a_journal();
    home.key("audience:read");
    let journal = home.beside("journal");
    for other in ["a secret of thirty-two characters", &"ab".repeat(16), &"cd".repeat(32)] {
        fs::write(&journal, other).unwrap();
        home.run(&["keys", "list"], "").ended(1).says("holds something else");
        assert_eq!(fs::read_to_string(&journal).unwrap(), other);
    }
    fs::rename(&journal, home.beside("other")).unwrap();
    std::os::unix::fs::symlink(home.beside("other"), &journal).unwrap();
    home.run(&["keys", "list"], "").ended(1).says("the journal");
    fs::remove_file(&journal).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&journal).status().unwrap().success());
    home.run(&["keys", "list"], "").ended(1).says("is no file");
    home.run(&["doctor"], "").ended(1);
}

#[tokio::test]
async fn a72_revocations_that_a_damaged_store_lost_are_made_again_from_the_journal() {
    let home = Home::new().keeping_a_journal();
    let ((kept_id, kept), (gone_id, gone)) = (home.key("audience:read"), home.key("audience:read"));
    let copied = |from: &str, to: &str| {
        assert!(std::process::Command::new("cp").args(["-a", &home.path(from), &home.path(to)]).status().unwrap().success());
    };
    copied("data/store", "before");
    home.run(&["keys", "revoke", &gone_id, "--yes"], "").ok();
    fs::remove_dir_all(home.data().join("store")).unwrap();
    copied("before", "data/store");
    home.run(&["keys", "list"], "").says("revocations that the journal holds");
    assert_eq!((home.verdict(&kept), home.verdict(&gone)), ("VALID".to_owned(), "REVOKED".to_owned()));
    assert!(!home.run(&["keys", "list"], "").said().contains("the journal holds"), "once");
    assert!(!fs::read_to_string(home.beside("journal")).unwrap().contains(&kept_id));
}

#[tokio::test]
async fn a72_what_was_taken_away_after_the_backup_stays_away() {
    let home = Home::new().keeping_a_journal();
    let ((kept_id, kept), (gone_id, gone)) = (home.key("audience:read"), home.key("audience:read"));
    let server = home.serve().await;
    server.http().register(asking(false)).await.ok();
    server.signed_in().await;
    home.backup("b");
    let (_, later) = home.key("audience:read");
    home.run(&["keys", "revoke", &gone_id, "--yes"], "").ok();
    home.run(&["accounts", "reset-password", "--email", ME, "--password-stdin"], "another good one\n").ok();
    server.killed().await;
    let journal = fs::read_to_string(home.beside("journal")).unwrap();
    assert!(journal.contains(&gone_id) && !journal.contains(&kept_id) && !journal.contains("argon2") && !journal.contains(ME), "{journal}");

    let bare = home.bare();
    let restored = bare.run(&["restore", &home.path("b"), "--journal", &home.path("journal"), "--json"], "").ok();
    let restored: Value = serde_json::from_str(&restored).unwrap();
    assert_eq!((&restored["restored"]["taken_away"], &restored["restored"]["suspended"]), (&2.into(), &0.into()));
    assert_eq!(
        (bare.verdict(&kept), bare.verdict(&gone), bare.verdict(&later)),
        ("VALID".to_owned(), "REVOKED".to_owned(), "NOT_FOUND".to_owned())
    );
    let server = bare.serve().await;
    let mut browser = Browser::over(server.address);
    for password in [PASSWORD, "another good one"] {
        browser.open("/login").await;
        let answer = browser.submit("/login", &[("email", ME), ("password", password)]).await;
        assert_ne!(answer.status, 303, "the old password is void, the new one came after the backup");
    }
    assert!(server.stopped().await.success());
    assert!(bare.run(&["doctor"], "").out().contains("rows hang together"));
}

#[tokio::test]
async fn a84_without_a_journal_that_reaches_past_the_backup_nothing_is_restored_unless_suspended() {
    let home = Home::new().keeping_a_journal();
    let (id, key) = home.key("audience:read");
    home.key("audience:read");
    fs::copy(home.beside("journal"), home.beside("stale")).unwrap();
    home.backup("b");
    home.run(&["keys", "revoke", &id, "--yes"], "").ok();
    let bare = home.bare();
    bare.run(&["restore", &home.path("b")], "").ended(1).says("--accept-resurrection");
    bare.run(&["restore", &home.path("b"), "--journal", &home.path("stale")], "").ended(1).says("--journal");
    bare.run(&["restore", &home.path("b"), "--accept-resurrection"], "").ended(0);
    assert_eq!(bare.verdict(&key), "DISABLED");
    let server = bare.serve().await;
    let mut browser = Browser::over(server.address);
    browser.open("/login").await;
    assert_ne!(browser.submit("/login", &[("email", ME), ("password", PASSWORD)]).await.status, 303, "no old password lives");
    assert!(bare.run(&["keys", "resume", &id], "").ok().contains("Resumed 1 key"));
    assert_eq!(bare.verdict(&key), "VALID");
    bare.run(&["keys", "resume", "--all"], "").ended(2).says("--yes");
    assert!(bare.run(&["keys", "resume", "--all", "--yes"], "").ok().contains("Resumed 1 key"));
    assert!(bare.run(&["keys", "resume", "--all", "--yes"], "").ok().contains("Resumed 0 keys"));
    bare.run(&["restore", &home.path("b"), "--accept-resurrection"], "").ended(1).says("not empty");
}

#[tokio::test]
async fn a84_a_backup_needs_the_secret_it_was_made_with() {
    let home = Home::new();
    home.key("audience:read");
    home.backup("b");
    let bare = home.bare();
    fs::write(bare.data().join("secret"), [1; 32]).unwrap();
    bare.run(&["restore", &home.path("b"), "--accept-resurrection"], "").ended(1).says("not the one the backup was made with");
    fs::remove_file(bare.data().join("secret")).unwrap();
    bare.run(&["restore", &home.path("b"), "--accept-resurrection"], "").ended(1).says("put its file at");
    fs::copy(home.data().join("secret"), bare.data().join("secret")).unwrap();
    bare.run(&["restore", &home.path("b"), "--accept-resurrection"], "").ok();
}

#[tokio::test]
async fn a84_an_approval_that_was_not_fetched_does_not_come_back() {
    let home = Home::new().keeping_a_journal();
    home.key("audience:read");
    let server = home.serve().await;
    let asked = server.http().register(asking(false)).await.ok();
    server.signed_in().await.approve(asked["claim"]["user_code"].as_str().unwrap()).await;
    home.backup("b");
    server.killed().await;
    let bare = home.bare();
    let restored = bare.run(&["restore", &home.path("b"), "--journal", &home.path("journal"), "--json"], "").ok();
    assert_eq!(serde_json::from_str::<Value>(&restored).unwrap()["restored"]["approvals_ended"], 1);
    let server = bare.serve().await;
    server.http().poll(asked["claim_token"].as_str().unwrap()).await.oauth_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_journal_that_can_not_be_written_refuses_what_belongs_there_and_nothing_else() {
    let home = Home::new().keeping_a_journal();
    // Longer than the database, so that a limit on file sizes meets the journal alone.
    let entry = serde_json::json!({"entry": "backup", "id": "x".repeat(1000)}).to_string().into_bytes();
    fs::write(home.beside("journal"), unsealed_journal(&vec![entry; 8000])).unwrap();
    let ((_, boss), (id, key)) = (home.key("keys:revoke"), home.key("audience:read"));
    let server = fillable(&home).await;
    limit_files(&server, "7000000");
    assert_eq!(revoke(&server, &boss, &id).await, 503);
    assert_eq!(home.verdict(&key), "VALID");
    home.key("audience:read");
    limit_files(&server, "unlimited");
    assert_eq!(revoke(&server, &boss, &id).await, 200);
    assert_eq!(home.verdict(&key), "REVOKED");
}

#[tokio::test]
async fn a_journal_that_was_tampered_with_is_not_believed() {
    let home = Home::new().keeping_a_journal();
    let ((one, _), (two, _)) = (home.key("audience:read"), home.key("audience:read"));
    home.backup("b");
    home.run(&["keys", "revoke", &one, "--yes"], "").ok();
    home.run(&["keys", "revoke", &two, "--yes"], "").ok();
    let whole = fs::read_to_string(home.beside("journal")).unwrap();
    let restore = || home.bare().run(&["restore", &home.path("b"), "--journal", &home.path("journal")], "");
    let lines: Vec<&str> = whole.lines().collect();
    fs::write(home.beside("journal"), format!("{}\n{}\n", lines[0], lines[2])).unwrap();
    restore().ended(1).says("line 2 is damaged");
    home.run(&["serve"], "").ended(1).says("line 2 is damaged");
    fs::write(home.beside("journal"), format!("{whole}torn")).unwrap();
    restore().ended(0);
    home.key("audience:read");
    assert_eq!(fs::read_to_string(home.beside("journal")).unwrap(), whole, "what was not whole is cut off");
}

#[tokio::test]
async fn a_rotated_secret_makes_new_keys_and_still_verifies_old_ones() {
    let home = Home::new();
    let (_, old) = home.key("audience:read");
    let before = fs::read(home.data().join("secret")).unwrap();
    home.run(&["secrets", "rotate"], "").ok();
    let after = fs::read(home.data().join("secret")).unwrap();
    assert!(after.len() == 64 && after[32..] == before && mode(home.data().join("secret")) == 0o600);
    let (_, new) = home.key("audience:read");
    assert_eq!((home.verdict(&old), home.verdict(&new)), ("VALID".to_owned(), "VALID".to_owned()));
    fs::write(home.data().join("secret"), &after[..32]).unwrap();
    home.run(&["serve"], "").ended(1).says("not the one this data was made with");
    fs::write(home.data().join("secret"), before).unwrap();
    home.run(&["serve"], "").ended(1).says("not the one this data was made with");
}
