//! A backup of the running store, and the end of the suspension a restore may bring.

use crate::{
    api::error::Error,
    domain::{
        activity::EventKind,
        id::KeyId,
        journal_entry::JournalEntry,
        key::{Key, RESTORED},
        server_secret::Purpose,
        source::Source,
    },
    service::{
        admin::{migrations::SCHEMA, state::Admin},
        caller::Actor,
        keys::access::may_enable,
        record_event::record,
    },
    store::{
        backup::{self, BackupError, Manifest},
        check::{self, Report},
        error::StoreError,
        row,
    },
};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Keys looked at per transaction.
const KEYS_PER_PAGE: usize = 500;

impl Admin {
    /// Writes the store as it is now into a new directory, while everything goes on. Stops when it is dropped.
    ///
    /// # Errors
    /// [`Error::Conflict`] says what is wrong with the directory.
    pub async fn backup(&self, dir: PathBuf) -> Result<Manifest, Error> {
        let id = blake3::Hash::from_bytes(self.context.runtime.bytes()).to_hex()[..32].to_owned();
        let snapshot = self.context.store.snapshot(row::encode(&JournalEntry::Backup { id: id.clone() })?).await?;
        let manifest = Manifest::new(SCHEMA, id, self.context.runtime.now(), snapshot.journal, self.context.secret.ids());
        let seals = self.context.secret.seals(Purpose::SealBackup);
        let stop = CancellationToken::new();
        let _stops_when_dropped = stop.clone().drop_guard();
        let written = tokio::task::spawn_blocking(move || backup::write(&dir, manifest, &seals, snapshot.pages, || stop.is_cancelled()));
        written.await.map_err(Error::internal)?.map_err(|error| match error {
            BackupError::Store(error) => error.into(),
            refused @ (BackupError::Unfit(_) | BackupError::Secret(_) | BackupError::Unsealed(_) | BackupError::Io { .. }) => {
                Error::Conflict { detail: refused.to_string() }
            }
        })
    }

    /// Looks at every row, for `doctor`. Takes as long as reading the whole store does.
    pub async fn check(&self) -> Result<Report, StoreError> {
        self.context.store.read(|tx| check::check(tx)).await
    }

    /// Lets a disabled key work again; without `id` all that a restore suspended. Returns how many.
    ///
    /// # Errors
    /// For one key: [`Error::NotFound`] where the actor may not, and as [`may_enable`]. Of all, those that can't work yet stay as
    /// they are.
    pub async fn resume_keys(&self, actor: &Actor, id: Option<KeyId>, source: Source) -> Result<u64, Error> {
        let Some(id) = id else { return self.resume_all(actor, source).await };
        let (now, random, actor) = (self.context.runtime.now(), self.context.runtime.bytes(), actor.clone());
        self.context
            .store
            .write(move |tx| {
                let actor = actor.now(tx, now)?;
                let mut key = tx.keys().get(id)?.filter(|key| actor.may_resume(key)).ok_or_else(|| Error::not_found("key"))?;
                if key.disabled_at.is_none() {
                    return Ok(0);
                }
                may_enable(tx, &actor, &key, now)?;
                key.resume();
                tx.save(&key)?;
                record(tx, key.account, Some(source), EventKind::KeyResumed { key: id, name: key.name }, now, random)?;
                Ok::<_, Error>(1)
            })
            .await
    }

    /// A key waits for the one that made it and the one that took its place, whichever comes first in the store.
    async fn resume_all(&self, actor: &Actor, source: Source) -> Result<u64, Error> {
        let mut all = 0;
        loop {
            match self.resume_those_that_may(actor, source).await? {
                0 => return Ok(all),
                resumed => all += resumed,
            }
        }
    }

    async fn resume_those_that_may(&self, actor: &Actor, source: Source) -> Result<u64, Error> {
        let (mut after, mut resumed) = (None, 0);
        loop {
            let page = self.context.store.read(|tx| tx.keys().oldest_first(after, KEYS_PER_PAGE)).await?;
            for key in &page.rows {
                if key.disabled_reason.as_deref() == Some(RESTORED) && actor.may_resume(key) {
                    resumed += match Box::pin(self.resume_keys(actor, Some(key.id), source)).await {
                        Err(Error::Conflict { .. }) => 0,
                        done => done?,
                    };
                }
            }
            match page.rows.last() {
                Some(last) if !page.is_last => after = Some(last.id),
                _ => return Ok(resumed),
            }
        }
    }
}

impl Actor {
    /// Whoever runs the deployment, or the owner in person: never a key.
    fn may_resume(&self, key: &Key) -> bool {
        match self {
            Self::Operator => true,
            Self::Owner { account, .. } => key.account == *account,
            Self::Key(_) | Self::Program { .. } => false,
        }
    }
}
