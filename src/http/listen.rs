//! Connections: how many there may be, and for how long each. Whoever wants all of them for himself gets the places of
//! those that do nothing, and no more.
//!
//! hyper counts no connections and its timers cost each request something, so the rules are kept from outside: a
//! connection notes that a request begins and that bytes leave ([`Pulse`]), and one sweep a second looks at all of them.
//! What answers is never cut: a poll that waits is a request under way, a stream writes something every few seconds.

use super::MAX_BODY;
use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::ConnectInfo,
    response::Response,
    serve::Listener,
};
use futures::task::AtomicWaker;
use hyper::{
    Request, Version,
    body::{Body as _, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
    rt::{Read, ReadBufCursor, Write},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, Sleep, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

/// What answers requests: a [`Router`](axum::Router), or what knows a shorter way.
pub trait Answers: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static {}

impl<S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static> Answers for S {}

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open at once. Past it the one that has been quiet since long makes place; if all are busy, new ones wait.
    pub connections: usize,
    /// From the connection to the first whole request head. Cut without an answer: nobody asked anything yet.
    pub head: Duration,
    /// For the whole of a request's body, which is 64 KiB at most; then 408.
    pub body: Duration,
    /// Without a request under way and without a byte taken by the client. Above the 60 s for which proxies
    /// commonly keep their connections, so that it is they who close.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, head: Duration::from_secs(10), body: Duration::from_secs(15), idle: Duration::from_secs(75) }
    }
}

/// Of a request's head, over all lines; more is 431. Our own longest, a browser with all its cookies, has 2 KiB.
const MAX_HEAD: usize = 16 * 1024;
/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 100;
/// Streams a client reset before we came to them; the next one ends the connection (CVE-2023-44487).
const MAX_RESETS: usize = 20;
/// How often connections are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a connection that is kept may still ask once the server is about to end: it is answered, and told that this was
/// the last answer. Proxies send requests on such connections while they are being closed.
const LINGER: Duration = Duration::from_secs(1);
/// After being asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop`, then takes no new connections and returns when the last one has had its answer. Dropping it
/// cuts those that are left.
pub async fn serve<S: Answers>(mut listener: TcpListener, app: S, limits: Limits, stop: CancellationToken) {
    let mut open = Open { limits, tasks: JoinSet::new(), all: VecDeque::new() };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting: Option<(TcpStream, SocketAddr)> = None;
    loop {
        if open.tasks.len() < limits.connections
            && let Some((stream, peer)) = waiting.take()
        {
            open.begin(stream, peer, app.clone());
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.tasks.join_next() => {}
            _ = tick.tick() => {
                open.sweep();
                if waiting.is_some() {
                    open.make_room();
                }
            }
            accepted = Listener::accept(&mut listener), if waiting.is_none() => {
                waiting = Some(accepted);
                if open.tasks.len() >= limits.connections {
                    open.make_room();
                }
            }
        }
    }
    drop((listener, waiting));
    open.end(End::Soon);
    if timeout(LINGER, open.all_ended()).await.is_err() {
        open.end(End::Politely);
        open.all_ended().await;
    }
}

/// What a connection is told.
#[derive(Clone, Copy)]
#[repr(u8)]
enum End {
    /// The next answer is the last.
    Soon = 1,
    /// Finish what is under way and take no more.
    Politely = 2,
    Now = 3,
}

/// What is seen of a connection from outside.
#[derive(Default)]
struct Pulse {
    under_way: AtomicU32,
    wrote: AtomicBool,
    told: AtomicU8,
    task: AtomicWaker,
}

impl Pulse {
    /// Whether it did something since the last look.
    fn beats(&self) -> bool {
        self.wrote.swap(false, Ordering::Relaxed) | (self.under_way.load(Ordering::Relaxed) > 0)
    }

    fn end(&self, how: End) {
        self.told.fetch_max(how as u8, Ordering::Release);
        self.task.wake();
    }
}

/// A request under way.
struct UnderWay(Arc<Pulse>);

