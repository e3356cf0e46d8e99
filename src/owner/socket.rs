//! The owner's socket: one JSON line in, one JSON line out, between processes of one user.
//!
//! Only the user who owns the data directory gets in: the directory is 0700, the socket 0600, and both ends
//! compare the other's uid, as the kernel tells it, with their own before a byte is sent.

use super::calls::{Call, Local, Reply};
use crate::{
    service::{Error, Operation},
    store::lock::private_dir,
    world::World,
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};
use zeroize::Zeroizing;

/// A call is small; anything longer is a mistake or an attack on memory.
const MAX_CALL: usize = 64 << 10;
/// A page of 100 keys with many scopes each still fits.
const MAX_REPLY: usize = 4 << 20;
/// `sun_path` holds 108 bytes on Linux and 104 on macOS, the last one is zero.
const MAX_PATH: usize = 103;
/// How long a call waits for a new owner. Taking over takes well under a second.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(25);
/// Connections at once; each waiting poll is one.
const MAX_CONNECTIONS: usize = 512;

/// This process's user, as the kernel tells it to the other end of a socket.
pub fn own_uid() -> io::Result<u32> {
    let (here, _there) = UnixStream::pair()?;
    Ok(here.peer_cred()?.uid())
}

/// Where the owner of `data` listens. A path too long for a socket moves to the user's runtime directory.
fn socket_path(data: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(data)?.join("owner.sock");
    if path.as_os_str().len() <= MAX_PATH {
        return Ok(path);
    }
    let name = &blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex()[..16];
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    if let Some(dir) = runtime
        && own_private_dir(&dir).is_ok()
    {
        return Ok(dir.join(format!("countersign-{name}.sock")));
    }
    let dir = PathBuf::from(format!("/tmp/countersign-{}", own_uid()?));
    if !dir.exists() {
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
    }
    own_private_dir(&dir)?;
    Ok(dir.join(format!("{name}.sock")))
}

/// `/tmp` is everybody's: a directory there counts only if it is ours, no link, and closed to others.
fn own_private_dir(dir: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(dir)?;
    if found.is_dir() && found.uid() == own_uid()? && found.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is not a private directory of this user", dir.display())))
}

/// The bound socket, removed when this value goes.
pub struct Listening {
    listener: UnixListener,
    path: PathBuf,
}

