//! `mcp`: MCP over stdin and stdout. Whoever holds the data directory also serves the pages.
//!
//! Several clients share one directory: every process passes its calls to the owner's socket, its own included,
//! so that nothing changes for a client when the owner does. When the owner ends, another MCP process takes over;
//! when a `serve` wants the directory, the MCP process that has it hands it over. The client is answered before any
//! of this is settled; its first call waits for it.

use crate::{
    cli::{
        failure::{CommandResult, Failure},
        port::{self, following_port},
        print, program,
        settings::{self, Global, Settings},
        shell::shell_line,
        signals::Asked,
    },
    client::{backend::Backend, remote::ServerClient},
    config::settings::Config,
    instance::{
        control::{client::SocketClient, status::Role},
        error::OpenFailure,
        open::{self, Instance, Taken},
    },
    mcp::stdio,
    platform::{private_files::private_dir, runtime::Runtime},
    server::run::{DRAIN_TIMEOUT, Pages},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// After an owner's end a `serve` that starts, or starts again, goes first.
const SERVE_HEAD_START: Duration = Duration::from_millis(500);

/// Pages that are under way when the directory is handed over.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct McpArgs {
    /// Keeps this client's keys apart from those of others [default: the name the client gives itself]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub async fn run(global: &Global, args: &McpArgs) -> CommandResult {
    let Settings { config, data } = global.load(&[], false)?;
    settings::warn(&config);
    let mut asked = Asked::listen()?;
    let program = shell_line(&[vec![program::path()?], global.repeated()?].concat());
    private_dir(&data).map_err(|error| OpenFailure::Directory { data: data.clone(), error })?;
    let client = |server| stdio::Client { profile: args.profile.clone(), program, server };
    if let Some(url) = &global.server {
        let server = ServerClient::new(url, None)?;
        let client = client(Some(server.origin().to_owned()));
        tokio::select! {
            ended = stdio::run(Backend::Server(server), &data, &config, client, Runtime::system()) => ended?,
            _ = asked.signal() => {}
        }
        return Ok(0);
    }
    let backend = Backend::Socket(SocketClient::of(&data)?);
    let stop = CancellationToken::new();
    let mut holding = tokio::spawn(hold(config.clone(), data.clone(), stop.clone()));
    let ended = tokio::select! {
        ended = stdio::run(backend, &data, &config, client(None), Runtime::system()) => ended,
        _ = asked.signal() => Ok(()),
        // Only what was wrong from the start ends it, and a store that failed for good.
        failed = &mut holding => return failed.map_err(Failure::failed)?.map(|()| 1),
    };
    stop.cancel();
    tokio::select! {
        held = holding => held.map_err(Failure::failed)??,
        code = asked.signal() => return Ok(code),
    }
    ended?;
    Ok(0)
}

/// Who has the data directory.
enum Holder {
    Us(Pages, Box<Instance>),
    Them(SocketClient),
}

impl Holder {
    /// Takes the directory and serves its pages, or finds who does. `again`: it did so before.
    async fn find(config: &Arc<Config>, data: &Path, again: bool) -> Result<Self, Failure> {
        let lock = match open::take(data, false).await? {
            Taken::Lock(lock) => lock,
            Taken::Theirs(theirs) => {
                print::note(&format!("countersign: passing calls on to the process that serves {}", theirs.status.url));
                return Ok(Self::Them(theirs.client));
            }
        };
        // Before the store is opened: the links an agent shows need the port.
        let listener = port::bind(&port::for_mcp(config, data, again)).await?;
        port::note(&listener, data);
        let here = following_port(config.clone(), &listener)?;
        if config.port_is_chosen && !again && here.listen != config.listen {
            tracing::warn!("{} is taken by another program", config.listen);
        }
        let mut mine = open::open_store(here.clone(), lock, Role::Mcp).await?;
        let pages = Pages::start(&mut mine, listener)?;
        print::note(&format!("countersign: pages on {}", here.public_url));
        Ok(Self::Us(pages, Box::new(mine)))
    }
}

/// Sees to it that somebody holds the directory, until this process ends. Fails only if it can't be used at all, or this
/// process can't use it any more.
async fn hold(config: Arc<Config>, data: PathBuf, stop: CancellationToken) -> Result<(), Failure> {
    let mut holder = Holder::find(&config, &data, false).await?;
    loop {
        match holder {
            Holder::Us(pages, mine) => {
                let (drain, ended) = tokio::select! {
                    () = stop.cancelled() => (DRAIN_TIMEOUT, Ok(())),
                    () = mine.asked_for() => (HAND_OVER_TIMEOUT, Ok(())),
                    ended = pages.ended() => (HAND_OVER_TIMEOUT, ended),
                };
                pages.stop(drain).await;
                mine.close().await;
                ended?;
            }
            Holder::Them(client) => tokio::select! {
                () = stop.cancelled() => {}
                () = client.gone() => {}
            },
        }
        holder = loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(SERVE_HEAD_START) => {}
            }
            match Holder::find(&config, &data, true).await {
                Ok(found) => break found,
                Err(failure) => tracing::warn!("can't take over the data directory: {failure}"),
            }
        };
    }
}
