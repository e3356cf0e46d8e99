//! The store's contract, continued: revisions and who follows them, counting, the journal, snapshots, and a disk that is
//! nearly full.

use super::store::{Opens, change, conformance, store};
use crate::support::*;
use countersign::{
    domain::server_secret::Purpose,
    store::{
        access::{Order, Read},
        changes::{AtomicRevision, ChangedRow, Commit, Follower, Revision},
        error::StoreError,
        handle::Store,
        journal::{self, Journal},
        sled::engine::SledEngine,
        table::Table,
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;

conformance!(
    SledEngine,
    sled,
    [
        each_commit_has_a_later_revision_and_a_refused_one_has_none,
        what_is_written_behind_has_no_revision_of_its_own,
        the_feed_tells_each_commit_once_and_in_order,
        a_feed_asked_from_too_long_ago_says_so,
        a_change_is_followed_before_it_is_acknowledged,
        who_begins_to_follow_in_a_storm_misses_nothing,
        who_can_not_begin_anew_is_told_again,
        a_read_names_a_revision_it_saw,
        keys_and_counts_follow_uncommitted_changes,
        a_snapshot_is_one_moment,
        a_note_is_in_the_journal_and_so_is_the_mark_of_a_snapshot,
        on_a_disk_that_is_nearly_full_only_rights_are_taken_away,
    ]
);

/// Rows whose changes are told.
const TOLD: Table = Table::Grants;

/// Copies what keys there are.
#[derive(Default)]
struct Copies {
    revision: AtomicRevision,
    keys: Mutex<BTreeMap<Vec<u8>, bool>>,
    commits: Mutex<Vec<Commit>>,
    /// As if the store could not be read.
    fails: AtomicBool,
    restarts: Mutex<u32>,
}

impl Copies {
    fn keys(&self) -> Vec<Vec<u8>> {
        self.keys.lock().unwrap().keys().cloned().collect()
    }
}

impl Follower for Copies {
    fn revision(&self) -> Revision {
        self.revision.get()
    }

    fn follow(&self, commit: &Commit) {
        assert_eq!(commit.revision, self.revision().next(), "none is left out, and none told twice");
        self.revision.set(commit.revision);
        self.commits.lock().unwrap().push(commit.clone());
        let mut keys = self.keys.lock().unwrap();
        for ChangedRow { key, was, is } in &*commit.rows {
            let Some(key) = TOLD.own(key) else { continue };
            assert_eq!(keys.contains_key(key), *was);
            if *is {
                keys.insert(key.to_vec(), true)
            } else {
                keys.remove(key)
            };
        }
    }

    fn restart(&self, tx: &dyn Read, revision: Revision) -> Result<(), StoreError> {
        *self.restarts.lock().unwrap() += 1;
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Corrupt("on purpose".to_owned()));
        }
        let keys = tx.scan_keys(TOLD, b"", None, Order::Ascending, usize::MAX)?;
        *self.keys.lock().unwrap() = keys.into_iter().map(|key| (key, true)).collect();
        self.revision.set(revision);
        Ok(())
    }
}

async fn put(store: &Store, key: impl Into<Vec<u8>>) {
    let key = key.into();
    change(store, move |tx| tx.put(TOLD, &key, b"x".to_vec())).await.unwrap();
}

async fn stored(store: &Store) -> Vec<Vec<u8>> {
    store.read(|tx| tx.scan_keys(TOLD, b"", None, Order::Ascending, usize::MAX)).await.unwrap()
}

async fn each_commit_has_a_later_revision_and_a_refused_one_has_none<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let mut last = store.revision();
    for key in ["a", "b", "a"] {
        put(&store, key).await;
        assert!(store.revision() > last);
        last = store.revision();
    }
    let refused = store.write(|tx| {
        tx.put(TOLD, b"c", b"x".to_vec());
        Err::<(), _>(StoreError::Corrupt("on purpose".to_owned()))
    });
    assert!(refused.await.is_err());
    assert_eq!((store.revision(), store.changes(last).map(|commits| commits.len())), (last, Some(0)));
}

async fn what_is_written_behind_has_no_revision_of_its_own<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, "a").await;
    let before = store.revision();
    change(&store, |tx| tx.put(Table::UsageDays, b"x|2026-11-30", b"{}".to_vec())).await.unwrap();
    change(&store, |tx| tx.save_setting("clock", &1).unwrap()).await.unwrap();
    assert_eq!(store.revision(), before);
    change(&store, |tx| tx.save_setting("schema", &1).unwrap()).await.unwrap();
    assert!(store.revision() > before);
}