impl Listening {
    /// Binds the socket of `data`. The caller holds the directory's lock, so what lies there is a dead owner's.
    pub fn bind(data: &Path) -> io::Result<Self> {
        private_dir(data)?;
        let path = socket_path(data)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers calls until the task is dropped.
    pub async fn serve(self, here: Local) {
        let (here, places) = (Arc::new(here), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        let Ok(uid) = own_uid() else { return };
        // Dropped with this future: a client whose owner lets go notices at once.
        let mut conversations = JoinSet::new();
        loop {
            while conversations.try_join_next().is_some() {}
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the owner's socket could not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !stream.peer_cred().is_ok_and(|peer| peer.uid() == uid) {
                tracing::warn!("a process of another user tried the owner's socket");
                continue;
            }
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let here = here.clone();
            conversations.spawn(async move {
                if let Err(error) = converse(stream, &here).await {
                    tracing::debug!(%error, "a local client left in the middle of a call");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A call with the random bits that make it one operation, however often it is sent.
#[derive(Serialize)]
struct Sent<'a> {
    operation: &'a str,
    #[serde(flatten)]
    call: &'a Call,
}

#[derive(Deserialize)]
struct Received {
    operation: Option<String>,
    #[serde(flatten)]
    call: Call,
}

/// Answers one client's calls, in order, until it hangs up.
async fn converse(stream: UnixStream, here: &Local) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(line) = line(&mut read, MAX_CALL).await? {
        let result = match serde_json::from_slice::<Received>(&line) {
            Err(error) => Err(Error::Malformed { detail: format!("not a call this version knows: {error}") }),
            Ok(Received { operation, call }) => {
                let operation = operation.map(|_| Operation::of(&line)).unwrap_or_default();
                if call.waits() {
                    tokio::select! {
                        result = call.run(here, operation) => result,
                        () = hung_up(&mut read) => return Ok(()),
                    }
                } else {
                    call.run(here, operation).await
                }
            }
        };
        write.write_all(&encoded(&result)?).await?;
    }
    Ok(())
}

/// Ends when the client goes away; never, once it has sent more.
async fn hung_up(read: &mut (impl AsyncBufRead + Unpin)) {
    if read.fill_buf().await.is_ok_and(|more| !more.is_empty()) {
        std::future::pending::<()>().await;
    }
}

/// The next line without its end; `None` when the other side is done.
async fn line(read: &mut (impl AsyncBufRead + Unpin), max: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    let read = read.take(max as u64 + 1).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() {
        let too_long = line.len() > max;
        return Err(io::Error::new(
            if too_long { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof },
            if too_long { "the line is too long" } else { "the line was cut off" },
        ));
    }
    Ok(Some(line))
}

fn encoded(value: &impl serde::Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    serde_json::to_writer(&mut *line, value)?;
    line.push(b'\n');
    Ok(line)
}

/// Calls the process that owns a data directory. Each call is a connection of its own: dropping the call hangs up.
#[derive(Debug, Clone)]
pub struct SocketClient {
    path: PathBuf,
}

impl SocketClient {
    /// A client for the socket an owner announced. Nothing is sent yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// A client for whoever owns `data`, now and later.
    pub fn of(data: &Path) -> io::Result<Self> {
        socket_path(&data.canonicalize()?).map(Self::new)
    }

    /// Asks the owner. While one owner ends and the next begins, the call waits, and is sent again as the same operation.
    pub async fn call(&self, call: &Call) -> Result<Reply, Error> {
        let operation = u128::from_be_bytes(World::system().bytes()).to_string();
        let began = tokio::time::Instant::now();
        let found = async {
            loop {
                let rest = call.after(began.elapsed());
                let error = match self.connect().await {
                    Ok(stream) => match converse_once(stream, &Sent { operation: &operation, call: &rest }).await {
                        // What an owner says that closes its store meanwhile: the next one knows better.
                        Ok(Err(Error::Unavailable)) if call.may_be_repeated() => io::Error::other("it is about to end"),
                        Ok(result) => return result,
                        Err(error) if call.may_be_repeated() => error,
                        Err(error) => return self.unavailable(&error),
                    },
                    // Somebody else's socket stays somebody else's.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return self.unavailable(&error),
                    Err(error) => error,
                };
                tracing::debug!(%error, "the data directory has no owner at the moment");
                tokio::time::sleep(AGAIN).await;
            }
        };
        let patience = PATIENCE + call.longest_wait();
        match tokio::time::timeout(patience, found).await {
            Ok(result) => result,
            Err(_) => self.unavailable(&io::ErrorKind::TimedOut.into()),
        }
    }

    fn unavailable(&self, error: &io::Error) -> Result<Reply, Error> {
        tracing::warn!(%error, socket = %self.path.display(), "the process that owns the data directory did not answer");
        Err(Error::Unavailable)
    }

    /// Returns once the owner is gone.
    pub async fn gone(&self) {
        if let Ok(mut stream) = self.connect().await {
            // It never speaks first: whatever ends this read ends the connection.
            let _ = stream.read(&mut [0]).await;
        }
    }

    /// One call, tried once; the outer error means that the owner could not be asked.
    pub async fn ask(&self, call: &Call) -> io::Result<Result<Reply, Error>> {
        converse_once(self.connect().await?, call).await
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let (uid, found) = (own_uid()?, fs::symlink_metadata(&self.path)?);
        let foreign = || io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is not a socket of this user", self.path.display()));
        if !found.file_type().is_socket() || found.uid() != uid {
            return Err(foreign());
        }
        let stream = UnixStream::connect(&self.path).await?;
        if stream.peer_cred()?.uid() != uid {
            return Err(foreign());
        }
        Ok(stream)
    }
}

async fn converse_once(stream: UnixStream, call: &impl Serialize) -> io::Result<Result<Reply, Error>> {
    let (read, mut write) = stream.into_split();
    write.write_all(&encoded(call)?).await?;
    let reply = line(&mut BufReader::new(read), MAX_REPLY).await?;
    let reply = reply.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"))?;
    Ok(serde_json::from_slice(&reply)?)
}
