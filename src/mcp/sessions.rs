//! Sessions of clients before 2026-07-28. The SDK neither binds them to who opened them nor limits them, and ends one
//! whose stream is open, so all that is ours: it makes and serves them through [`Sessions`].

use crate::{
    domain::{id::AccountId, source::Source},
    mcp::caller::HttpCaller,
};
use futures::{Stream, channel::mpsc};
use rmcp::{
    RoleServer,
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    service::RxJsonRpcMessage,
    transport::streamable_http_server::session::{
        ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, LocalSessionManagerError},
    },
};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

/// Past this many, whoever has the most loses its oldest: an account, or all without a credential together.
const MAX_SESSIONS: usize = 1_000;

/// Whoever has a credential is still served when nobody else leaves room.
const MAX_ANONYMOUS: usize = MAX_SESSIONS / 2;
const MAX_ANONYMOUS_PER_SOURCE: usize = 20;

/// One key can't crowd out the others'.
const MAX_PER_KEY: usize = 20;

/// A session of Streamable HTTP ends when nothing was asked in it and no stream of it open for so long.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);

tokio::task_local! {
    /// Who makes the request that the SDK makes a session for.
    static OPENER: Arc<Opener>;
}

struct OpenSession {
    id: String,
    /// The id of the credential it was opened with.
    by: Option<String>,
    account: Option<AccountId>,
    source: Source,
    way: Way,
}

enum Way {
    Streamable(Arc<Life>),
    Sse(Inbox),
}

/// Where a session of HTTP+SSE takes its messages.
pub struct Inbox {
    pub messages: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
    /// Ends the session.
    pub stop: CancellationToken,
}

/// What keeps a session of Streamable HTTP alive.
#[derive(Default)]
struct Life {
    /// Requests under way and streams open.
    busy: AtomicUsize,
    /// Told when one begins or ends.
    stirred: Notify,
    over: CancellationToken,
}

/// A request or a stream of a session: while there is one the session is not idle.
pub struct Busy(Arc<Life>);

