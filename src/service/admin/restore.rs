//! What a backup may bring back, and what must stay gone.
//!
//! Sessions, registrations and counters are in no backup. What was taken away after the backup was made is in the
//! journal, and taken away again; where no journal reaches past the backup, no key works and no password counts until
//! somebody who may say so says so.

use crate::{
    api::restored::Restored,
    domain::{
        account::Account,
        grant::Grant,
        journal_entry::{JournalEntry, KeyRestriction},
        key::{Key, Origin, RESTORED},
        seal::Seals,
    },
    service::{
        admin::migrations::{self, MIGRATIONS},
        errors::OpenError,
    },
    store::{
        access::Write,
        backup::{self, BackupError, Manifest},
        check,
        error::StoreError,
        handle::Store,
        journal::{self, Head},
        row,
        tables::settings::JOURNAL,
        walk::edit_all,
    },
};
use jiff::Timestamp;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Rows per transaction.
const ROWS_PER_TRANSACTION: usize = 500;

/// Entries of the journal that a start looks at: more than a store can lose at its end without noticing.
const MAX_ENTRIES_CHECKED: usize = 1_000;

/// Why a backup can't be restored. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("can't read the journal: {0}")]
    Journal(#[from] io::Error),
    #[error(
        "no journal reaches past this backup, so keys revoked since it was made would work again. Name the journal with \
         --journal FILE; or restore with --accept-resurrection: all keys are then suspended, and all passwords void"
    )]
    NoJournal,
    #[error(
        "the journal {path} ends at entry {found}, and this backup was made at entry {needed}: it is an older copy, or its end was cut off. Name the \
         right one with --journal FILE; or restore with --accept-resurrection: all keys are then suspended, and all passwords void",
        path = .path.display()
    )]
    ShortJournal { path: PathBuf, found: u64, needed: u64 },
    #[error(
        "the journal {path} is not the one that was kept when this backup was made. Name the right one with --journal FILE; or restore with \
         --accept-resurrection: all keys are then suspended, and all passwords void", path = .0.display()
    )]
    OtherJournal(PathBuf),
    #[error(
        "entries of the journal {path} were lost after this backup was made, as a start at {at} found, so keys revoked in between would work again. \
         Restore a later backup; or restore with --accept-resurrection: all keys are then suspended, and all passwords void", path = .path.display()
    )]
    Gap { path: PathBuf, at: Timestamp },
    #[error("what was restored does not hang together: {0}")]
    Faulty(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RestoreError {
    /// Whether the journal only does not say enough: then it may be left out.
    pub fn lacks_journal(&self) -> bool {
        matches!(self, Self::NoJournal | Self::ShortJournal { .. } | Self::OtherJournal(_) | Self::Gap { .. })
    }
}

/// What the journal says was taken away after the backup. A journal that was changed is refused, and so is one that does not
/// reach as far as the backup knows.
pub fn losses(manifest: &Manifest, journal: &Path, seals: Option<&Seals>) -> Result<Vec<JournalEntry>, RestoreError> {
    let lines = journal::read(journal, seals)?;
    let entries: Vec<JournalEntry> = lines
        .iter()
        .map(|line| serde_json::from_slice(&line.entry))
        .collect::<Result<_, _>>()
        .map_err(|error| RestoreError::Journal(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let after = match &manifest.journal {
        Some(head) if (lines.len() as u64) < head.entries => {
            return Err(RestoreError::ShortJournal { path: journal.to_owned(), found: lines.len() as u64, needed: head.entries });
        }
        Some(head) if !journal::goes_on_from(&lines, head) => return Err(RestoreError::OtherJournal(journal.to_owned())),
        Some(head) => usize::try_from(head.entries).unwrap_or(usize::MAX),
        None => {
            let mark = JournalEntry::Backup { id: manifest.id.clone() };
            entries.iter().position(|entry| *entry == mark).ok_or(RestoreError::NoJournal)? + 1
        }
    };
    let losses = entries.get(after..).unwrap_or_default().to_vec();
    match losses.iter().find_map(|entry| if let JournalEntry::Gap { at } = entry { Some(*at) } else { None }) {
        Some(at) => Err(RestoreError::Gap { path: journal.to_owned(), at }),
        None => Ok(losses),
    }
}

/// Compares the journal with what the store knows of it. One whose end was cut off, or another in its place, is noted as a
/// gap in it: no backup made before is restored as if nothing were missing.
pub async fn check_journal(store: &Store, journal: &Path, seals: &Seals, now: Timestamp) -> Result<(), StoreError> {
    let Some(known) = store.read(|tx| tx.setting::<Head>(JOURNAL)).await? else { return Ok(()) };
    let lines = journal::read(journal, Some(seals))?;
    if journal::goes_on_from(&lines, &known) {
        return Ok(());
    }
    // A new one has no backup in it, so none goes with it.
    let gap = !lines.is_empty();
    if gap {
        tracing::error!(
            entries = known.entries,
            found = lines.len(),
            "the journal {} lacks entries that were written to it: its end was cut off, or it is another one. Backups made before now can be restored \
             with --accept-resurrection only: look who could write there, and make a new one",
            journal.display()
        );
    }
    store
        .write(move |tx| {
            tx.erase_setting(JOURNAL);
            if gap {
                tx.note(row::encode(&JournalEntry::Gap { at: now })?);
            }
            Ok::<_, StoreError>(())
        })
        .await
}

/// Revokes again what the end of the journal says was revoked, and the store does not: how many keys that were. Damage at
/// the end of its file looks to the store like changes that were never finished.
pub async fn revoke_again(store: &Store, journal: &Path, seals: &Seals) -> Result<usize, StoreError> {
    let lines = journal::read(journal, Some(seals))?;
    let last = lines.iter().rev().take(MAX_ENTRIES_CHECKED).filter_map(|line| serde_json::from_slice(&line.entry).ok());
    let revoked: Vec<KeyRestriction> = last
        .filter_map(|entry| match entry {
            JournalEntry::Key(loss) if loss.revoked.is_some() => {
                Some(KeyRestriction { disabled: None, expires_at: None, scopes: None, ..loss })
            }
            _ => None,
        })
        .collect();
    let again = move |tx: &mut dyn Write| {
        let mut count = 0;
        for loss in &revoked {
            if let Some(mut key) = tx.keys().get(loss.id)?.filter(|key| key.revoked.is_none()) {
                key.apply(loss);
                tx.save(&key)?;
                count += 1;
            }
        }
        Ok::<_, StoreError>(count)
    };
    store.write(again).await
}

/// Fills an empty store with a verified backup. Without `losses` no key works and no password counts afterwards.
pub async fn fill(
    store: &Store,
    from: &Path,
    manifest: &Manifest,
    losses: Option<Vec<JournalEntry>>,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let mut restored = Restored::default();
    let mut pages = backup::read(from, manifest)?;
    loop {
        let page = Arc::new(pages()?);
        if page.is_empty() {
            break;
        }
        restored.rows += page.len() as u64;
        store.write(move |tx| backup::put(tx, &page)).await?;
    }
    migrations::migrate(store, MIGRATIONS).await?;
    let suspend = losses.is_none();
    if suspend {
        // A journal that begins now begins.
        store
            .write(|tx| {
                tx.erase_setting(JOURNAL);
                Ok::<_, StoreError>(())
            })
            .await?;
    }
    let losses = losses.unwrap_or_default();
    restored.taken_away = losses.iter().filter(|loss| matches!(loss, JournalEntry::Key(_) | JournalEntry::Account(_))).count();
    for batch in losses.chunks(ROWS_PER_TRANSACTION) {
        let batch = batch.to_vec();
        store.write(move |tx| batch.iter().try_for_each(|loss| take_away(tx, loss))).await?;
    }
    restored.approvals_ended = edit_all::<Grant>(store, move |_, grant| {
        let ends = grant.key.is_none() && grant.ended_at.is_none();
        grant.ended_at = grant.ended_at.or(Some(now).filter(|_| ends));
        Ok(ends)
    })
    .await?;
    restored.suspended = edit_all::<Key>(store, move |tx, key| {
        key.redeliverable = None;
        if let (Some(revocation), Origin::Agent { grant, .. }) = (&key.revoked, &key.origin)
            && let Some(mut grant) = tx.grants().get(*grant)?
        {
            grant.ended_at.get_or_insert(revocation.at);
            tx.save(&grant)?;
        }
        let suspends = suspend && key.is_active(now);
        if suspends {
            (key.disabled_at, key.disabled_reason) = (Some(now), Some(RESTORED.to_owned()));
        }
        Ok(suspends)
    })
    .await?;
    if suspend {
        restored.passwords_void = edit_all::<Account>(store, |_, account| Ok(account.password.take().is_some())).await?;
    }
    let report = store.read(|tx| check::check(tx)).await?;
    match report.told.first() {
        Some(fault) => Err(RestoreError::Faulty(fault.clone())),
        None => Ok(restored),
    }
}

fn take_away(tx: &mut dyn Write, loss: &JournalEntry) -> Result<(), StoreError> {
    match loss {
        JournalEntry::Key(loss) => {
            if let Some(mut key) = tx.keys().get(loss.id)? {
                key.apply(loss);
                tx.save(&key)?;
            }
        }
        JournalEntry::Account(loss) => {
            if let Some(mut account) = tx.accounts().get(loss.id)? {
                account.apply(loss);
                tx.save(&account)?;
            }
        }
        JournalEntry::Backup { .. } | JournalEntry::Gap { .. } => {}
    }
    Ok(())
}
