//! Sessions of clients before 2026-07-28. The SDK neither binds them to who opened them nor limits them, so we do.

use crate::domain::source::Source;
use futures::channel::mpsc;
use rmcp::{
    RoleServer,
    service::RxJsonRpcMessage,
    transport::streamable_http_server::session::{SessionManager, local::LocalSessionManager},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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
    /// HTTP+SSE's own; Streamable HTTP's is the SDK's business.
    inbox: Option<Inbox>,
}

/// Where a session of HTTP+SSE takes its messages.
pub struct Inbox {
    pub messages: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
    /// Told of each message.
    pub heard: Arc<Notify>,
    /// Ends the session.
    pub stop: CancellationToken,
}

/// Why a message can't be delivered.
pub enum Undelivered {
    NoSession,
    /// More messages wait than a client has reason to send.
    Full,
}

/// A session's id is its proof, so claims are bound to a hash of it.
pub fn hashed(id: &str) -> String {
    blake3::hash(id.as_bytes()).to_hex().to_string()
}

pub struct Sessions {
    sdk: Arc<LocalSessionManager>,
    /// Oldest first.
    open: Mutex<Vec<Open>>,
}

impl Sessions {
    pub fn new(sdk: Arc<LocalSessionManager>) -> Self {
        Self { sdk, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this caller may speak in that session of Streamable HTTP. One nobody remembers is nobody's.
    pub fn admits(&self, id: &str, by: Option<&str>) -> bool {
        self.open().iter().any(|session| session.id == id && session.by.as_deref() == by && session.inbox.is_none())
    }

    /// Puts a message into this caller's session of HTTP+SSE; `message` is given what cancels when the session ends.
    pub fn deliver(
        &self,
        id: &str,
        by: Option<&str>,
        message: impl FnOnce(CancellationToken) -> RxJsonRpcMessage<RoleServer>,
    ) -> Result<(), Undelivered> {
        let mut open = self.open();
        let session = open.iter_mut().find(|session| session.id == id && session.by.as_deref() == by);
        let inbox = session.and_then(|session| session.inbox.as_mut()).ok_or(Undelivered::NoSession)?;
        inbox.heard.notify_one();
        let message = message(inbox.stop.clone());
        inbox.messages.try_send(message).map_err(|error| if error.is_full() { Undelivered::Full } else { Undelivered::NoSession })
    }

    /// Remembers who opened a session, and ends those there is no room for.
    pub async fn opened(&self, id: &str, by: Option<String>, source: Source, inbox: Option<Inbox>) {
        let crowded_out = {
            let mut open = self.open();
            open.push(Open { id: id.to_owned(), by: by.clone(), source, inbox });
            crowded_out(&mut open, by.as_deref(), source)
        };
        for session in crowded_out {
            if let Some(inbox) = session.inbox {
                inbox.stop.cancel();
            } else if let Err(error) = self.sdk.close_session(&session.id.into()).await {
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
