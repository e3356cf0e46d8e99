//! Who owns the data directory, and how everybody else reaches the owner.
//!
//! One process holds the lock and the store; it listens on a Unix socket ([`socket`]). Every other process of the
//! same user sends it calls ([`calls`]), so several MCP clients and the command line share one directory and
//! nobody ever sees a lock error. Whoever asks doesn't need to know which it is: [`Backend::call`].

mod answer;
pub mod calls;
mod restore;
pub mod secret;
pub mod server;
pub mod socket;

pub use calls::{Call, Local, Reply, Standing};
pub use restore::{Accept, RestoreFailure, restore};
pub use secret::SecretError;
pub use server::ServerClient;
pub use socket::SocketClient;

use crate::{
    config::Config,
    credentials::write_private,
    domain::secret::Purpose,
    service::{
        Error, OpenError, Operation, Service,
        restore::{check_journal, revoke_again},
        verify::Caller,
    },
    store::{
        SledEngine, Store, StoreError,
        journal::Journal,
        lock::{Acquired, Owner, OwnerLock, ours, private_dir},
    },
    world::World,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// What a process does with the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Serve,
    Mcp,
    /// One command, gone in a moment.
    Command,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve",
            Self::Mcp => "mcp",
            Self::Command => "command",
        })
    }
}

/// The use cases, wherever the store is.
#[derive(Clone)]
pub enum Backend {
    /// This process holds it.
    Local(Local),
    /// Another process of this user does.
    Socket(SocketClient),
    /// A server elsewhere does.
    Server(ServerClient),
}

impl Backend {
    /// For the calls of one request whose credential this process verified just now.
    pub fn for_caller(&self, caller: Caller) -> Self {
        match self {
            Self::Local(here) => Self::Local(here.for_caller(caller)),
            elsewhere => elsewhere.clone(),
        }
    }

    pub async fn call(&self, call: Call) -> Result<Reply, Error> {
        match self {
            // What is boxed is as large as the largest of the calls; this one is made all the time.
            Self::Local(here) => match call {
                Call::CheckScope { credential, scopes, environment } => here.check_scope(&credential, &scopes, environment).await,
                call => Box::pin(call.run(here, Operation::default())).await,
            },
            Self::Socket(client) => client.call(&call).await,
            Self::Server(client) => client.call(&call).await,
        }
    }

    /// Where keys come from and where they go.
    pub async fn origins(&self) -> Result<Origins, Error> {
        match self {
            Self::Server(client) => client.origins().await,
            here => match here.call(Call::Status).await? {
                Reply::Status(standing) => Ok(Origins { server: standing.url, api: standing.api }),
                _ => Err(Error::internal("the owner answered something else")),
            },
        }
    }
}

/// A server and the API its keys open.
#[derive(Debug, Clone)]
pub struct Origins {
    pub server: String,
    pub api: String,
}

/// A data directory, ready for calls.
pub enum Opened {
    Mine(Mine),
    Theirs(Theirs),
}

impl Opened {
    pub fn backend(&self) -> Backend {
        match self {
            Self::Mine(mine) => mine.backend(),
            Self::Theirs(theirs) => Backend::Socket(theirs.client.clone()),
        }
    }

    /// What programs send as `apikey` to sign in, where they may.
    pub fn publishable_key(&self) -> Option<String> {
        match self {
            Self::Mine(mine) => mine.service.publishable_key().map(str::to_owned),
            Self::Theirs(theirs) => theirs.standing.publishable_key.clone(),
        }
    }

    /// Frees the directory if it is this process's.
    pub async fn close(self) {
        if let Self::Mine(mine) = self {
            mine.close().await;
        }
    }
}

/// The directory is this process's, for as long as this value lives.
pub struct Mine {
    pub service: Arc<Service>,
    local: Local,
    lock: OwnerLock,
}

/// The directory is another process's, which answers.
pub struct Theirs {
    pub standing: Standing,
    pub client: SocketClient,
}

impl fmt::Display for Theirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { pid, role, url, data, .. } = &self.standing;
        write!(f, "{} is in use by `countersign {role}` (process {pid}), which serves {url}", data.display())
    }
}

