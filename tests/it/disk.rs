//! What the database takes on the disk while rows come and go.

use crate::support::*;
use countersign::store::{access::Write, error::StoreError, handle::Store, table::Table};
use std::{fs, path::Path, sync::Arc};
use tempfile::TempDir;

/// Registrations come in groups; each is rewritten once and removed, like those that expire.
const GROUP: u64 = 20;
const ALIVE: u64 = 80 * GROUP;

/// A registration's rows: by time, or anywhere.
fn keys(n: u64) -> [(Table, Vec<u8>); 5] {
    let (time, hash) = (n.to_be_bytes().to_vec(), blake3::hash(&n.to_be_bytes()).as_bytes().to_vec());
    [
        (Table::Registrations, hash.clone()),
        (Table::ClaimTokens, hash.iter().rev().copied().collect()),
        (Table::UserCodes, hash[8..16].to_vec()),
        (Table::Pending, time.clone()),
        (Table::DueRegistrations, time),
    ]
}

fn churn(rows: &mut dyn Write, group: u64) -> Result<(), StoreError> {
    // What is kept for good lies on pages that are left alone for long.
    for n in [2 * group, 2 * group + 1] {
        let kept = blake3::hash(&n.to_le_bytes());
        rows.put(Table::Keys, kept.as_bytes(), vec![1; 300]);
        rows.put(Table::KeyHashes, &kept.as_bytes()[16..], vec![1; 30]);
    }
    for n in group * GROUP..(group + 1) * GROUP {
        for (table, key) in keys(n) {
            rows.put(table, &key, vec![n as u8; if table == Table::Registrations { 500 } else { 30 }]);
        }
        if let Some(polled) = n.checked_sub(ALIVE / 2) {
            rows.put(Table::Registrations, &keys(polled)[0].1, vec![n as u8; 530]);
        }
        if let Some(gone) = n.checked_sub(ALIVE) {
            keys(gone).iter().for_each(|(table, key)| rows.remove(*table, key));
        }
    }
    Ok(())
}

async fn churned(dir: &Path, groups: u64) -> u64 {
    let store = Store::new(Arc::new(reopen(dir)));
    for group in 0..groups {
        store.write(move |rows| churn(rows, group)).await.unwrap();
    }
    store.close().await;
    fs::metadata(dir.join("store/db")).unwrap().len()
}

#[tokio::test]
async fn the_file_does_not_grow_with_what_came_and_went() {
    let dir = TempDir::new().unwrap();
    let bytes = churned(dir.path(), 800).await;
    assert!(bytes <= 16 << 20, "{bytes}");
}

#[tokio::test]
async fn a_database_of_smaller_segments_opens_and_keeps_them() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let former = sled::open(&path).unwrap();
    former.open_tree("countersign").unwrap().insert([Table::Meta as u8, b'a'], b"b").unwrap();
    drop(former);
    for _ in 0..2 {
        let store = Store::new(Arc::new(reopen(dir.path())));
        assert_eq!(store.read(|rows| rows.get(Table::Meta, b"a")).await.unwrap(), Some(b"b".to_vec()));
        store.close().await;
    }
    assert!(String::from_utf8_lossy(&fs::read(path.join("conf")).unwrap()).contains("segment_size: 524288"));
}
