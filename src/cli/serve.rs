//! `serve`: pages, HTTP and MCP over HTTP, until a signal ends it.

use crate::{
    cli::{
        clients::Client,
        failure::{CommandResult, Failure},
        port::{self, following_port},
        print, program,
        settings::{self, Global, Settings},
        shell::{shell_line, tilde},
        signals::Asked,
    },
    config::{settings::Config, url::is_loopback_url},
    instance::{
        control::status::Role,
        open::{self, Taken},
    },
    server::run::{DRAIN_TIMEOUT, Pages},
    service::services::Services,
};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Where the set-up code goes when nobody watches the terminal.
const SETUP_NOTE: &str = "setup-code";

#[derive(Args, Default)]
pub struct Serve {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// How others reach it; every published URL starts with it
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Allow a public address without https, because something else protects it
    #[arg(long)]
    insecure: bool,
}

impl Serve {
    pub fn is_given(&self) -> bool {
        self.listen.is_some() || self.public_url.is_some() || self.insecure
    }
}

pub async fn run(global: &Global, serve: Serve) -> CommandResult {
    let mut flags = Vec::new();
    flags.extend(serve.listen.map(|listen| ("listen", listen.to_string())));
    flags.extend(serve.public_url.map(|url| ("public_url", url)));
    let Settings { config, data } = global.load(&flags, serve.insecure)?;
    settings::warn(&config);
    let wanted = port::for_serve(&config, &data);
    let taken = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("can't listen on {}: {error}; choose another with --listen 127.0.0.1:PORT", config.listen))
    };
    // Nobody hands over to a process that could not serve.
    let ready = port::may_be_had(&wanted, &data);
    // The lock first: whoever has it, and nobody else, takes the port.
    let lock = match open::take(&data, ready).await? {
        Taken::Lock(lock) => lock,
        Taken::Theirs(theirs) if !ready && theirs.status.role == Role::Mcp => return Err(taken(&"another program has that address")),
        Taken::Theirs(theirs) => return Err(Failure::Failed(format!("{theirs}: use that one, or end it first"))),
    };
    // What was noted while another had the directory counts.
    let listener = port::bind(&port::for_serve(&config, &data)).await.map_err(|error| taken(&error))?;
    port::note(&listener, &data);
    let config = following_port(config, &listener)?;
    let mut mine = open::open_store(config, lock, Role::Serve).await?;
    let pages = Pages::start(&mut mine, listener)?;
    // Before anything is printed: whoever reads that we run may end us at once.
    let mut asked = Asked::listen()?;
    announce(&mine.service, &data, global).await?;
    let spent = tokio::spawn(forget_setup_note(mine.service.clone(), data.join(SETUP_NOTE)));
    let ended = tokio::select! {
        _ = asked.signal() => Ok(()),
        ended = pages.ended() => ended,
    };
    spent.abort();
    let close = async {
        pages.stop(DRAIN_TIMEOUT).await;
        mine.close().await;
    };
    tokio::select! {
        () = close => {}
        // Whoever asks twice waits for nobody; all that was acknowledged is on disk.
        code = asked.signal() => return Ok(code),
    }
    // Its code died with this process.
    let _ = fs::remove_file(data.join(SETUP_NOTE));
    ended?;
    Ok(0)
}

/// Removes the note with the set-up code once there is an operator.
async fn forget_setup_note(service: Arc<Services>, note: PathBuf) {
    let mut tick = tokio::time::interval(Duration::from_secs(2));
    while note.exists() {
        tick.tick().await;
        if service.accounts.has_operator().await.unwrap_or(false) {
            let _ = fs::remove_file(&note);
        }
    }
}

/// Says where everything is, and how to begin.
async fn announce(service: &Services, data: &Path, global: &Global) -> Result<(), Failure> {
    let Config { service_name, environment, public_url, pages_url, .. } = &*service.context.config;
    print::say(&format!("{service_name} · {environment} · data {}", tilde(data)));
    let note = data.join(SETUP_NOTE);
    match fs::remove_file(&note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    if let Some((code, until)) = service.accounts.offer_setup().await.map_err(Failure::failed)? {
        let until = until.to_zoned(TimeZone::system()).strftime("%H:%M");
        let place = if io::stdout().is_terminal() {
            code
        } else {
            // Whatever collects the output keeps it; the code is for whoever can read the data directory.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&note)?;
            writeln!(file, "{code}")?;
            format!("in the file {}", note.display())
        };
        print::say(&format!("Set up   {pages_url}/setup   code {place}, once, until {until}"));
    }
    print::say(&format!("Agents   {public_url}/auth.md"));
    if let Some(key) = service.accounts.publishable_key() {
        print::say(&format!("Programs {public_url}/auth/v1/token   apikey {key}"));
    }
    let mut command = vec![program::path()?, "mcp".to_owned()];
    command.extend(global.repeated()?);
    print::say(&format!("Claude   claude mcp add countersign -- {}", shell_line(&command)));
    let flags: String = command.iter().skip(2).map(|word| format!(" {}", shell_line(std::slice::from_ref(word)))).collect();
    let others = Client::value_variants().iter().skip(1).filter_map(|client| client.to_possible_value());
    let others = others.map(|client| client.get_name().to_owned()).collect::<Vec<_>>().join(" | ");
    print::say(&format!("Others   countersign connect {others}{flags}"));
    if is_loopback_url(public_url) {
        print::say("Only this computer can reach it; for others use --public-url https://…");
    }
    let secret = service.context.config.secret_path(data);
    let name = if secret == data.join("secret") { "secret".to_owned() } else { tilde(&secret) };
    print::say(&format!("Back up the file \"{name}\" apart from the data: without it no key works."));
    Ok(())
}