async fn the_feed_tells_each_commit_once_and_in_order<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, "a").await;
    let (since, copies) = (store.revision(), Arc::new(Copies::default()));
    store.follow(copies.clone()).await.unwrap();
    put(&store, "b").await;
    put(&store, "a").await;
    change(&store, |tx| tx.remove(TOLD, b"b")).await.unwrap();
    let row = |key: &str, was, is| ChangedRow { key: [&[TOLD as u8][..], key.as_bytes()].concat(), was, is };
    let told = [row("b", false, true), row("a", true, true), row("b", true, false)];
    let asked = store.changes(since).unwrap();
    let rows = |commits: &[Commit]| commits.iter().flat_map(|commit| commit.rows.to_vec()).collect::<Vec<_>>();
    assert_eq!((rows(&asked), rows(&copies.commits.lock().unwrap())), (told.to_vec(), told.to_vec()));
    assert_eq!(rows(&store.changes(asked[1].revision).unwrap()), told[2..], "from in between");
    assert_eq!((copies.keys(), copies.revision()), (stored(&store).await, store.revision()));
}

async fn a_feed_asked_from_too_long_ago_says_so<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let since = store.revision();
    put(&store, "a").await;
    let later = store.revision();
    assert!(store.changes(since).is_some());
    for n in 0..12_u8 {
        change(&store, move |tx| (0..1000_u16).for_each(|m| tx.put(TOLD, &[&[n][..], &m.to_be_bytes()].concat(), Vec::new())))
            .await
            .unwrap();
    }
    assert!(store.changes(since).is_none() && store.changes(later).is_none());
    assert!(store.changes(store.revision()).is_some_and(|commits| commits.is_empty()));
    assert!(store.changes(store.revision().next()).is_none(), "a revision of another store's");
    // However large a commit is, who is up to date follows it.
    let copies = Arc::new(Copies::default());
    store.follow(copies.clone()).await.unwrap();
    change(&store, |tx| (0..11_000_u32).for_each(|n| tx.put(TOLD, &n.to_be_bytes(), Vec::new()))).await.unwrap();
    assert_eq!((*copies.restarts.lock().unwrap(), copies.commits.lock().unwrap().len()), (1, 1));
}

async fn a_change_is_followed_before_it_is_acknowledged<E: Opens>(dir: &TempDir) {
    let (store, copies) = (store::<E>(dir.path()), Arc::new(Copies::default()));
    store.follow(copies.clone()).await.unwrap();
    let tasks = (0..50_u8).map(|n| {
        let (store, copies) = (store.clone(), copies.clone());
        tokio::spawn(async move {
            put(&store, [n]).await;
            assert!(copies.keys().contains(&vec![n]));
            change(&store, move |tx| tx.remove(TOLD, &[n])).await.unwrap();
            assert!(!copies.keys().contains(&vec![n]));
        })
    });
    futures::future::join_all(tasks).await.into_iter().for_each(|done| done.unwrap());
}

async fn who_begins_to_follow_in_a_storm_misses_nothing<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let storm: Vec<_> = (0..20_u8)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..20_u8 {
                    put(&store, [task, n]).await;
                    if n % 2 == 0 {
                        change(&store, move |tx| tx.remove(TOLD, &[task, n])).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    while storm.iter().any(|task| !task.is_finished()) {
        let copies = Arc::new(Copies::default());
        store.follow(copies.clone()).await.unwrap();
        all.push(copies);
    }
    futures::future::join_all(storm).await.into_iter().for_each(|done| done.unwrap());
    let stored = stored(&store).await;
    assert_eq!(stored.len(), 200);
    assert!(all.len() > 1 && all.iter().all(|copies| copies.keys() == stored));
}

async fn who_can_not_begin_anew_is_told_again<E: Opens>(dir: &TempDir) {
    let (store, copies) = (store::<E>(dir.path()), Arc::new(Copies::default()));
    copies.fails.store(true, Ordering::SeqCst);
    assert_err!(store.follow(copies.clone()).await, StoreError::Corrupt(_));
    put(&store, "a").await;
    assert_eq!(*copies.restarts.lock().unwrap(), 1, "nobody follows who could not begin");
    copies.fails.store(false, Ordering::SeqCst);
    store.follow(copies.clone()).await.unwrap();
    // It fell behind: by more than is remembered.
    change(&store, |tx| (0..11_000_u32).for_each(|n| tx.put(TOLD, &n.to_be_bytes(), b"x".to_vec()))).await.unwrap();
    copies.revision.set(Revision::default());
    change(&store, |tx| (0..11_000_u32).for_each(|n| tx.put(TOLD, &n.to_be_bytes(), Vec::new()))).await.unwrap();
    let stored = stored(&store).await;
    assert_eq!((*copies.restarts.lock().unwrap(), copies.keys()), (3, stored));
}

async fn a_read_names_a_revision_it_saw<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, "a").await;
    let written = store.revision();
    let (found, seen) = store.read_at(|tx| tx.get(TOLD, b"a")).await.unwrap();
    assert!(found.is_some() && seen >= written);
}

