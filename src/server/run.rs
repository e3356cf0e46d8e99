//! The running server: starts serving on a listener, and drains it.

use crate::{
    config::settings::Config,
    instance::{control::socket::places, open::Instance},
    server::{connection_limits::ConnectionLimits, entry, listen},
    service::services::Services,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{io, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// What is under way when the server is told to end gets this long: with what is then written, below the 10 seconds
/// after which supervisors kill.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Files that are no connections: the store's, logs.
const RESERVED_FILES: u64 = 64;

/// The running server: HTTP, the owner's socket and upkeep.
pub struct Pages {
    service: Arc<Services>,
    stop: CancellationToken,
    serving: tokio::sync::Mutex<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

impl Pages {
    /// Starts serving the use cases on a bound listener, and lets local processes in.
    pub fn start(mine: &mut Instance, listener: TcpListener) -> io::Result<Self> {
        let (service, stop) = (mine.service.clone(), CancellationToken::new());
        let (app, draining) = (entry::Front::new(service.clone()), service.clone());
        let serving = tokio::spawn(listen::serve(listener, app, limits(&service.context.config)?, stop.clone()));
        let socket = mine.listen()?;
        let upkeep = tokio::spawn(async move { service.housekeeping.upkeep().await });
        Ok(Self { service: draining, stop, serving: serving.into(), background: vec![socket, upkeep] })
    }

    /// Ends when serving fails by itself, or the store does: then this process is of no use, and whoever supervises it
    /// starts another.
    pub async fn ended(&self) -> io::Result<()> {
        let mut serving = self.serving.lock().await;
        tokio::select! {
            served = &mut *serving => served.map_err(io::Error::other),
            () = self.service.failed() => Err(io::Error::other("the store failed and can't be mended from inside: start the program again")),
        }
    }

    /// Takes no more, and gives what is under way some time.
    pub async fn stop(self, drain: Duration) {
        self.service.drain();
        self.stop.cancel();
        let mut serving = self.serving.into_inner();
        if !serving.is_finished() && tokio::time::timeout(drain, &mut serving).await.is_err() {
            tracing::warn!("some requests were still under way after {} seconds", drain.as_secs());
            serving.abort();
            // Awaited, so that the last connection is gone.
            let _ = serving.await;
        }
        for task in self.background {
            task.abort();
            // Awaited, so that its hold on the store is gone.
            let _ = task.await;
        }
    }
}

/// As many connections as this process may have files for, after taking all the system lets it take.
fn limits(config: &Config) -> io::Result<ConnectionLimits> {
    let usual = ConnectionLimits::with_neighbours(&config.trusted_proxies);
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let room = files.current.map_or(u64::MAX, |most| most.saturating_sub(RESERVED_FILES + places(Some(most))).max(1));
    let connections = usual.connections.min(usize::try_from(room).unwrap_or(usize::MAX));
    if connections < usual.connections {
        tracing::warn!("at most {connections} connections at once: the limit of open files (`ulimit -Hn`) is low");
    }
    Ok(ConnectionLimits { connections, connections_of_one: usual.connections_of_one.min(connections.div_ceil(10)), ..usual })
}
