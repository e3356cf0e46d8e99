//! The store's contract, as one suite of generic functions, run for every engine.

use super::durable::key_row;
use crate::support::*;
use countersign::{
    domain::{account::Account, id::AccountId, key::Key, server_secret::Purpose},
    instance::lock::{Acquired, Holder, InstanceLock},
    store::{
        access::{Order, Rows, Write},
        engine::Engine,
        error::StoreError,
        handle::Store,
        journal::Journal,
        sled::engine::SledEngine,
        table::Table,
    },
};
use jiff::Timestamp;
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

/// An engine the suite can open, close and open again.
pub trait Opens: Engine + Sized + 'static {
    fn opened(dir: &Path) -> Self;
    fn opened_with(dir: &Path, journal: Journal) -> Self;
    /// Opens one whose disk is nearly full.
    fn opened_nearly_full(dir: &Path) -> Self;
}

impl Opens for SledEngine {
    fn opened(dir: &Path) -> Self {
        reopen(dir)
    }

    fn opened_with(dir: &Path, journal: Journal) -> Self {
        Self::open(dir, Some(journal)).unwrap()
    }

    fn opened_nearly_full(dir: &Path) -> Self {
        let disk = rustix::fs::statvfs(dir).unwrap();
        // More than there is, and half of it is there: what is kept for changes that take rights away.
        Self::open_with_room(dir, None, disk.f_bavail * disk.f_frsize / 2 * 3).unwrap()
    }
}

pub fn store<E: Opens>(dir: &Path) -> Store {
    Store::new(Arc::new(E::opened(dir)))
}

/// One module of tests per engine.
macro_rules! conformance {
    ($engine:ident, $module:ident, [$($fact:ident),+ $(,)?]) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $fact() {
                    let dir = tempfile::TempDir::new().unwrap();
                    super::$fact::<super::$engine>(&dir).await;
                }
            )+
        }
    };
}

pub(crate) use conformance;

conformance!(
    SledEngine,
    sled,
    [
        an_error_changes_nothing,
        what_was_acknowledged_is_read_back,
        a_thousand_increments_from_fifty_tasks_count_a_thousand,
        a_single_use_row_is_taken_by_one_of_fifty,
        tables_do_not_mix,
        a_scan_is_ordered_bounded_and_inside_its_prefix,
        a_scan_after_a_key_outside_the_prefix_stays_inside_it,
        a_transaction_scans_its_own_changes,
        a_transaction_sees_earlier_jobs_of_its_group,
        a_failed_job_of_a_group_leaves_the_others,
        a88_a_job_that_panics_fails_alone,
        a88_a_read_that_panics_fails_alone,
        a88_a_panic_outside_a_job_ends_the_store,
        indexes_follow_their_row,
        a_reopened_store_has_everything_acknowledged,
        a_closed_store_refuses_everything,
    ]
);

pub const T: Table = Table::Usage;

/// A transaction that looks at nothing.
pub async fn change(store: &Store, change: impl Fn(&mut dyn Write) + Send + 'static) -> Result<(), StoreError> {
    store
        .write(move |rows| {
            change(rows);
            Ok(())
        })
        .await
}

async fn put(store: &Store, key: &'static [u8], value: &'static [u8]) {
    change(store, move |rows| rows.put(T, key, value.to_vec())).await.unwrap();
}

async fn get(store: &Store, key: &[u8]) -> Option<Vec<u8>> {
    store.read(|rows| rows.get(T, key)).await.unwrap()
}

async fn scan(store: &Store, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Vec<String> {
    names(store.read(|rows| rows.scan(T, prefix, after, order, limit)).await.unwrap())
}

fn names(rows: Rows) -> Vec<String> {
    rows.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

async fn an_error_changes_nothing<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, b"kept", b"1").await;
    let refused: Result<(), StoreError> = store
        .write(|rows| {
            rows.put(T, b"new", b"1".to_vec());
            rows.put(T, b"kept", b"2".to_vec());
            rows.remove(T, b"kept");
            Err(StoreError::Corrupt("on purpose".to_owned()))
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))));
    assert_eq!((get(&store, b"new").await, get(&store, b"kept").await), (None, Some(b"1".to_vec())));
}

