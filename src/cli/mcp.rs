//! `mcp`: MCP over stdin and stdout. Whoever holds the data directory also serves the pages.
//!
//! Several clients share one directory: every process passes its calls to the owner's socket, its own included,
//! so that nothing changes for a client when the owner does. When the owner ends, another MCP process takes over;
//! when a `serve` wants the directory, the MCP process that has it hands it over.

use super::{
    Done, Failure,
    serve::{Asked, DRAIN, Pages, following_port, shell_line},
    settings::{Global, Settings, text},
};
use crate::{
    config::{Config, is_loopback},
    mcp::stdio,
    owner::{self, Backend, Mine, Opened, Role, SocketClient},
    world::World,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// After an owner's end a `serve` that starts, or starts again, goes first.
const SERVE_FIRST: Duration = Duration::from_millis(500);
/// Pages that are under way when the directory is handed over.
const HAND_OVER: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct McpArgs {
    /// Keeps this client's keys apart from those of others [default: the name the client gives itself]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub async fn run(global: &Global, args: &McpArgs) -> Done {
    let Settings { config, data } = global.load(&[], false)?;
    let (holder, url) = Holder::find(&config, &data).await?;
    let mut asked = Asked::listen()?;
    match &holder {
        Holder::Us(..) => eprintln!("countersign: pages on {url}"),
        Holder::Them(_) => eprintln!("countersign: passing calls on to the process that serves {url}"),
    }
    let config = config_of(&config, &url);
    let backend = Backend::Remote(SocketClient::of(&data)?);
    let exe = text(&std::env::current_exe()?)?;
    let program = shell_line(&[vec![exe], global.repeated()?].concat());
    let client = stdio::Client { profile: args.profile.clone(), program };
    let stop = CancellationToken::new();
    let holding = tokio::spawn(hold(config.clone(), data.clone(), holder, stop.clone()));
    let ended = tokio::select! {
        ended = stdio::run(backend, &data, &config, client, World::system()) => ended.map_err(Failure::failed),
        _ = asked.signal() => Ok(()),
    };
    stop.cancel();
    tokio::select! {
        held = holding => held.map_err(Failure::failed)?,
        code = asked.signal() => return Ok(code),
    }
    ended?;
    Ok(0)
}

/// Who has the data directory.
enum Holder {
    Us(Pages, Box<Mine>),
    Them(SocketClient),
}

impl Holder {
    /// Takes the directory and serves its pages, or finds who does. Returns where the pages are, too.
    async fn find(config: &Arc<Config>, data: &Path) -> Result<(Self, String), Failure> {
        // Held before the store is opened: the links an agent shows need the port.
        let listener = listen(config.listen).await?;
        let here = following_port(config.clone(), &listener)?;
        match owner::open(here.clone(), data, Role::Mcp).await? {
            Opened::Theirs(theirs) => Ok((Self::Them(theirs.client), theirs.standing.url)),
            Opened::Mine(mut mine) => {
                if here.listen != config.listen {
                    tracing::warn!("{} is taken by another program", config.listen);
                }
                let pages = Pages::start(&mut mine, listener)?;
                Ok((Self::Us(pages, Box::new(mine)), here.public_url.clone()))
            }
        }
    }
}

/// The configured port, else one the system chooses: a client must not fail because a port is taken.
async fn listen(wanted: SocketAddr) -> Result<TcpListener, Failure> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await?),
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

/// Sees to it that somebody holds the directory, until this process ends.
async fn hold(config: Arc<Config>, data: PathBuf, mut holder: Holder, stop: CancellationToken) {
    loop {
        match holder {
            Holder::Us(pages, mine) => {
                let drain = tokio::select! {
                    () = stop.cancelled() => DRAIN,
                    () = mine.asked_for() => HAND_OVER,
                };
                pages.stop(drain).await;
                mine.close().await;
            }
            Holder::Them(client) => tokio::select! {
                () = stop.cancelled() => {}
                () = client.gone() => {}
            },
        }
        holder = loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SERVE_FIRST) => {}
            }
            match Holder::find(&config, &data).await {
                Ok((found, _)) => break found,
                Err(failure) => tracing::warn!("can't take over the data directory: {failure}"),
            }
        };
    }
}
