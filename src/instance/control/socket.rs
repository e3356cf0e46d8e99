//! The owner's socket: one JSON line in, one JSON line out, between processes of one user.
//!
//! Only the user who owns the data directory gets in: the directory is 0700, the socket 0600, and both ends
//! compare the other's uid, as the kernel tells it, with their own before a byte is sent.

use crate::{
    api::error::Error,
    instance::control::{
        dispatch::Local,
        framing::{Received, encoded, hung_up, line},
    },
    platform::{
        private_files::{own_private_dir, own_uid, private_dir},
        runtime::Runtime,
    },
    service::idempotency::Operation,
};
use rustix::process::{Resource, getrlimit};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// A call is small; anything longer is a mistake or an attack on memory.
const MAX_REQUEST_BYTES: usize = 64 << 10;

/// A page of 100 keys with many scopes each still fits.
pub const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// `sun_path` holds 108 bytes on Linux and 104 on macOS, the last one is zero.
const MAX_PATH_BYTES: usize = 103;

/// How long a call waits for a new owner. Taking over takes well under a second.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries at reaching the owner.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(25);

/// Connections at once, where there are files enough; each waiting poll is one.
const MAX_CONNECTIONS: u64 = 512;

/// And where there are few.
const MIN_CONNECTIONS: u64 = 16;

/// Who connects has something to say.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at once in a process that may have so many files open: a part of them, so that whoever connects and says
/// nothing leaves enough for the store and the pages.
pub fn places(files: Option<u64>) -> u64 {
    files.map_or(MAX_CONNECTIONS, |files| (files / 16).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS))
}

/// Where the owner of `data` listens. A path too long for a socket moves to the user's runtime directory. Others find
/// it where the owner announced it: their environment may be another.
fn socket_path(data: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(data)?.join("owner.sock");
    if path.as_os_str().len() <= MAX_PATH_BYTES {
        return Ok(path);
    }
    let name = &blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex()[..16];
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    if let Some(dir) = runtime
        && own_private_dir(&dir).is_ok()
    {
        return Ok(dir.join(format!("countersign-{name}.sock")));
    }
    // Who took the first name is not asked to give it back.
    let usual = format!("/tmp/countersign-{}", own_uid());
    let other = format!("{usual}-{:016x}", u64::from_be_bytes(Runtime::system().bytes()));
    let dir = first_private([usual.into(), other.into()]);
    let dir = dir.ok_or_else(|| io::Error::other("there is no private place for a socket: set XDG_RUNTIME_DIR, or use a shorter path"))?;
    Ok(dir.join(format!("{name}.sock")))
}

/// The first of these directories that is, or can be made, this user's alone.
fn first_private(dirs: [PathBuf; 2]) -> Option<PathBuf> {
    dirs.into_iter().find(|dir| {
        let _ = fs::DirBuilder::new().mode(0o700).create(dir);
        own_private_dir(dir).is_ok()
    })
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

    /// Where it is bound, for other processes to be told.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers calls until the task is dropped.
    pub async fn serve(self, here: Local) {
        let (here, idle) = (Arc::new(here), Arc::new(Idle::default()));
        let most = usize::try_from(places(getrlimit(Resource::Nofile).current)).unwrap_or(usize::MAX);
        // Dropped with this future: a client whose owner lets go notices at once.
        let mut conversations = JoinSet::new();
        loop {
            while conversations.try_join_next().is_some() {}
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the owner's socket could not accept");
                    idle.end_oldest();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !stream.peer_cred().is_ok_and(|peer| peer.uid() == own_uid()) {
                tracing::warn!("a process of another user tried the owner's socket");
                continue;
            }
            if conversations.len() >= most && !idle.end_oldest() {
                continue;
            }
            let (here, idle) = (here.clone(), idle.clone());
            conversations.spawn(async move {
                if let Err(error) = converse(stream, &here, &idle).await {
                    tracing::debug!(%error, "a local client left in the middle of a call");
                }
            });
        }
    }
}

/// The connections that wait for a call, the one that waits longest first: it goes when another needs its place.
#[derive(Default)]
struct Idle(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    ends: BTreeMap<u64, CancellationToken>,
}

impl Idle {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there was one.
    fn end_oldest(&self) -> bool {
        self.waiting().ends.pop_first().map(|(_, end)| end.cancel()).is_some()
    }

    /// What a connection's wait brings; nothing, if it had to go.
    async fn wait<T>(&self, next: impl Future<Output = io::Result<Option<T>>>) -> io::Result<Option<T>> {
        let end = CancellationToken::new();
        let place = {
            let mut waiting = self.waiting();
            waiting.next += 1;
            let place = waiting.next;
            waiting.ends.insert(place, end.clone());
            place
        };
        let next = tokio::select! {
            next = next => next,
            () = end.cancelled() => Ok(None),
        };
        self.waiting().ends.remove(&place);
        next
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        // A folder that was made because another had the usual name.
        let made = format!("/tmp/countersign-{}-", own_uid());
        if let Some(dir) = self.path.parent().and_then(Path::to_str).filter(|dir| dir.starts_with(&made)) {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Answers one client's calls, in order, until it hangs up.
async fn converse(stream: UnixStream, here: &Local, idle: &Idle) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut next = idle.wait(async { tokio::time::timeout(REQUEST_TIMEOUT, line(&mut read, MAX_REQUEST_BYTES)).await? }).await?;
    while let Some(line) = next {
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
        next = idle.wait(crate::instance::control::framing::line(&mut read, MAX_REQUEST_BYTES)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_another_took_is_passed_over() {
        let root = tempfile::TempDir::new().unwrap();
        let [taken, linked, free] = ["taken", "linked", "free"].map(|name| root.path().join(name));
        // As open as another user's would be closed: neither is private to us.
        fs::create_dir(&taken).unwrap();
        fs::set_permissions(&taken, fs::Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::symlink(root.path(), &linked).unwrap();
        assert_eq!(first_private([taken.clone(), linked.clone()]), None);
        assert_eq!(first_private([taken, free.clone()]), Some(free.clone()));
        assert_eq!(first_private([free.clone(), linked]), Some(free));
    }
}
