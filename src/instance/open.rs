//! Who owns the data directory, and how everybody else reaches the owner.
//!
//! One process holds the lock and the store; it listens on a Unix socket ([`control`](crate::instance::control)). Every other process of the
//! same user sends it requests, so several MCP clients and the command line share one directory and
//! nobody ever sees a lock error. Whoever asks doesn't need to know which it is: [`Backend`](crate::client::backend::Backend).

use crate::{
    config::settings::Config,
    domain::server_secret::Purpose,
    instance::{
        control::{
            client::SocketClient,
            dispatch::Local,
            request::{ControlRequest, ControlResponse},
            socket,
            status::{InstanceStatus, Role},
        },
        error::OpenFailure,
        journal_path::journal_of,
        lock::{Acquired, Holder, InstanceLock},
        secret_file,
    },
    platform::{
        private_files::{check_owner, private_dir},
        runtime::Runtime,
    },
    service::{
        admin::restore::{check_journal, revoke_again},
        errors::OpenError,
        services::Services,
    },
    store::{error::StoreError, journal::Journal, open},
};
use std::{fmt, fs, io, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::WaitForCancellationFutureOwned;

/// A data directory, ready for calls.
pub enum Opened {
    Mine(Instance),
    Theirs(OtherInstance),
}

impl Opened {
    /// What programs send as `apikey` to sign in, where they may.
    pub fn publishable_key(&self) -> Option<String> {
        match self {
            Self::Mine(mine) => mine.service.accounts.publishable_key().map(str::to_owned),
            Self::Theirs(theirs) => theirs.status.publishable_key.clone(),
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
pub struct Instance {
    pub service: Arc<Services>,
    local: Local,
    lock: InstanceLock,
}

/// The directory is another process's, which answers.
pub struct OtherInstance {
    pub status: InstanceStatus,
    pub client: SocketClient,
}

impl fmt::Display for OtherInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InstanceStatus { pid, role, url, data, .. } = &self.status;
        write!(f, "{} is in use by `countersign {role}` (process {pid}), which serves {url}", data.display())
    }
}

impl Instance {
    /// The use cases over the store of the directory that is locked.
    pub fn over(service: Arc<Services>, role: Role, lock: InstanceLock) -> Self {
        Self { local: Local::new(service.clone(), role, lock.dir().to_owned()), service, lock }
    }

    /// The use cases, to be called in this process.
    pub fn local(&self) -> Local {
        self.local.clone()
    }

    /// Lets other processes in: binds the socket, says where it is, and answers until the task is dropped.
    pub fn listen(&mut self) -> io::Result<tokio::task::JoinHandle<()>> {
        let socket = socket::Listening::bind(self.lock.dir())?;
        self.lock.announce(&Holder {
            pid: std::process::id(),
            role: self.local.role.to_string(),
            url: self.service.context.config.public_url.clone(),
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

/// How long a start waits for an owner that is starting, ending, or running one command.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

const RETRY_INTERVAL: Duration = Duration::from_millis(25);

/// The directory's lock, or who has it and answers.
pub enum Taken {
    Lock(InstanceLock),
    Theirs(Box<OtherInstance>),
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
    let found = tokio::time::timeout(LOCK_TIMEOUT, async {
        loop {
            match InstanceLock::acquire(&data)? {
                Acquired::Mine(lock) => return Ok(Taken::Lock(lock)),
                Acquired::Theirs(Some(owner)) if outranks && owner.role == Role::Mcp.to_string() && hands_over(&client).await => {}
                Acquired::Theirs(owner) => {
                    if let Ok(Ok(ControlResponse::Status(status))) = client.ask(&ControlRequest::Status).await {
                        return Ok(Taken::Theirs(Box::new(OtherInstance { status, client: client.clone() })));
                    }
                    seen = owner;
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
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
    if matches!(client.ask(&ControlRequest::HandOver).await, Ok(Err(_))) {
        return false;
    }
    client.gone().await;
    true
}

/// Opens the store of a directory this process has locked.
pub async fn open_store(config: Arc<Config>, lock: InstanceLock, role: Role) -> Result<Instance, OpenFailure> {
    let (runtime, data) = (Runtime::system(), lock.dir().to_owned());
    let directory = config.store_dir(&data);
    private_dir(&directory).map_err(|error| OpenFailure::Directory { data: directory.clone(), error })?;
    for path in [directory.join("store"), directory.join("store/db")] {
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => found
                .and_then(|found| check_owner(&path, &found))
                .map_err(|error| OpenFailure::Directory { data: directory.clone(), error })?,
        }
    }
    let secret = secret_file::read_or_make(&config.secret_path(&data), directory.join("store").exists(), &runtime)?;
    let journal = journal_of(&config, &data)?;
    let seals = secret.seals(Purpose::SealJournal);
    let (opening, noting, sealing) = (directory.clone(), journal.clone(), seals.clone());
    let store = |error| match error {
        StoreError::Unavailable(_) | StoreError::ReadOnly(_) => OpenFailure::Store { data: directory, error },
        StoreError::Corrupt(_) | StoreError::Panicked => OpenFailure::Damaged { data: directory, error },
    };
    let opened = move || {
        let journal = noting.map(|path| Journal::open(&path, sealing)).transpose()?;
        open::open(&opening, journal)
    };
    let stored = match tokio::task::spawn_blocking(opened).await {
        Ok(opened) => opened.map_err(store)?,
        Err(error) => return Err(store(StoreError::Unavailable(error.to_string()))),
    };
    let service = Arc::new(Services::open(config, stored.clone(), secret, runtime).await?);
    if let Some(journal) = &journal {
        check_journal(&stored, journal, &seals, service.context.runtime.now()).await.map_err(OpenError::Store)?;
        let lost = revoke_again(&stored, journal, &seals).await.map_err(OpenError::Store)?;
        if lost > 0 {
            tracing::warn!(
                lost,
                "revocations that the journal holds are not in the store; they are made again. After a kill they were under way; else look after the disk, and at other changes of that time"
            );
        }
    }
    Ok(Instance::over(service, role, lock))
}