async fn what_was_acknowledged_is_read_back<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, b"a", b"1").await;
    put(&store, b"a", b"2").await;
    assert_eq!(get(&store, b"a").await, Some(b"2".to_vec()));
    change(&store, |rows| rows.remove(T, b"a")).await.unwrap();
    assert_eq!(get(&store, b"a").await, None);
}

async fn a_thousand_increments_from_fifty_tasks_count_a_thousand<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    store
                        .write(|rows| {
                            let n: u64 = rows.setting("n")?.unwrap_or(0);
                            rows.save_setting("n", &(n + 1))
                        })
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    futures::future::join_all(tasks).await.into_iter().for_each(|done| done.unwrap());
    assert_eq!(store.read(|rows| rows.setting::<u64>("n")).await.unwrap(), Some(1000));
}

async fn a_single_use_row_is_taken_by_one_of_fifty<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, b"once", b"1").await;
    let tasks = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(|rows| {
                    let there = rows.get(T, b"once")?.is_some();
                    rows.remove(T, b"once");
                    Ok::<_, StoreError>(there)
                })
                .await
                .unwrap()
        })
    });
    let took = futures::future::join_all(tasks).await.into_iter().filter(|took| *took.as_ref().unwrap()).count();
    assert_eq!(took, 1);
}

