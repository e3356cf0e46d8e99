//! The port of the pages. Links that an agent has shown lead there, so whoever serves them next takes the same one.

use crate::{
    config::{settings::Config, url::is_loopback},
    platform::private_files::write_private,
};
use std::{
    fs,
    io::{self},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
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

/// The addresses for `serve`, best first: the chosen one and no other; else where the pages were last, then the default.
pub fn for_serve(config: &Config, data: &Path) -> Vec<SocketAddr> {
    let last = last(config.listen, data).filter(|_| !config.port_is_chosen);
    last.into_iter().chain([config.listen]).collect()
}

/// The addresses for `mcp`, best first, and at last any: a client must not fail because a port is taken.
/// `again`: it takes over, and links that were shown lead to the last port, whichever was chosen.
pub fn for_mcp(config: &Config, data: &Path, again: bool) -> Vec<SocketAddr> {
    let mut wanted: Vec<_> = last(config.listen, data).into_iter().chain([config.listen]).collect();
    if config.port_is_chosen && !again {
        wanted.reverse();
    }
    wanted.push(SocketAddr::new(config.listen.ip(), 0));
    wanted
}

/// Whether one of these addresses could be had, once whoever serves the pages now lets go of its own.
pub fn may_be_had(wanted: &[SocketAddr], data: &Path) -> bool {
    wanted.iter().any(|address| last(*address, data) == Some(*address) || std::net::TcpListener::bind(address).is_ok())
}

/// Notes the port for whoever comes next. Losing the note costs old links, not this process.
pub fn note(listener: &TcpListener, data: &Path) {
    let noted = listener.local_addr().and_then(|bound| write_private(&file(data), bound.port().to_string().as_bytes()));
    if let Err(error) = noted {
        tracing::warn!(%error, "the port could not be noted in the data directory");
    }
}

/// The first of these addresses that can be had.
pub async fn bind(wanted: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut failed = None;
    for address in wanted {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// A port the system chose becomes part of the URLs that named none.
pub fn following_port(config: Arc<Config>, listener: &TcpListener) -> io::Result<Arc<Config>> {
    let bound = listener.local_addr()?;
    let local = url::Url::parse(&config.public_url).is_ok_and(|url| url.scheme() == "http" && is_loopback(&url));
    if bound == config.listen || !local {
        return Ok(config);
    }
    let mut config = (*config).clone();
    let url = format!("http://{bound}");
    if config.pages_url == config.public_url {
        config.pages_url.clone_from(&url);
    }
    (config.listen, config.public_url) = (bound, url);
    Ok(Arc::new(config))
}
