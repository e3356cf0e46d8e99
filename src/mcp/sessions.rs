//! Sessions of clients before 2026-07-28. The SDK neither binds them to who opened them nor limits them, so we do.

use crate::domain::source::Source;
use rmcp::transport::streamable_http_server::session::{SessionManager, local::LocalSessionManager};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Past this many the oldest anonymous one ends, else the oldest.
const MAX: usize = 1_000;
/// Whoever has a key is still served when nobody else leaves room.
const MAX_ANONYMOUS: usize = MAX / 2;
const MAX_ANONYMOUS_PER_SOURCE: usize = 20;
/// One key can't crowd out the others'.
const MAX_PER_KEY: usize = 20;

struct Open {
    id: String,
    /// The id of the credential it was opened with.
    by: Option<String>,
    source: Source,
}

pub struct Sessions {
    manager: Arc<LocalSessionManager>,
    /// Oldest first.
    open: Mutex<Vec<Open>>,
}

impl Sessions {
    pub fn new(manager: Arc<LocalSessionManager>) -> Self {
        Self { manager, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this caller may speak in that session. One nobody remembers is nobody's.
    pub fn admits(&self, id: &str, by: Option<&str>) -> bool {
        self.open().iter().find(|session| session.id == id).is_some_and(|session| session.by.as_deref() == by)
    }

    /// Remembers who opened a session, and ends those there is no room for.
    pub async fn opened(&self, id: &str, by: Option<String>, source: Source) {
        let crowded_out = {
            let mut open = self.open();
            open.push(Open { id: id.to_owned(), by: by.clone(), source });
            crowded_out(&mut open, by.as_deref(), source)
        };
        for session in crowded_out {
            if let Err(error) = self.manager.close_session(&session.id.into()).await {
                tracing::debug!(%error, "a session was gone before it was ended");
            }
        }
    }

    pub fn ended(&self, id: &str) {
        self.open().retain(|session| session.id != id);
    }
}

fn crowded_out(open: &mut Vec<Open>, by: Option<&str>, source: Source) -> Vec<Open> {
    let mut out = Vec::new();
    let mut end_oldest = |open: &mut Vec<Open>, most: usize, counts: &dyn Fn(&Open) -> bool| {
        if open.iter().filter(|session| counts(session)).count() > most
            && let Some(oldest) = open.iter().position(counts)
        {
            out.push(open.remove(oldest));
        }
    };
    if by.is_some() {
        end_oldest(open, MAX_PER_KEY, &|session| session.by.as_deref() == by);
    }
    end_oldest(open, MAX_ANONYMOUS_PER_SOURCE, &|session| session.by.is_none() && session.source.bucket() == source.bucket());
    end_oldest(open, MAX_ANONYMOUS, &|session| session.by.is_none());
    if open.len() > MAX {
        let oldest = open.iter().position(|session| session.by.is_none()).unwrap_or(0);
        out.push(open.remove(oldest));
    }
    out
}