impl UnderWay {
    fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.under_way.fetch_add(1, Ordering::Relaxed);
        Self(pulse.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Connection {
    pulse: Arc<Pulse>,
    quiet: Duration,
    /// Whether it ever asked for anything.
    asked: bool,
}

/// All open connections.
struct Open {
    limits: Limits,
    tasks: JoinSet<()>,
    /// Those that had their turn in [`Self::make_room`] last are at the back.
    all: VecDeque<Connection>,
}

impl Open {
    fn end(&self, how: End) {
        self.all.iter().for_each(|connection| connection.pulse.end(how));
    }

    async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, app: impl Answers) {
        // Small answers leave at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let pulse = Arc::new(Pulse::default());
        self.all.push_back(Connection { pulse: pulse.clone(), quiet: Duration::ZERO, asked: false });
        self.tasks.spawn(answer(stream, peer, app, pulse, self.limits.body));
    }

    /// Ends those whose time is over.
    fn sweep(&mut self) {
        let Limits { head, idle, .. } = self.limits;
        self.all.retain_mut(|connection| {
            let Connection { pulse, quiet, asked } = connection;
            if pulse.beats() {
                (*quiet, *asked) = (Duration::ZERO, true);
                return true;
            }
            *quiet = quiet.saturating_add(TICK);
            if !*asked && *quiet > head || *quiet > idle.saturating_add(GRACE) {
                pulse.end(End::Now);
            } else if *quiet > idle {
                pulse.end(End::Politely);
            }
            // Its task holds the other one.
            Arc::strong_count(pulse) > 1
        });
    }

    /// Ends one that does nothing; with none, the next that ends by itself makes place.
    fn make_room(&mut self) {
        for _ in 0..self.all.len() {
            let Some(connection) = self.all.pop_front() else { return };
            if Arc::strong_count(&connection.pulse) == 1 {
                continue;
            }
            if !connection.pulse.beats() {
                connection.pulse.end(End::Now);
                return;
            }
            self.all.push_back(Connection { quiet: Duration::ZERO, asked: true, ..connection });
        }
    }
}

/// One connection to its end.
async fn answer(stream: TcpStream, peer: SocketAddr, app: impl Answers, pulse: Arc<Pulse>, in_time: Duration) {
    let mut protocols = Builder::new(TokioExecutor::new());
    // Head and body leave in one piece: our answers are small.
    protocols.http1().max_buf_size(MAX_HEAD).writev(false);
    protocols
        .http2()
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .initial_stream_window_size(MAX_BODY as u32);
    let service = service_fn(|mut request: Request<Incoming>| {
        let version = request.version();
        request.extensions_mut().insert(ConnectInfo(peer));
        let request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(InTime { body, within: in_time, late: None }),
        });
        let (under_way, answer) = (UnderWay::new(&pulse), app.clone().call(request));
        async move {
            let mut answer = answer.await;
            if under_way.0.told.load(Ordering::Relaxed) == End::Soon as u8
                && version < Version::HTTP_2
                && let Ok(answer) = &mut answer
            {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            drop(under_way);
            answer
        }
    });
    let wire = Wire { stream: TokioIo::new(stream), pulse: pulse.clone() };
    let mut served = pin!(protocols.serve_connection(wire, service));
    let mut asked_to_end = false;
    let ended = poll_fn(|context| {
        pulse.task.register(context.waker());
        let told = pulse.told.load(Ordering::Acquire);
        if told == End::Now as u8 {
            return Poll::Ready(Ok(()));
        }
        if told == End::Politely as u8 && !std::mem::replace(&mut asked_to_end, true) {
            served.as_mut().graceful_shutdown();
        }
        served.as_mut().poll(context)
    });
    if let Err(error) = ended.await {
        tracing::debug!(error, "a connection broke");
    }
}

/// A connection's bytes. Only those that leave count as a sign of life: a client can send for ever.
struct Wire {
    stream: TokioIo<TcpStream>,
    pulse: Arc<Pulse>,
}

impl Wire {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.pulse.wrote.store(true, Ordering::Relaxed);
        }
        written
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(written)
    }
}

/// The body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
pub struct TooLate;

/// A body that has to arrive within some time. What is there already sets no timer.
struct InTime {
    body: Incoming,
    within: Duration,
    late: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for InTime {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let within = self.within;
        ready!(self.late.get_or_insert_with(|| Box::pin(sleep(within))).as_mut().poll(context));
        Poll::Ready(Some(Err(TooLate.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