impl Mine {
    /// The use cases over the store of the directory that is locked.
    pub fn over(service: Arc<Service>, role: Role, lock: OwnerLock) -> Self {
        Self { local: Local::new(service.clone(), role, lock.dir().to_owned()), service, lock }
    }

    pub fn local(&self) -> Local {
        self.local.clone()
    }

    pub fn backend(&self) -> Backend {
        Backend::Local(self.local())
    }

    /// Lets other processes in: binds the socket, says where it is, and answers until the task is dropped.
    pub fn listen(&mut self) -> io::Result<tokio::task::JoinHandle<()>> {
        let socket = socket::Listening::bind(self.lock.dir())?;
        self.lock.announce(&Owner {
            pid: std::process::id(),
            role: self.local.role.to_string(),
            url: self.service.config.public_url.clone(),
            socket: socket.path().to_owned(),
        })?;
        Ok(tokio::spawn(socket.serve(self.local())))
    }

    /// Ends when a process that outranks this one wants the directory.
    pub fn asked_for(&self) -> WaitForCancellationFutureOwned {
        self.local.asked_for.clone().cancelled_owned()
    }

    /// Writes everything out; the directory is free once this returns.
    pub async fn close(self) {
        self.service.close().await;
    }
}

/// Why the data directory can't be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    #[error("can't use the data directory {data}: {error}", data = .data.display())]
    Directory { data: PathBuf, error: io::Error },
    #[error("{data} is in use by another process{who} that does not answer: wait a moment, or end that process", data = .data.display())]
    Silent { data: PathBuf, who: String },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("can't open the store in {data}: {error}", data = .data.display())]
    Store { data: PathBuf, error: StoreError },
    #[error(
        "can't open the store in {data}: {error}. Keep the directory as it is; `countersign doctor` looks at it, and \
         `countersign restore BACKUP --data NEW` brings a backup back", data = .data.display()
    )]
    Damaged { data: PathBuf, error: StoreError },
}

/// How long a start waits for an owner that is starting, ending, or running one command.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(25);

/// The directory's lock, or who has it and answers.
pub enum Taken {
    Lock(OwnerLock),
    Theirs(Box<Theirs>),
}

/// Opens the data directory, or finds who has it open. Never fails only because somebody has it.
pub async fn open(config: Arc<Config>, data: &Path, role: Role) -> Result<Opened, OpenFailure> {
    match take(data, role == Role::Serve).await? {
        Taken::Lock(lock) => Ok(Opened::Mine(open_store(config, lock, role).await?)),
        Taken::Theirs(theirs) => Ok(Opened::Theirs(*theirs)),
    }
}

/// Takes the lock. For a `serve` that is ready, as it `outranks` them, an MCP process that has it hands it over.
pub async fn take(data: &Path, outranks: bool) -> Result<Taken, OpenFailure> {
    let directory = |error| OpenFailure::Directory { data: data.to_owned(), error };
    private_dir(data).map_err(directory)?;
    let data = data.canonicalize().map_err(directory)?;
    let client = SocketClient::of(&data).map_err(directory)?;
    let mut seen = None;
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            match OwnerLock::acquire(&data)? {
                Acquired::Mine(lock) => return Ok(Taken::Lock(lock)),
                Acquired::Theirs(Some(owner)) if outranks && owner.role == Role::Mcp.to_string() && hands_over(&client).await => {}
                Acquired::Theirs(owner) => {
                    if let Ok(Ok(Reply::Status(standing))) = client.ask(&Call::Status).await {
                        return Ok(Taken::Theirs(Box::new(Theirs { standing, client: client.clone() })));
                    }
                    seen = owner;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    })
    .await;
    match found {
        Ok(Ok(taken)) => Ok(taken),
        Ok(Err(error)) => Err(directory(error)),
        Err(_) => {
            let who = seen.map(|owner| format!(" (`countersign {}`, process {})", owner.role, owner.pid)).unwrap_or_default();
            Err(OpenFailure::Silent { data, who })
        }
    }
}

