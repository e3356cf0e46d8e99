//! What happened to an account's keys and agents, for its owner to read, and how long it is kept.

use crate::{
    api::error::Error,
    domain::{
        activity::{Event, EventKind, Topic},
        id::{AccountId, EventId},
        time::before,
    },
    service::accounts::state::{Accounts, Steps},
    store::{
        access::{Order, Read},
        error::StoreError,
        rows,
        table::Table,
    },
};
use jiff::SignedDuration;
use std::sync::PoisonError;

/// Lines are kept for a year, and this many of an account: a flood of refusals must not fill the disk.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Lines an account keeps; older ones are forgotten.
pub const MOST: usize = 10_000;

/// Lines of a page.
pub const PAGE: usize = 30;

/// Lines looked at per request when a filter leaves most out.
const SCAN: usize = 1000;

/// Lines the upkeep looks at each time.
const STRIDE: usize = 1000;

/// Which lines to show.
#[derive(Debug, Clone, Default)]
pub struct ActivityFilter {
    pub topic: Option<Topic>,
    pub cursor: Option<String>,
}

/// A page of lines, newest first.
#[derive(Debug)]
pub struct Activity {
    pub lines: Vec<Line>,
    pub next_cursor: Option<String>,
}

/// A line as its page shows it.
#[derive(Debug)]
pub struct Line {
    pub event: Event,
    /// The name of the key it is about, where the event itself does not tell.
    pub key_name: Option<String>,
}

impl Accounts {
    /// A page of an account's activity.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that no page gave.
    pub async fn activity(&self, account: AccountId, filter: &ActivityFilter) -> Result<Activity, Error> {
        let prefix = rows::entry(&[&account.to_string(), ""]);
        let after = match &filter.cursor {
            Some(text) => {
                let id: EventId = text.parse().map_err(|_| Error::invalid("cursor", "is not one this server gave"))?;
                Some([prefix.clone(), id.to_string().into_bytes()].concat())
            }
            None => None,
        };
        let scanned = if filter.topic.is_some() { SCAN } else { PAGE + 1 };
        self.context
            .store
            .read(|rows| {
                let page = rows.scan(Table::Events, &prefix, after.as_deref(), Order::Descending, scanned)?;
                let more = page.len() == scanned;
                let mut lines: Vec<Line> = Vec::new();
                let mut last = None;
                for (key, _) in page {
                    let Some(event) = rows::load::<Event>(rows, key)? else { continue };
                    let fits = filter.topic.is_none_or(|topic| event.what.is_about(topic));
                    if fits && lines.len() == PAGE {
                        // Another one exists: the page ends before it.
                        return Ok(Activity { lines, next_cursor: last });
                    }
                    last = Some(event.id.to_string());
                    if fits {
                        lines.push(Line { key_name: key_name(rows, &event.what)?, event });
                    }
                }
                Ok(Activity { lines, next_cursor: last.filter(|_| more) })
            })
            .await
    }

    /// Forgets lines that are too old or too many, a stride at a time.
    pub(crate) async fn sweep_activity(&self) -> Result<(), Error> {
        let mut steps = self.activity_sweep.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let oldest = EventId::new(before(self.context.runtime.now(), KEPT), [0; 16]).to_string();
        let page = self.context.store.read(|rows| rows.scan(Table::Events, &[], steps.after.as_deref(), Order::Descending, STRIDE)).await?;
        let mut over = Vec::new();
        for (key, _) in &page {
            let Some(bar) = key.iter().position(|byte| *byte == b'|') else { continue };
            if steps.account != key[..bar] {
                steps = Steps { after: None, account: key[..bar].to_vec(), seen: 0 };
            }
            steps.seen += 1;
            if steps.seen > MOST || &key[bar + 1..] < oldest.as_bytes() {
                over.push(key.clone());
            }
        }
        if !over.is_empty() {
            self.context
                .store
                .write(move |rows| {
                    over.iter().for_each(|key| rows.remove(Table::Events, key));
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        steps = match page.last() {
            Some((key, _)) if page.len() == STRIDE => Steps { after: Some(key.clone()), ..steps },
            _ => Steps::default(),
        };
        *self.activity_sweep.0.lock().unwrap_or_else(PoisonError::into_inner) = steps;
        Ok(())
    }
}

fn key_name(rows: &dyn Read, what: &EventKind) -> Result<Option<String>, StoreError> {
    match what {
        EventKind::WrongEnvironment { key } => Ok(rows::key(rows, *key)?.map(|key| key.name.to_string())),
        _ => Ok(None),
    }
}