impl Busy {
    fn new(life: &Arc<Life>) -> Self {
        life.busy.fetch_add(1, Ordering::AcqRel);
        life.stirred.notify_one();
        Self(life.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
        self.0.stirred.notify_one();
    }
}

/// Why a message can't be delivered.
pub enum Undelivered {
    NoSession,
    /// More messages wait than a client has reason to send.
    Full,
}

/// A session's id is its proof, so what is told apart by sessions is told apart by a hash of it.
pub fn hashed(id: &str) -> String {
    blake3::hash(id.as_bytes()).to_hex().to_string()
}

pub struct Sessions {
    sdk: LocalSessionManager,
    /// Oldest first.
    open: Mutex<Vec<OpenSession>>,
}

impl Sessions {
    pub fn new(mut sdk: LocalSessionManager) -> Self {
        // The SDK's clock runs while a stream is open; ours does not.
        sdk.session_config.keep_alive = None;
        Self { sdk, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Vec<OpenSession>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets this caller speak in that session of Streamable HTTP. One nobody remembers is nobody's.
    pub fn enter(&self, id: &str, by: Option<&str>) -> Option<Busy> {
        let open = self.open();
        let session = open.iter().find(|session| session.id == id && session.by.as_deref() == by)?;
        match &session.way {
            Way::Streamable(life) => Some(Busy::new(life)),
            Way::Sse(_) => None,
        }
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
        let Some(OpenSession { way: Way::Sse(inbox), .. }) = session else { return Err(Undelivered::NoSession) };
        let message = message(inbox.stop.clone());
        inbox.messages.try_send(message).map_err(|error| if error.is_full() { Undelivered::Full } else { Undelivered::NoSession })
    }

    /// Remembers a session of HTTP+SSE.
    pub fn opened(self: &Arc<Self>, id: &str, caller: &HttpCaller, inbox: Inbox) {
        self.remember(id, caller, Way::Sse(inbox));
    }

    /// Remembers whose a session is, and ends those there is no room for.
    fn remember(self: &Arc<Self>, id: &str, caller: &HttpCaller, way: Way) {
        let (by, account, source) = (caller.credential_name(), caller.account(), caller.source);
        let crowded_out = {
            let mut open = self.open();
            open.push(OpenSession { id: id.to_owned(), by, account, source, way });
            crowded_out(&mut open)
        };
        crowded_out.into_iter().for_each(|session| self.close(session));
    }

    /// Ends a session of Streamable HTTP.
    fn end(self: &Arc<Self>, id: &str) {
        let session = self.take(id);
        session.into_iter().for_each(|session| self.close(session));
    }

    /// Ends what was taken out of the list. Not in the request that found it: its client may leave.
    fn close(self: &Arc<Self>, session: OpenSession) {
        match session.way {
            Way::Sse(inbox) => inbox.stop.cancel(),
            Way::Streamable(life) => {
                life.over.cancel();
                let sessions = self.clone();
                // Without a runtime the process is ending, and the session with it.
                let Ok(runtime) = Handle::try_current() else { return };
                runtime.spawn(async move {
                    if let Err(error) = sessions.sdk.close_session(&session.id.into()).await {
                        tracing::debug!(%error, "a session was gone before it was ended");
                    }
                });
            }
        }
    }

    fn take(&self, id: &str) -> Option<OpenSession> {
        let mut open = self.open();
        let at = open.iter().position(|session| session.id == id)?;
        Some(open.remove(at))
    }

    /// Forgets a session that ended by itself.
    pub fn ended(&self, id: &str) {
        if let Some(OpenSession { way: Way::Streamable(life), .. }) = self.take(id) {
            life.over.cancel();
        }
    }

    /// Ends a session once nothing was asked in it for [`MAX_IDLE`].
    async fn end_when_idle(self: Arc<Self>, id: SessionId, life: Arc<Life>) {
        loop {
            tokio::select! {
                () = life.over.cancelled() => return,
                () = life.stirred.notified() => {}
                () = sleep(MAX_IDLE), if life.busy.load(Ordering::Acquire) == 0 => {
                    // Looked at again where requests enter, so that none enters a session that ends.
                    let mut open = self.open();
                    let idle = |session: &OpenSession| *session.id == *id && life.busy.load(Ordering::Acquire) == 0;
                    let session = open.iter().position(idle).map(|at| open.remove(at));
                    drop(open);
                    session.into_iter().for_each(|session| self.close(session));
                }
            }
        }
    }
}

struct Opener {
    sessions: Arc<Sessions>,
    caller: Arc<HttpCaller>,
    made: OnceLock<SessionId>,
}

/// A request that may open a session. If it is left before it has its answer, its session ends: nobody knows its id.
pub struct Opening(Option<Arc<Opener>>);

impl Opening {
    pub fn new(sessions: &Arc<Sessions>, caller: &Arc<HttpCaller>) -> Self {
        Self(Some(Arc::new(Opener { sessions: sessions.clone(), caller: caller.clone(), made: OnceLock::new() })))
    }

    /// Answers the request.
    pub async fn answered<T>(mut self, answer: impl Future<Output = T>, is_told: impl FnOnce(&T) -> bool) -> T {
        let Some(opener) = self.0.clone() else { return answer.await };
        let answer = OPENER.scope(opener, answer).await;
        if is_told(&answer) {
            self.0 = None;
        }
        answer
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(opener) = &self.0
            && let Some(id) = opener.made.get()
        {
            opener.sessions.end(id);
        }
    }
}

/// The SDK's own way, but that a session is remembered in the moment it is made and forgotten in the moment it ends.
impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.sdk.create_session().await?;
        // Nothing is awaited from here on.
        let _ = OPENER.try_with(|opener| {
            let life = Arc::<Life>::default();
            let _ = opener.made.set(id.clone());
            tokio::spawn(opener.sessions.clone().end_when_idle(id.clone(), life.clone()));
            opener.sessions.remember(&id, &opener.caller, Way::Streamable(life));
        });
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.sdk.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.sdk.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.ended(id);
        self.sdk.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.sdk.create_stream(id, message).await
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.sdk.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.sdk.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.sdk.resume(id, last_event_id).await
    }
}

/// Takes out those the newest has left no room for.
fn crowded_out(open: &mut Vec<OpenSession>) -> Vec<OpenSession> {
    let Some(newest) = open.last() else { return Vec::new() };
    let (by, rate_limit_key) = (newest.by.clone(), newest.source.rate_limit_key());
    let anonymous = |session: &OpenSession| session.by.is_none();
    let mut out = Vec::new();
    if by.is_some() {
        out.extend(surplus(open, MAX_PER_KEY, |session| session.by == by, |_| ()));
    } else {
        let neighbours = |session: &OpenSession| anonymous(session) && session.source.rate_limit_key() == rate_limit_key;
        out.extend(surplus(open, MAX_ANONYMOUS_PER_SOURCE, neighbours, |_| ()));
        out.extend(surplus(open, MAX_ANONYMOUS, anonymous, |session| session.source.network()));
    }
    out.extend(surplus(open, MAX_SESSIONS, |_| true, |session| session.account));
    out
}

/// If there are more than `most` of those, the oldest of the group that has the most of them.
fn surplus<G: Eq + Hash>(
    open: &mut Vec<OpenSession>,
    most: usize,
    those: impl Fn(&OpenSession) -> bool,
    group: impl Fn(&OpenSession) -> G,
) -> Option<OpenSession> {
    if open.iter().filter(|session| those(session)).count() <= most {
        return None;
    }
    let mut counts = HashMap::<G, usize>::new();
    open.iter().filter(|session| those(session)).for_each(|session| *counts.entry(group(session)).or_default() += 1);
    let largest = counts.values().max().copied();
    let loses = |session: &OpenSession| those(session) && counts.get(&group(session)).copied() == largest;
    open.iter().position(loses).map(|at| open.remove(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(id: usize, account: Option<u8>, key: usize, address: &str) -> OpenSession {
        OpenSession {
            id: id.to_string(),
            by: account.map(|account| format!("key {key} of {account}")),
            account: account.map(|account| AccountId::new(jiff::Timestamp::UNIX_EPOCH, [account; 16])),
            source: Source::address(address.parse().unwrap()),
            way: Way::Streamable(Arc::default()),
        }
    }

    /// Opens one session after the other; how many of the first `of` are left.
    fn left_of(of: usize, sessions: impl Iterator<Item = OpenSession>) -> usize {
        let mut all = Vec::new();
        for session in sessions {
            all.push(session);
            crowded_out(&mut all);
            assert!(all.len() <= MAX_SESSIONS && all.iter().filter(|session| session.by.is_none()).count() <= MAX_ANONYMOUS);
        }
        all.iter().filter(|session| session.id.parse::<usize>().unwrap() < of).count()
    }

    #[test]
    fn a99_one_48_ends_its_own_sessions_and_nobody_elses() {
        let honest = (0..40).map(|n| open(n, None, 0, &format!("192.0.2.{n}")));
        let greedy = (40..1_200).map(|n| open(n, None, 0, &format!("2001:db8:1:{n:x}::1")));
        assert_eq!(left_of(40, honest.chain(greedy)), 40);
    }

    #[test]
    fn a99_two_greedy_accounts_end_each_others_and_nobody_elses() {
        let anonymous = (0..40).map(|n| open(n, None, 0, &format!("192.0.2.{n}")));
        let keyed = (40..80).map(|n| open(n, Some(u8::try_from(n).unwrap()), n, "192.0.2.200"));
        let greedy = (80..1_600).map(|n| open(n, Some(u8::try_from(n % 2).unwrap()), n / 20, "198.51.100.1"));
        assert_eq!(left_of(80, anonymous.chain(keyed).chain(greedy)), 80);
    }
}
