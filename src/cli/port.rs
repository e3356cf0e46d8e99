//! The port of the pages. Links that an agent has shown lead there, so whoever serves them next takes the same one.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::net::TcpListener;

fn file(data: &Path) -> PathBuf {
    data.join("port")
}

/// The address with the port the pages were on last.
pub fn last(listen: SocketAddr, data: &Path) -> Option<SocketAddr> {
    let port = fs::read_to_string(file(data)).ok()?.trim().parse().ok()?;
    Some(SocketAddr::new(listen.ip(), port))
}

/// Notes the port for whoever comes next. Losing the note costs old links, not this process.
pub fn note(listener: &TcpListener, data: &Path) {
    let noted = listener.local_addr().and_then(|bound| fs::write(file(data), bound.port().to_string()));
    if let Err(error) = noted {
        tracing::warn!(%error, "the port could not be noted in the data directory");
    }
}

/// The first of these addresses that can be had.
pub async fn bind(wanted: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpListener> {
    let mut failed = None;
    for address in wanted {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}
