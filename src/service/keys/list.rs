//! Looking at keys: lists, one key, who calls.

use crate::{
    api::{
        error::Error,
        keys::{KeyList, KeyView},
        verification::Whoami,
    },
    domain::{
        environment::Environment,
        id::{AccountId, KeyId},
        key::{CreatorKind, Key, Status},
    },
    service::{
        caller::{Actor, Caller, Principal},
        keys::{
            access::{key_of, sees},
            state::Keys,
        },
    },
};

/// Which keys to list.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    pub status: Option<Status>,
    pub environment: Option<Environment>,
    pub created_by: Option<CreatorKind>,
    /// Part of a key's name or of its shown head, or its whole id; in either case.
    pub q: Option<String>,
    pub cursor: Option<String>,
    pub limit: Option<usize>,
}

/// Keys of one page at most.
pub const MAX_PAGE: usize = 100;

const DEFAULT_PAGE: usize = 20;

/// Rows looked at per request when a filter leaves most out.
const MAX_ROWS_SCANNED: usize = 500;

/// Keys read at a time.
const KEYS_PER_PAGE: usize = 100;

/// A name is not longer, and neither is what one looks for.
const MAX_SEARCH_CHARS: usize = 64;

impl Keys {
    /// A page of keys, newest first. A key without `keys:read` sees itself and its descendants.
    ///
    /// # Errors
    /// [`Error::Invalid`]: a limit out of its range, a cursor that no page gave, or a search that is too long.
    pub async fn list_keys(&self, actor: &Actor, account: Option<AccountId>, filter: &KeyFilter) -> Result<KeyList, Error> {
        let limit = filter.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {MAX_PAGE}")));
        }
        let cursor = match &filter.cursor {
            Some(text) => Some(text.parse::<KeyId>().map_err(|_| Error::invalid("cursor", "is not one this server gave"))?),
            None => None,
        };
        let sought = filter.q.as_deref().map(|q| q.trim().to_lowercase()).filter(|q| !q.is_empty());
        if sought.as_ref().is_some_and(|q| q.chars().count() > MAX_SEARCH_CHARS) {
            return Err(Error::invalid("q", format!("must have at most {MAX_SEARCH_CHARS} characters")));
        }
        let now = self.context.runtime.now();
        // Whatever a transport names: only the operator sees other accounts, or all of them.
        let account = actor.account().or(account);
        let found = |key: &Key, q: &str| {
            key.name.as_str().to_lowercase().contains(q) || key.shown.to_lowercase().contains(q) || key.id.to_string() == q
        };
        let fits = |key: &Key| {
            filter.status.is_none_or(|status| status == key.status(now))
                && filter.environment.is_none_or(|environment| environment == key.environment)
                && filter.created_by.is_none_or(|maker| maker == key.origin.creator())
                && sought.as_deref().is_none_or(|q| found(key, q))
        };
        self.context
            .store
            .read(|tx| {
                let mut after = cursor;
                let (mut keys, mut looked_at) = (Vec::new(), 0);
                let next_cursor = 'pages: loop {
                    let page = tx.keys().list(account, after, KEYS_PER_PAGE)?;
                    for key in page.rows {
                        looked_at += 1;
                        if fits(&key) && sees(tx, actor, &key)? {
                            if keys.len() == limit {
                                // Another one exists: the page ends before it.
                                break 'pages keys.last().map(|last: &KeyView| last.id.to_string());
                            }
                            keys.push(self.view(tx, &key, now)?);
                        }
                        after = Some(key.id);
                    }
                    if page.is_last {
                        break None;
                    }
                    if looked_at >= MAX_ROWS_SCANNED {
                        break after.map(|id| id.to_string());
                    }
                };
                Ok::<_, Error>(KeyList { keys, next_cursor })
            })
            .await
    }

    /// One key of the account, or 404 as for unknown ones.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is none that the actor may see.
    pub async fn get_key(&self, actor: &Actor, id: KeyId) -> Result<KeyView, Error> {
        let now = self.context.runtime.now();
        self.context
            .store
            .read(|tx| {
                let key = key_of(tx, actor, id)?;
                if sees(tx, actor, &key)? { self.view(tx, &key, now) } else { Err(Error::not_found("key")) }
            })
            .await
    }

    /// What the presented credential is and may do.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when it was deleted since it was checked.
    pub async fn whoami(&self, caller: &Caller) -> Result<Whoami, Error> {
        let (now, id) = (self.context.runtime.now(), caller.account.id);
        let session = match &caller.who {
            Principal::Key(_) => None,
            Principal::Session(id) => Some(self.verifier.session_view(*id).await?),
        };
        self.context
            .store
            .read(|tx| {
                let account = tx.accounts().get(id)?.ok_or(Error::Unauthorized { presented: true })?;
                let key = match &caller.who {
                    Principal::Key(key) => {
                        let key = tx.keys().get(key.id)?.ok_or(Error::Unauthorized { presented: true })?;
                        Some(self.view(tx, &key, now)?)
                    }
                    Principal::Session(_) => None,
                };
                Ok::<_, Error>(Whoami {
                    account_id: account.id,
                    email: account.email.to_string(),
                    operator: account.operator,
                    plan: account.plan,
                    key,
                    session: session.clone(),
                })
            })
            .await
    }
}