async fn keys_and_counts_follow_uncommitted_changes<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    for key in ["a", "b", "c", "d"] {
        put(&store, key).await;
    }
    let (keys, down, few, counted, capped) = store
        .write(|tx| {
            tx.remove(TOLD, b"b");
            tx.put(TOLD, b"bb", Vec::new());
            tx.put(TOLD, b"d", Vec::new());
            tx.put(TOLD, b"e", Vec::new());
            Ok::<_, StoreError>((
                tx.scan_keys(TOLD, b"", None, Order::Ascending, 10)?,
                tx.scan_keys(TOLD, b"", Some(b"e"), Order::Descending, 2)?,
                tx.scan_keys(TOLD, b"b", None, Order::Ascending, 10)?,
                tx.count(TOLD, usize::MAX)?,
                tx.count(TOLD, 3)?,
            ))
        })
        .await
        .unwrap();
    let text = |keys: Vec<Vec<u8>>| keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect::<Vec<_>>().join(" ");
    assert_eq!(text(few), "bb");
    assert_eq!(text(down), "d c");
    assert_eq!(text(keys), "a bb c d e");
    assert_eq!((counted, capped), (5, 3));
    assert_eq!(store.read(|tx| tx.count(TOLD, usize::MAX)).await.unwrap(), 5);
}

async fn a_snapshot_is_one_moment<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    for n in 0..100_u8 {
        put(&store, [n]).await;
    }
    let mut snapshot = store.snapshot(Vec::new()).await.unwrap();
    let mut seen = Vec::new();
    for round in 0_u8.. {
        // Behind, within and before what was read already.
        change(&store, move |tx| {
            tx.remove(TOLD, &[99 - round]);
            tx.put(TOLD, &[round], b"changed".to_vec());
            tx.put(TOLD, &[round, 1], b"new".to_vec());
        })
        .await
        .unwrap();
        let page = (snapshot.pages)(10).unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().filter(|(key, _)| TOLD.own(key).is_some()));
    }
    assert_eq!(seen.len(), 100);
    assert!(seen.iter().all(|(_, value)| value == b"x"), "no row of later");
}

async fn a_note_is_in_the_journal_and_so_is_the_mark_of_a_snapshot<E: Opens>(dir: &TempDir) {
    let path = dir.path().join("journal");
    let seals = || server_secret().seals(Purpose::SealJournal);
    let store = Store::new(Arc::new(E::opened_with(dir.path(), Journal::open(&path, seals()).unwrap())));
    let entries = || journal::read(&path, Some(&seals())).unwrap().into_iter().map(|line| line.entry).collect::<Vec<_>>();
    let noted = |entry: &'static [u8], fails: bool| {
        store.write(move |tx| {
            tx.put(TOLD, b"a", b"x".to_vec());
            tx.note(entry.to_vec());
            if fails { Err(StoreError::Corrupt("on purpose".to_owned())) } else { Ok(()) }
        })
    };
    noted(b"{\"n\":1}", false).await.unwrap();
    assert!(noted(b"{\"n\":2}", true).await.is_err());
    let snapshot = store.snapshot(b"{\"mark\":1}".to_vec()).await.unwrap();
    assert_eq!(entries(), [&b"{\"n\":1}"[..], b"{\"mark\":1}"], "what was refused is not there");
    assert_eq!(snapshot.journal.unwrap().entries, 2);
    // A journal that can't be written takes no such change, and others go on.
    std::fs::remove_file(&path).unwrap();
    assert_err!(noted(b"{\"n\":3}", false).await, StoreError::ReadOnly(_));
    put(&store, "b").await;
}

async fn on_a_disk_that_is_nearly_full_only_rights_are_taken_away<E: Opens>(dir: &TempDir) {
    let store = Store::new(Arc::new(E::opened_nearly_full(dir.path())));
    let (before, copies) = (store.revision(), Arc::new(Copies::default()));
    store.follow(copies.clone()).await.unwrap();
    let refused = change(&store, |tx| tx.put(TOLD, b"more", b"x".to_vec())).await;
    assert_err!(refused, StoreError::ReadOnly(_));
    assert_eq!((store.revision(), stored(&store).await.len()), (before, 0), "nothing of it is there");
    change(&store, |tx| {
        tx.takes_away();
        tx.put(TOLD, b"revoked", b"x".to_vec());
    })
    .await
    .unwrap();
    change(&store, |tx| {
        tx.note(b"{}".to_vec());
        tx.put(TOLD, b"noted", b"x".to_vec());
    })
    .await
    .unwrap();
    assert_eq!((copies.keys(), store.fault().is_none()), (stored(&store).await, true));
    assert_eq!(copies.keys().len(), 2);
}
