//! What happened to an account's keys and agents, for its owner to read, and how long it is kept.

use crate::{
    api::error::Error,
    domain::{
        activity::{Event, EventKind, Topic},
        id::{AccountId, EventId},
        time::before,
    },
    service::accounts::state::{Accounts, Steps},
    store::{access::Read, error::StoreError},
};
use jiff::SignedDuration;
use std::sync::PoisonError;

/// Lines are kept for a year, and this many of an account: a flood of refusals must not fill the disk.
const EVENT_RETENTION: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Lines an account keeps; older ones are forgotten.
pub const MAX_EVENTS: usize = 10_000;

/// Lines of a page.
pub const PAGE_SIZE: usize = 30;

/// Lines looked at per request when a filter leaves most out.
const MAX_EVENTS_SCANNED: usize = 1000;

/// Lines the upkeep looks at each time.
const EVENTS_PER_SWEEP: usize = 1000;

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
        let after = match &filter.cursor {
            Some(text) => Some(text.parse().map_err(|_| Error::invalid("cursor", "is not one this server gave"))?),
            None => None,
        };
        let scanned = if filter.topic.is_some() { MAX_EVENTS_SCANNED } else { PAGE_SIZE + 1 };
        self.context
            .store
            .read(|tx| {
                let page = tx.events().of_account(account, after, scanned)?;
                let mut lines: Vec<Line> = Vec::new();
                let mut last = None;
                for event in page.rows {
                    let fits = filter.topic.is_none_or(|topic| event.what.is_about(topic));
                    if fits && lines.len() == PAGE_SIZE {
                        // Another one exists: the page ends before it.
                        return Ok(Activity { lines, next_cursor: last });
                    }
                    last = Some(event.id.to_string());
                    if fits {
                        lines.push(Line { key_name: key_name(tx, &event.what)?, event });
                    }
                }
                Ok(Activity { lines, next_cursor: last.filter(|_| !page.is_last) })
            })
            .await
    }

    /// Forgets lines that are too old or too many, a few at a time.
    pub(crate) async fn sweep_activity(&self) -> Result<(), Error> {
        let mut steps = *self.activity_sweep.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = EventId::new(before(self.context.runtime.now(), EVENT_RETENTION), [0; 16]);
        let page = self.context.store.read(|tx| tx.events().names(steps.after, EVENTS_PER_SWEEP)).await?;
        let mut over = Vec::new();
        for (account, id) in &page {
            if steps.account != Some(*account) {
                steps = Steps { after: None, account: Some(*account), seen: 0 };
            }
            steps.seen += 1;
            if steps.seen > MAX_EVENTS || *id < oldest {
                over.push((*account, *id));
            }
        }
        if !over.is_empty() {
            self.context
                .store
                .write(move |tx| {
                    over.iter().for_each(|(account, id)| tx.erase_event(*account, *id));
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        steps = match page.last() {
            Some(last) if page.len() == EVENTS_PER_SWEEP => Steps { after: Some(*last), ..steps },
            _ => Steps::default(),
        };
        *self.activity_sweep.0.lock().unwrap_or_else(PoisonError::into_inner) = steps;
        Ok(())
    }
}

fn key_name(tx: &dyn Read, what: &EventKind) -> Result<Option<String>, StoreError> {
    match what {
        EventKind::WrongEnvironment { key } => Ok(tx.keys().get(*key)?.map(|key| key.name.to_string())),
        _ => Ok(None),
    }
}