async fn tables_do_not_mix<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    store
        .write(|rows| {
            for &table in Table::ALL {
                rows.put(table, b"same", vec![table as u8]);
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    for &table in Table::ALL {
        let found = store.read(|rows| rows.scan(table, b"", None, Order::Ascending, 10)).await.unwrap();
        assert_eq!(found, vec![(b"same".to_vec(), vec![table as u8])]);
    }
}

async fn filled<E: Opens>(dir: &TempDir) -> Store {
    let store = store::<E>(dir.path());
    store
        .write(|rows| {
            for key in ["a", "b", "b|1", "b|2", "b|3", "b\u{7f}", "c"] {
                rows.put(T, key.as_bytes(), b"x".to_vec());
            }
            rows.put(Table::Grants, b"b|0", b"another table".to_vec());
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    store
}

async fn a_scan_is_ordered_bounded_and_inside_its_prefix<E: Opens>(dir: &TempDir) {
    use Order::{Ascending, Descending};
    let store = filled::<E>(dir).await;
    assert_eq!(scan(&store, b"b|", None, Ascending, 10).await, ["b|1", "b|2", "b|3"]);
    assert_eq!(scan(&store, b"b|", None, Descending, 10).await, ["b|3", "b|2", "b|1"]);
    assert_eq!(scan(&store, b"b|", None, Ascending, 2).await, ["b|1", "b|2"]);
    assert_eq!(scan(&store, b"b|", None, Descending, 2).await, ["b|3", "b|2"]);
    assert_eq!(scan(&store, b"b|", Some(b"b|1"), Ascending, 10).await, ["b|2", "b|3"]);
    assert_eq!(scan(&store, b"b|", Some(b"b|3"), Descending, 10).await, ["b|2", "b|1"]);
    assert!(scan(&store, b"b|", Some(b"b|3"), Ascending, 10).await.is_empty());
    assert!(scan(&store, b"b|", Some(b"b|1"), Descending, 10).await.is_empty());
    assert!(scan(&store, b"b|", None, Ascending, 0).await.is_empty());
    assert!(scan(&store, b"zz", None, Ascending, 10).await.is_empty());
    assert_eq!(scan(&store, b"", None, Ascending, 100).await, ["a", "b", "b|1", "b|2", "b|3", "b\u{7f}", "c"]);
    assert_eq!(scan(&store, b"", None, Descending, 1).await, ["c"]);
}

async fn a_scan_after_a_key_outside_the_prefix_stays_inside_it<E: Opens>(dir: &TempDir) {
    use Order::{Ascending, Descending};
    let store = filled::<E>(dir).await;
    assert_eq!(scan(&store, b"b|", Some(b"a"), Ascending, 10).await, ["b|1", "b|2", "b|3"]);
    assert_eq!(scan(&store, b"b|", Some(b"zz"), Descending, 10).await, ["b|3", "b|2", "b|1"]);
    assert!(scan(&store, b"b|", Some(b"zz"), Ascending, 10).await.is_empty());
    assert!(scan(&store, b"b|", Some(b"a"), Descending, 10).await.is_empty());
}

async fn a_transaction_scans_its_own_changes<E: Opens>(dir: &TempDir) {
    let store = filled::<E>(dir).await;
    let (up, down, few) = store
        .write(|rows| {
            rows.remove(T, b"b|1");
            rows.remove(T, b"b|2");
            rows.put(T, b"b|0", b"x".to_vec());
            rows.put(T, b"b|4", b"x".to_vec());
            rows.put(T, b"b|5", b"x".to_vec());
            rows.remove(T, b"b|5");
            Ok::<_, StoreError>((
                rows.scan(T, b"b|", None, Order::Ascending, 10)?,
                rows.scan(T, b"b|", None, Order::Descending, 10)?,
                rows.scan(T, b"b|", Some(b"b|0"), Order::Ascending, 1)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(names(up), ["b|0", "b|3", "b|4"]);
    assert_eq!(names(down), ["b|4", "b|3", "b|0"]);
    assert_eq!(names(few), ["b|3"]);
}

/// A job that holds the writer up, so that those sent behind it share one group.
fn gate() -> (std::sync::mpsc::Sender<()>, impl Fn() + Send + 'static) {
    let (open, closed) = std::sync::mpsc::channel::<()>();
    let closed = std::sync::Mutex::new(closed);
    (open, move || {
        let _ = closed.lock().unwrap().recv();
    })
}

async fn a_transaction_sees_earlier_jobs_of_its_group<E: Opens>(dir: &TempDir) {
    let store = filled::<E>(dir).await;
    let (open, wait) = gate();
    let first = store.write(move |rows| {
        wait();
        rows.put(T, b"b|0", b"group".to_vec());
        rows.remove(T, b"b|3");
        Ok::<_, StoreError>(())
    });
    let second = store.write(|rows| {
        rows.remove(T, b"b|1");
        Ok::<_, StoreError>((rows.get(T, b"b|0")?, rows.scan(T, b"b|", None, Order::Ascending, 10)?))
    });
    let third = store.write(|rows| rows.scan(T, b"b|", None, Order::Descending, 10));
    let opener = async {
        tokio::task::yield_now().await;
        open.send(()).unwrap();
    };
    let (first, second, third, ()) = futures::join!(first, second, third, opener);
    first.unwrap();
    let (zero, seen) = second.unwrap();
    assert_eq!((zero, names(seen)), (Some(b"group".to_vec()), vec!["b|0".to_owned(), "b|2".to_owned()]));
    assert_eq!(names(third.unwrap()), ["b|2", "b|0"]);
}

async fn a_failed_job_of_a_group_leaves_the_others<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let (open, wait) = gate();
    let first = change(&store, move |rows| {
        wait();
        rows.put(T, b"first", b"1".to_vec());
    });
    let failing = store.write(|rows| {
        rows.put(T, b"first", b"overwritten".to_vec());
        rows.put(T, b"failed", b"1".to_vec());
        Err::<(), _>(StoreError::Corrupt("on purpose".to_owned()))
    });
    let third = store.write(|rows| Ok::<_, StoreError>((rows.get(T, b"first")?, rows.get(T, b"failed")?)));
    let opener = async {
        tokio::task::yield_now().await;
        open.send(()).unwrap();
    };
    let (first, failing, third, ()) = futures::join!(first, failing, third, opener);
    assert!(first.is_ok() && failing.is_err());
    assert_eq!(third.unwrap(), (Some(b"1".to_vec()), None));
}

fn panics() -> Result<(), StoreError> {
    panic!("on purpose")
}

async fn a88_a_job_that_panics_fails_alone<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let (open, wait) = gate();
    let first = change(&store, move |rows| {
        wait();
        rows.put(T, b"first", b"1".to_vec());
    });
    let panicking = store.write(|rows| {
        rows.put(T, b"first", b"overwritten".to_vec());
        rows.put(T, b"half", b"1".to_vec());
        rows.note(b"{}".to_vec());
        panics()
    });
    let third = store.write(|rows| Ok::<_, StoreError>((rows.get(T, b"first")?, rows.get(T, b"half")?)));
    let opener = async {
        tokio::task::yield_now().await;
        open.send(()).unwrap();
    };
    let (first, panicking, third, ()) = futures::join!(first, panicking, third, opener);
    first.unwrap();
    assert_err!(panicking, StoreError::Panicked);
    assert_eq!(third.unwrap(), (Some(b"1".to_vec()), None));
    // Again and again: it goes on.
    for n in 0..5u8 {
        assert_err!(store.write(|_| panics()).await, StoreError::Panicked);
        change(&store, move |rows| rows.put(T, &[n], vec![n])).await.unwrap();
    }
    assert_eq!((get(&store, &[4]).await, store.fault().is_none()), (Some(vec![4]), true));
}

async fn a88_a_read_that_panics_fails_alone<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, b"a", b"1").await;
    assert_err!(store.read(|_| panics()).await, StoreError::Panicked);
    assert_eq!(get(&store, b"a").await, Some(b"1".to_vec()));
    put(&store, b"a", b"2").await;
}

async fn a88_a_panic_outside_a_job_ends_the_store<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, b"a", b"1").await;
    store.follow(Arc::new(Panics(Arc::new(true.into())))).await.unwrap();
    let ended = tokio::spawn({
        let store = store.clone();
        async move { store.ended().await }
    });
    assert_err!(change(&store, |rows| rows.put(Table::Meta, b"b", vec![1])).await, StoreError::Unavailable(_));
    ended.await.unwrap();
    assert!(store.fault().is_some(), "it says so");
    assert_err!(store.read(|rows| rows.get(T, b"a")).await, StoreError::Unavailable(_));
    assert_err!(change(&store, |rows| rows.put(T, b"c", vec![1])).await, StoreError::Unavailable(_));
    store.close().await;
    drop(store);
    let again = self::store::<E>(dir.path());
    assert_eq!(get(&again, b"a").await, Some(b"1".to_vec()));
}

async fn indexes_follow_their_row<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let account = AccountId::new(Timestamp::UNIX_EPOCH, [1; 16]);
    let parent = key_row(account, 1);
    let child = Key { parent: Some(parent.id), ..key_row(account, 2) };
    let moved = Key { hash: server_secret().hash(Purpose::ApiKey, b"moved"), ..child.clone() };
    let (p, c, m) = (parent.clone(), child.clone(), moved.clone());
    store
        .write(move |rows| {
            rows.save(&p)?;
            rows.save(&c)?;
            rows.save(&m)
        })
        .await
        .unwrap();
    let found = store
        .read(|rows| {
            Ok::<_, StoreError>((
                rows.keys().by_hash(&child.hash)?.is_none(),
                rows.keys().by_hash(&moved.hash)?.map(|key| key.id),
                rows.keys().of_account(account)?.len(),
                rows.keys().children(parent.id)?.len(),
            ))
        })
        .await
        .unwrap();
    assert_eq!(found, (true, Some(child.id), 2, 1));
    change(&store, move |rows| rows.erase(&moved)).await.unwrap();
    let left = store
        .read(|rows| {
            let mut left = 0;
            for table in [Table::Keys, Table::KeyHashes, Table::AccountKeys, Table::Children] {
                left += rows.scan(table, b"", None, Order::Ascending, 10)?.len();
            }
            Ok::<_, StoreError>(left)
        })
        .await
        .unwrap();
    assert_eq!(left, 3, "the parent's row, hash and list entry");
}

async fn a_reopened_store_has_everything_acknowledged<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    let tasks = (0..100u32).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { change(&store, move |rows| rows.put(T, &n.to_be_bytes(), vec![1])).await })
    });
    futures::future::join_all(tasks).await.into_iter().for_each(|done| done.unwrap().unwrap());
    store.close().await;
    drop(store);
    let again = self::store::<E>(dir.path());
    assert_eq!(again.read(|rows| rows.scan(T, b"", None, Order::Ascending, 1000)).await.unwrap().len(), 100);
}

