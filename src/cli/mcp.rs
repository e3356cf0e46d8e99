//! `mcp`: MCP over stdin and stdout. Whoever holds the data directory also serves the pages.

use super::{
    Done, Failure,
    serve::{Pages, asked_to_end, following_port},
    settings::{Global, Settings},
};
use crate::{
    config::{Config, is_loopback},
    mcp::stdio,
    owner::{self, Mine, Opened, Role},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub async fn run(global: &Global) -> Done {
    let Settings { config, data } = global.load(&[], false)?;
    // Held before the store is opened: the links an agent shows need the port.
    let listener = listen(config.listen).await?;
    let config = following_port(config, &listener)?;
    match owner::open(config.clone(), &data, Role::Mcp).await? {
        Opened::Mine(mut mine) => {
            if listener.local_addr()? != config.listen {
                tracing::warn!("{} is taken by another program", config.listen);
            }
            eprintln!("countersign: pages on {}", config.public_url);
            let pages = Pages::start(&mut mine, listener)?;
            let ended = until_done(mine.backend(), &data, config).await;
            pages.stop().await;
            mine.close().await;
            ended?;
        }
        Opened::Theirs(theirs) => {
            drop(listener);
            eprintln!("countersign: {theirs}; this process passes calls on to it");
            let config = config_of(&config, &theirs.standing.url);
            let stop = CancellationToken::new();
            let heir = tokio::spawn(inherit(config.clone(), data.clone(), theirs.client.clone(), stop.clone()));
            let ended = until_done(owner::Backend::Remote(theirs.client), &data, config).await;
            stop.cancel();
            heir.await.map_err(Failure::failed)?;
            ended?;
        }
    }
    Ok(0)
}

/// The configured port, else one the system chooses: a client must not fail because a port is taken.
async fn listen(wanted: SocketAddr) -> Result<TcpListener, Failure> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await?),
    }
}

async fn until_done(backend: owner::Backend, data: &Path, config: Arc<Config>) -> Result<(), Failure> {
    tokio::select! {
        ended = stdio::run(backend, data, config) => ended.map_err(Failure::failed),
        asked = asked_to_end() => asked,
    }
}

/// This configuration with the owner's address, so that links shown before a change of owner stay good.
fn config_of(config: &Config, url: &str) -> Arc<Config> {
    let mut config = config.clone();
    let here = url::Url::parse(url).ok().filter(|url| url.scheme() == "http" && is_loopback(url));
    if let Some(port) = here.and_then(|url| url.port_or_known_default()) {
        config.listen.set_port(port);
    }
    if config.pages_url == config.public_url {
        config.pages_url = url.to_owned();
    }
    config.public_url = url.to_owned();
    Arc::new(config)
}

/// Waits for the owner's end and takes over, unless another process is quicker. Calls that wait meanwhile find the
/// new owner at the same socket, be it this process.
async fn inherit(config: Arc<Config>, data: PathBuf, mut owner: owner::SocketClient, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = owner.gone() => {}
        }
        match take_over(config.clone(), &data).await {
            Ok(Ok((pages, mine))) => {
                stop.cancelled().await;
                pages.stop().await;
                return mine.close().await;
            }
            Ok(Err(next)) => owner = next,
            Err(failure) => {
                tracing::warn!("can't take over the data directory: {failure}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn take_over(config: Arc<Config>, data: &Path) -> Result<Result<(Pages, Mine), owner::SocketClient>, Failure> {
    let listener = listen(config.listen).await?;
    let config = following_port(config, &listener)?;
    match owner::open(config.clone(), data, Role::Mcp).await? {
        Opened::Theirs(theirs) => Ok(Err(theirs.client)),
        Opened::Mine(mut mine) => {
            let pages = Pages::start(&mut mine, listener)?;
            eprintln!("countersign: took over {}; pages on {}", data.display(), config.public_url);
            Ok(Ok((pages, mine)))
        }
    }
}