/// Asks an MCP process for the directory; returns once it has let go.
async fn hands_over(client: &SocketClient) -> bool {
    // A lost reply is as good as one: the owner is on its way out.
    if matches!(client.ask(&Call::HandOver).await, Ok(Err(_))) {
        return false;
    }
    client.gone().await;
    true
}

const JOURNAL_NOTE: &str = "journal.path";

/// The journal, also for a command that was not told of the configuration: a change that is missing in it would come
/// back with a backup. Where it is kept is remembered in the data directory until somebody removes that file.
pub fn journal_path(config: &Config, data: &Path) -> io::Result<Option<PathBuf>> {
    match (config.journal_path(), fs::read_to_string(data.join(JOURNAL_NOTE))) {
        (Some(path), _) => std::path::absolute(path).map(Some),
        (None, Ok(noted)) => Ok(Some(PathBuf::from(noted.trim()))),
        (None, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        (None, Err(error)) => Err(error),
    }
}

fn journal_of(config: &Config, data: &Path) -> Result<Option<PathBuf>, OpenFailure> {
    let note = data.join(JOURNAL_NOTE);
    let failed = |error| OpenFailure::Directory { data: note.clone(), error };
    let (journal, known) = (journal_path(config, data).map_err(failed)?, note.exists());
    if let Some(path) = &journal {
        note_journal(data, path).map_err(failed)?;
        if known && !path.exists() {
            tracing::warn!(path = %path.display(), "the journal is not there: a new one begins, which no backup made before now can be restored with");
        }
    }
    Ok(journal)
}

fn note_journal(data: &Path, journal: &Path) -> io::Result<()> {
    let (note, journal) = (data.join(JOURNAL_NOTE), std::path::absolute(journal)?);
    let journal = journal.to_string_lossy();
    // Whole or not at all: a full disk must not take the old one away.
    if fs::read_to_string(&note).is_ok_and(|noted| noted == journal) {
        return Ok(());
    }
    write_private(&note, journal.as_bytes())
}

/// Opens the store of a directory this process has locked.
pub async fn open_store(config: Arc<Config>, lock: OwnerLock, role: Role) -> Result<Mine, OpenFailure> {
    let (world, data) = (World::system(), lock.dir().to_owned());
    let directory = config.store_dir(&data);
    private_dir(&directory).map_err(|error| OpenFailure::Directory { data: directory.clone(), error })?;
    for path in [directory.join("store"), directory.join("store/db")] {
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => {
                found.and_then(|found| ours(&path, &found)).map_err(|error| OpenFailure::Directory { data: directory.clone(), error })?
            }
        }
    }
    let secret = secret::read_or_make(&config.secret_path(&data), directory.join("store").exists(), &world)?;
    let journal = journal_of(&config, &data)?;
    let seals = secret.seals(Purpose::SealJournal);
    let (opening, noting, sealing) = (directory.clone(), journal.clone(), seals.clone());
    let store = |error| match error {
        StoreError::Unavailable(_) | StoreError::ReadOnly(_) => OpenFailure::Store { data: directory, error },
        StoreError::Corrupt(_) | StoreError::Panicked => OpenFailure::Damaged { data: directory, error },
    };
    let opened = move || {
        let journal = noting.map(|path| Journal::open(&path, sealing)).transpose()?;
        SledEngine::open(&opening, journal)
    };
    let engine = match tokio::task::spawn_blocking(opened).await {
        Ok(opened) => opened.map_err(store)?,
        Err(error) => return Err(store(StoreError::Unavailable(error.to_string()))),
    };
    let engine = Store::new(Arc::new(engine));
    let service = Arc::new(Service::open(config, engine.clone(), secret, world).await?);
    if let Some(journal) = &journal {
        check_journal(&engine, journal, &seals, service.world.now()).await.map_err(OpenError::Store)?;
        let lost = revoke_again(&engine, journal, &seals).await.map_err(OpenError::Store)?;
        if lost > 0 {
            tracing::warn!(
                lost,
                "revocations that the journal holds are not in the store; they are made again. After a kill they were under way; else look after the disk, and at other changes of that time"
            );
        }
    }
    Ok(Mine::over(service, role, lock))
}