async fn a_closed_store_refuses_everything<E: Opens>(dir: &TempDir) {
    let store = store::<E>(dir.path());
    put(&store, b"a", b"1").await;
    store.close().await;
    assert_err!(change(&store, |rows| rows.put(T, b"late", vec![1])).await, StoreError::Unavailable(_));
    assert_err!(store.read(|rows| rows.get(T, b"a")).await, StoreError::Unavailable(_));
}

#[tokio::test]
async fn pages_of_an_index_follow_one_another_without_gap_or_repeat() {
    let dir = TempDir::new().unwrap();
    let store = store::<SledEngine>(dir.path());
    let account = AccountId::new(Timestamp::UNIX_EPOCH, [1; 16]);
    store.write(move |rows| (0..25).try_for_each(|n| rows.save(&key_row(account, n)))).await.unwrap();
    let (mut after, mut ids) = (None, Vec::new());
    loop {
        let page = store.read(|tx| tx.keys().list(Some(account), after, 10)).await.unwrap();
        ids.extend(page.rows.into_iter().map(|key| key.id));
        after = ids.last().copied();
        if page.is_last {
            break;
        }
    }
    assert!(ids.len() == 25 && ids.is_sorted_by(|a, b| a > b));
}

#[test]
fn a_half_written_snapshot_is_removed_at_open() {
    let dir = TempDir::new().unwrap();
    drop(reopen(dir.path()));
    let half = dir.path().join("store").join("snap.0000000000000ABC.generating");
    std::fs::write(&half, b"half").unwrap();
    drop(reopen(dir.path()));
    assert!(!half.exists());
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let dir = TempDir::new().unwrap();
    let Acquired::Mine(mut lock) = InstanceLock::acquire(dir.path()).unwrap() else { panic!("the first takes it") };
    assert!(matches!(InstanceLock::acquire(dir.path()).unwrap(), Acquired::Theirs(None)));
    lock.announce(&Holder { pid: 42, role: "serve".to_owned(), url: "http://127.0.0.1:4080".to_owned(), socket: Default::default() })
        .unwrap();
    let Acquired::Theirs(Some(owner)) = InstanceLock::acquire(dir.path()).unwrap() else { panic!("the second is refused") };
    assert_eq!((owner.pid, owner.role.as_str(), owner.url.as_str()), (42, "serve", "http://127.0.0.1:4080"));
    drop(lock);
    assert!(matches!(InstanceLock::acquire(dir.path()).unwrap(), Acquired::Mine(_)));
}

#[test]
fn a_data_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let _lock = InstanceLock::acquire(dir.path()).unwrap();
    assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn an_account_is_found_by_its_present_email_only() {
    let app = app().await;
    let human = app.human("old@example.com").await;
    app.edit(human.account, |account: &mut Account| account.email = "new@example.com".parse().unwrap()).await;
    assert!(app.service.accounts.account_by_email("old@example.com").await.is_err());
    assert_eq!(app.service.accounts.account_by_email("NEW@example.com").await.unwrap().id, human.account);
}

#[test]
fn a_shared_directory_is_refused_and_stays_as_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("somebody else's"), "").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(InstanceLock::acquire(dir.path()).is_err());
    assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o755);
}
