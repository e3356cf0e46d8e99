//! `serve`: pages, HTTP and MCP over HTTP, until a signal ends it.

use super::{
    Done, Failure,
    clients::Client,
    port, print, program,
    settings::{Global, Settings},
};
use crate::{
    config::{Config, is_loopback, is_loopback_url},
    http::{self, listen::Limits},
    owner::{self, Mine, Role, Taken, socket::places},
    service::Service,
};
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// What is under way when the server is told to end gets this long: with what is then written, below the 10 seconds
/// after which supervisors kill.
pub const DRAIN: Duration = Duration::from_secs(8);
/// Files that are no connections: the store's, logs.
const OTHER_FILES: u64 = 64;

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

pub async fn run(global: &Global, serve: Serve) -> Done {
    let mut flags = Vec::new();
    flags.extend(serve.listen.map(|listen| ("listen", listen.to_string())));
    flags.extend(serve.public_url.map(|url| ("public_url", url)));
    let Settings { config, data } = global.load(&flags, serve.insecure)?;
    config.left_alone.iter().for_each(|name| tracing::warn!("{name} is no setting, and left alone"));
    let wanted = port::for_serve(&config, &data);
    let taken = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("can't listen on {}: {error}; choose another with --listen 127.0.0.1:PORT", config.listen))
    };
    // Nobody hands over to a process that could not serve.
    let ready = port::may_be_had(&wanted, &data);
    // The lock first: whoever has it, and nobody else, takes the port.
    let lock = match owner::take(&data, ready).await? {
        Taken::Lock(lock) => lock,
        Taken::Theirs(theirs) if !ready && theirs.standing.role == Role::Mcp => return Err(taken(&"another program has that address")),
        Taken::Theirs(theirs) => return Err(Failure::Failed(format!("{theirs}: use that one, or end it first"))),
    };
    // What was noted while another had the directory counts.
    let listener = port::bind(&port::for_serve(&config, &data)).await.map_err(|error| taken(&error))?;
    port::note(&listener, &data);
    let config = following_port(config, &listener)?;
    let mut mine = owner::open_store(config, lock, Role::Serve).await?;
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
        pages.stop(DRAIN).await;
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
async fn forget_setup_note(service: Arc<Service>, note: PathBuf) {
    let mut tick = tokio::time::interval(Duration::from_secs(2));
    while note.exists() {
        tick.tick().await;
        if service.has_operator().await.unwrap_or(false) {
            let _ = fs::remove_file(&note);
        }
    }
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

/// The running server: HTTP, the owner's socket and upkeep.
pub struct Pages {
    service: Arc<Service>,
    stop: CancellationToken,
    serving: tokio::sync::Mutex<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

impl Pages {
    /// Starts serving the use cases on a bound listener, and lets local processes in.
    pub fn start(mine: &mut Mine, listener: TcpListener) -> io::Result<Self> {
        let (service, stop) = (mine.service.clone(), CancellationToken::new());
        let (app, draining) = (http::Front::new(service.clone()), service.clone());
        let serving = tokio::spawn(http::listen::serve(listener, app, limits(&service.config)?, stop.clone()));
        let socket = mine.listen()?;
        let upkeep = tokio::spawn(async move { service.upkeep().await });
        Ok(Self { service: draining, stop, serving: serving.into(), background: vec![socket, upkeep] })
    }

    /// Ends when serving fails by itself, or the store does: then this process is of no use, and whoever supervises it
    /// starts another.
    pub async fn ended(&self) -> Result<(), Failure> {
        let mut serving = self.serving.lock().await;
        tokio::select! {
            served = &mut *serving => served.map_err(Failure::failed),
            () = self.service.failed() => Err(Failure::failed("the store failed and can't be mended from inside: start the program again")),
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
fn limits(config: &Config) -> io::Result<Limits> {
    let usual = Limits::with_neighbours(&config.trusted_proxies);
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files)?;
    let room = files.current.map_or(u64::MAX, |most| most.saturating_sub(OTHER_FILES + places(Some(most))).max(1));
    let connections = usual.connections.min(usize::try_from(room).unwrap_or(usize::MAX));
    if connections < usual.connections {
        tracing::warn!("at most {connections} connections at once: the limit of open files (`ulimit -Hn`) is low");
    }
    Ok(Limits { connections, connections_of_one: usual.connections_of_one.min(connections.div_ceil(10)), ..usual })
}

/// SIGTERM and SIGINT, taken from now on.
pub struct Asked {
    term: Signal,
    int: Signal,
}

impl Asked {
    pub fn listen() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one; returns the exit code of a program that it ended.
    pub async fn signal(&mut self) -> u8 {
        tokio::select! {
            _ = self.term.recv() => 128 + 15,
            _ = self.int.recv() => 128 + 2,
        }
    }
}

/// Says where everything is, and how to begin.
async fn announce(service: &Service, data: &Path, global: &Global) -> Result<(), Failure> {
    let Config { service_name, environment, public_url, pages_url, .. } = &*service.config;
    print::say(&format!("{service_name} · {environment} · data {}", tilde(data)));
    let note = data.join(SETUP_NOTE);
    match fs::remove_file(&note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    if let Some((code, until)) = service.offer_setup().await.map_err(Failure::failed)? {
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
    if let Some(key) = service.publishable_key() {
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
    let secret = service.config.secret_path(data);
    let name = if secret == data.join("secret") { "secret".to_owned() } else { tilde(&secret) };
    print::say(&format!("Back up the file \"{name}\" apart from the data: without it no key works."));
    Ok(())
}

fn tilde(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(|rest| format!("~/{}", rest.display()))) {
        Some(short) => short,
        None => path.display().to_string(),
    }
}

/// Words as a shell reads them back.
pub fn shell_line(words: &[String]) -> String {
    let plain = |word: &String| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:@%+,".contains(&b));
    let quoted = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
