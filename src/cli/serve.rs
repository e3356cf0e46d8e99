//! `serve`: pages, HTTP and MCP over HTTP, until a signal ends it.

use super::{
    Done, Failure, port, print,
    settings::{Global, Settings, text},
};
use crate::{
    config::{Config, is_loopback},
    http,
    owner::{self, Mine, Role, Taken},
    service::Service,
};
use axum::serve::ListenerExt;
use clap::Args;
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
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// What is under way when the server is told to end gets this long.
pub const DRAIN: Duration = Duration::from_secs(10);

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
    // The lock first: whoever has it, and nobody else, takes the port.
    let lock = match owner::take(&data, Role::Serve).await? {
        Taken::Lock(lock) => lock,
        Taken::Theirs(theirs) => return Err(Failure::Failed(format!("{theirs}: use that one, or end it first"))),
    };
    let last = port::last(config.listen, &data).filter(|_| config.listen.port() == 0);
    let listener = port::bind(last.into_iter().chain([config.listen])).await.map_err(|error| {
        Failure::Failed(format!("can't listen on {}: {error}; choose another with --listen 127.0.0.1:PORT", config.listen))
    })?;
    port::note(&listener, &data);
    let config = following_port(config, &listener)?;
    let mut mine = owner::open_store(config, lock, Role::Serve).await?;
    let pages = Pages::start(&mut mine, listener)?;
    // Before anything is printed: whoever reads that we run may end us at once.
    let asked = asked_to_end()?;
    announce(&mine.service, &data, global).await?;
    let spent = tokio::spawn(forget_setup_note(mine.service.clone(), data.join(SETUP_NOTE)));
    let ended = tokio::select! {
        () = asked => Ok(()),
        ended = pages.ended() => ended,
    };
    spent.abort();
    pages.stop(DRAIN).await;
    mine.close().await;
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
    serving: tokio::sync::Mutex<JoinHandle<io::Result<()>>>,
    background: Vec<JoinHandle<()>>,
}

impl Pages {
    /// Starts serving the use cases on a bound listener, and lets local processes in.
    pub fn start(mine: &mut Mine, listener: TcpListener) -> io::Result<Self> {
        let (service, stop) = (mine.service.clone(), CancellationToken::new());
        let listener = listener.tap_io(|stream| {
            // Small answers leave at once.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
        });
        let (app, draining) = (http::router(service.clone()), service.clone());
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let serving = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        let socket = mine.listen()?;
        let upkeep = tokio::spawn(async move { service.upkeep().await });
        Ok(Self { service: draining, stop, serving: tokio::spawn(async move { serving.await }).into(), background: vec![socket, upkeep] })
    }

    /// Ends when serving fails by itself.
    async fn ended(&self) -> Result<(), Failure> {
        match (&mut *self.serving.lock().await).await {
            Ok(ended) => ended.map_err(Failure::failed),
            Err(error) => Err(Failure::failed(error)),
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
        }
        for task in self.background {
            task.abort();
            // Awaited, so that its hold on the store is gone.
            let _ = task.await;
        }
    }
}

/// Takes SIGTERM and SIGINT from now on; what it returns waits for one.
pub fn asked_to_end() -> Result<impl Future<Output = ()>, Failure> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Says where everything is, and how to begin.
async fn announce(service: &Service, data: &Path, global: &Global) -> Result<(), Failure> {
    let Config { service_name, environment, public_url, pages_url, .. } = &*service.config;
    print::line(&format!("{service_name} · {environment} · data {}", tilde(data)))?;
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
        print::line(&format!("Set up   {pages_url}/setup   code {place}, once, until {until}"))?;
    }
    print::line(&format!("Agents   {public_url}/auth.md"))?;
    if let Some(key) = service.publishable_key() {
        print::line(&format!("Programs {public_url}/auth/v1/token   apikey {key}"))?;
    }
    let mut command = vec![text(&std::env::current_exe()?)?, "mcp".to_owned()];
    command.extend(global.repeated()?);
    print::line(&format!("Claude   claude mcp add countersign -- {}", shell_line(&command)))?;
    let flags: String = command.iter().skip(2).map(|word| format!(" {}", shell_line(std::slice::from_ref(word)))).collect();
    print::line(&format!("Others   countersign connect cursor | vscode | claude-desktop{flags}"))?;
    if url::Url::parse(public_url).is_ok_and(|url| is_loopback(&url)) {
        print::line("Only this computer can reach it; for others use --public-url https://…")?;
    }
    let secret = service.config.secret_path(data);
    let name = if secret == data.join("secret") { "secret".to_owned() } else { tilde(&secret) };
    print::line(&format!("Back up the file \"{name}\" apart from the data: without it no key works."))
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
