//! Connections: how many there may be, and for how long each. Whoever wants all of them for himself gets the places of
//! those that do nothing, and no more.
//!
//! hyper counts no connections and its timers cost each request something, so the rules are kept from outside: a
//! connection notes that a request begins and that bytes leave (`Pulse`), and one sweep a second looks at all of them.
//! What waits to be taken is counted over all of them ([`Untaken`]).
//! What answers is never cut: a poll that waits is a request under way, a stream writes something every few seconds.

use crate::{
    http::{
        extract::body::{MAX_BODY_BYTES, TooLate},
        shared_body::CHUNK_BYTES,
    },
    server::{
        connection_limits::ConnectionLimits,
        pulse::{End, Pulse, UnderWay, Wire},
        unread_answers::counted,
        unread_total::Untaken,
    },
};
use axum::{
    BoxError,
    body::{Body, Bytes},
    extract::ConnectInfo,
    response::Response,
    serve::Listener,
};
use hyper::{
    Method, Request, Version,
    body::{Body as _, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    convert::Infallible,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
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

/// Of a request's head, over all lines; more is 431. Our own longest, a browser with all its cookies, has 2 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 32;

/// The same of a proxy or service beside us, which has many callers.
const MAX_STREAMS_OF_A_NEIGHBOUR: u32 = 100;

/// Streams a client reset before we came to them; the next one ends the connection (CVE-2023-44487).
const MAX_RESETS: usize = 20;

/// How often connections are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a connection that is kept may still ask once the server is about to end: it is answered, and told that this was
/// the last answer. Proxies send requests on such connections while they are being closed.
const LINGER: Duration = Duration::from_secs(1);

/// After being asked to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Serves until `stop`, then takes no new connections and returns when the last one has had its answer. Dropping it
/// cuts those that are left.
pub async fn serve<S: Answers>(mut listener: TcpListener, app: S, limits: ConnectionLimits, stop: CancellationToken) {
    let (connections, untaken) = (limits.connections, Untaken::new(limits.untaken));
    let mut open =
        OpenConnections { limits, untaken: untaken.clone(), tasks: JoinSet::new(), all: VecDeque::new(), by_source: HashMap::new() };
    let mut tick = interval(CHECK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting: Option<(TcpStream, SocketAddr)> = None;
    loop {
        if open.tasks.len() < connections
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
            () = untaken.too_many() => open.end_hoarders(),
            accepted = Listener::accept(&mut listener), if waiting.is_none() => {
                waiting = Some(accepted);
                if open.tasks.len() >= connections {
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

struct Connection {
    pulse: Arc<Pulse>,
    quiet: Duration,
    /// For how long the client takes nothing of what there is for it.
    unread: Duration,
    /// Whether it ever asked for anything.
    asked: bool,
}

/// All open connections.
struct OpenConnections {
    limits: ConnectionLimits,
    untaken: Arc<Untaken>,
    tasks: JoinSet<()>,
    /// How many there are of whom that is limited: each holds one of these.
    by_source: HashMap<IpAddr, Arc<()>>,
    /// Those that had their turn in [`Self::make_room`] last are at the back.
    all: VecDeque<Connection>,
}

impl OpenConnections {
    fn end(&self, how: End) {
        self.all.iter().for_each(|connection| connection.pulse.end(how));
    }

    async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr, app: impl Answers) {
        let place = match self.limits.counted(peer.ip()) {
            Some(source) => {
                let places = self.by_source.entry(source).or_default();
                // The map has one.
                if Arc::strong_count(places) > self.limits.connections_of_one {
                    tracing::debug!(%peer, "closed: its address has all the connections it may have");
                    return;
                }
                Some(places.clone())
            }
            None => None,
        };
        // Small answers leave at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let pulse = Pulse::new(self.untaken.clone());
        self.all.push_back(Connection { pulse: pulse.clone(), quiet: Duration::ZERO, unread: Duration::ZERO, asked: false });
        let in_time = self.limits.body;
        let streams = if place.is_some() { MAX_STREAMS } else { MAX_STREAMS_OF_A_NEIGHBOUR };
        self.tasks.spawn(async move {
            answer(stream, peer, app, pulse, streams, in_time).await;
            drop(place);
        });
    }

    /// Ends those whose time is over.
    fn sweep(&mut self) {
        let ConnectionLimits { head, idle, unread: patience, .. } = self.limits;
        self.all.retain_mut(|connection| {
            let Connection { pulse, quiet, unread, asked } = connection;
            let (wrote, busy) = (pulse.wrote(), pulse.is_busy());
            *unread = if !wrote && pulse.has_untaken() { unread.saturating_add(CHECK_INTERVAL) } else { Duration::ZERO };
            if *unread > patience {
                pulse.end(End::Now);
            } else if wrote || busy {
                (*quiet, *asked) = (Duration::ZERO, true);
                return true;
            }
            *quiet = quiet.saturating_add(CHECK_INTERVAL);
            if !*asked && *quiet > head || *quiet > idle.saturating_add(SHUTDOWN_GRACE) {
                pulse.end(End::Now);
            } else if *quiet > idle {
                pulse.end(End::Politely);
            }
            // Its task holds the other one.
            Arc::strong_count(pulse) > 1
        });
        self.by_source.retain(|_, places| Arc::strong_count(places) > 1);
    }

    /// Ends one that does nothing; with none, the next that ends by itself makes place.
    fn make_room(&mut self) {
        for _ in 0..self.all.len() {
            let Some(connection) = self.all.pop_front() else { return };
            if Arc::strong_count(&connection.pulse) == 1 {
                continue;
            }
            if !(connection.pulse.wrote() | connection.pulse.is_busy()) {
                connection.pulse.end(End::Now);
                return;
            }
            self.all.push_back(Connection { quiet: Duration::ZERO, asked: true, ..connection });
        }
    }

    /// Ends connections until half of what answers may take is free, first who holds most.
    fn end_hoarders(&mut self) {
        let held = |connection: &&Connection| connection.pulse.held.load(Ordering::Relaxed);
        let ending = |connection: &&Connection| connection.pulse.ending.load(Ordering::Relaxed) == End::Now as u8;
        let leaving: usize = self.all.iter().filter(ending).map(|connection| held(&connection)).sum();
        let mut over = self.untaken.held().saturating_sub(leaving).saturating_sub(self.limits.untaken / 2);
        let mut hoarders: Vec<_> = self.all.iter().filter(|connection| held(connection) > 0 && !ending(connection)).collect();
        hoarders.sort_by_cached_key(|connection| Reverse(held(connection)));
        let mut ended = 0;
        for connection in hoarders {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(held(&connection));
            connection.pulse.end(End::Now);
            ended += 1;
        }
        if ended > 0 {
            tracing::warn!("clients did not take their answers: {ended} connections that held most of them were ended");
        }
    }
}

/// One connection to its end.
async fn answer(stream: TcpStream, peer: SocketAddr, app: impl Answers, pulse: Arc<Pulse>, streams: u32, in_time: Duration) {
    let mut protocols = Builder::new(TokioExecutor::new());
    // Head and body leave in one piece: our answers are small.
    protocols.http1().max_buf_size(MAX_HEAD_BYTES).writev(false);
    protocols
        .http2()
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_concurrent_streams(streams)
        .max_send_buf_size(CHUNK_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .initial_stream_window_size(MAX_BODY_BYTES as u32);
    let service = service_fn(|mut request: Request<Incoming>| {
        let (version, question) = (request.version(), matches!(*request.method(), Method::GET | Method::HEAD));
        request.extensions_mut().insert(ConnectInfo(peer));
        let request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(InTime { body, within: in_time, late: None }),
        });
        let (under_way, answer) = (UnderWay::new(&pulse), app.clone().call(request));
        async move {
            let mut answer = answer.await;
            if under_way.0.ending.load(Ordering::Relaxed) == End::Soon as u8
                && version < Version::HTTP_2
                && let Ok(answer) = &mut answer
            {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer.map(|answer| counted(under_way, version, question, answer))
        }
    });
    let wire = Wire { stream: TokioIo::new(stream), pulse: pulse.clone() };
    let mut served = pin!(protocols.serve_connection(wire, service));
    let mut asked_to_end = false;
    let ended = poll_fn(|context| {
        pulse.task.register(context.waker());
        let ending = pulse.ending.load(Ordering::Acquire);
        if ending == End::Now as u8 {
            return Poll::Ready(Ok(()));
        }
        if ending == End::Politely as u8 && !std::mem::replace(&mut asked_to_end, true) {
            served.as_mut().graceful_shutdown();
        }
        served.as_mut().poll(context)
    });
    if let Err(error) = ended.await {
        tracing::debug!(error, "a connection broke");
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a90_one_is_an_address_or_a_64_and_neighbours_are_not_counted() {
        let limits = ConnectionLimits::with_neighbours(&["198.51.100.0/24".parse().unwrap()]);
        let counted = |ip: &str| limits.counted(ip.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(counted("203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(counted("::ffff:203.0.113.9").as_deref(), Some("203.0.113.9"));
        assert_eq!(counted("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1:2::"));
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "10.1.2.3",
            "172.18.0.2",
            "192.168.1.1",
            "fd00::1",
            "fe80::1",
            "198.51.100.7",
        ] {
            assert_eq!(counted(near), None, "{near}");
        }
    }
}
