//! `mcp`: MCP over stdin and stdout. Whoever holds the data directory also serves the pages.

use super::{
    Done, Failure,
    serve::{Pages, asked_to_end, following_port},
    settings::{Global, Settings},
};
use crate::{
    config::Config,
    mcp::stdio,
    owner::{self, Opened, Role},
    world::World,
};
use std::{net::SocketAddr, path::Path};
use tokio::net::TcpListener;

#[derive(Debug, clap::Args)]
pub struct McpArgs {
    /// Keeps this client's keys apart from those of others [default: the name the client gives itself]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub async fn run(global: &Global, args: &McpArgs) -> Done {
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
            let ended = until_done(mine.backend(), &data, &config, args).await;
            pages.stop().await;
            mine.close().await;
            ended?;
        }
        Opened::Theirs(theirs) => {
            drop(listener);
            eprintln!("countersign: {theirs}; this process passes calls on to it");
            let mut config = (*config).clone();
            config.public_url.clone_from(&theirs.standing.url);
            until_done(owner::Backend::Remote(theirs.client), &data, &config, args).await?;
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

async fn until_done(backend: owner::Backend, data: &Path, config: &Config, args: &McpArgs) -> Result<(), Failure> {
    tokio::select! {
        ended = stdio::run(backend, data, config, args.profile.clone(), World::system()) => ended.map_err(Failure::failed),
        asked = asked_to_end() => asked,
    }
}
