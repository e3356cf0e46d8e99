//! The calling side of the control socket.

use crate::{
    api::error::Error,
    instance::{
        control::{
            framing::{Sent, encoded, line},
            request::{ControlRequest, ControlResponse},
            socket::{ANSWER_TIMEOUT, MAX_RESPONSE_BYTES, RETRY_INTERVAL},
        },
        lock::Holder,
    },
    platform::{
        private_files::{check_owner, own_private_dir, own_uid},
        runtime::Runtime,
    },
};
use serde::Serialize;
use std::{
    fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::UnixStream,
};

/// Calls the process that owns a data directory. Each call is a connection of its own: dropping the call hangs up.
#[derive(Debug, Clone)]
pub struct SocketClient {
    data: PathBuf,
}

impl SocketClient {
    /// A client for whoever owns `data`, now and later. Nothing is sent yet.
    pub fn of(data: &Path) -> io::Result<Self> {
        Ok(Self { data: data.canonicalize()? })
    }

    /// Asks the owner. While one owner ends and the next begins, the call waits, and is sent again as the same operation.
    pub async fn call(&self, call: &ControlRequest) -> Result<ControlResponse, Error> {
        let operation = u128::from_be_bytes(Runtime::system().bytes()).to_string();
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
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        };
        let patience = ANSWER_TIMEOUT.saturating_add(call.longest_wait());
        match tokio::time::timeout(patience, found).await {
            Ok(result) => result,
            Err(_) => self.unavailable(&io::ErrorKind::TimedOut.into()),
        }
    }

    fn unavailable(&self, error: &io::Error) -> Result<ControlResponse, Error> {
        tracing::warn!(%error, data = %self.data.display(), "the process that owns the data directory did not answer");
        Err(Error::Unavailable)
    }

    /// Returns once the owner is gone.
    pub async fn gone(&self) {
        let watched = async {
            let (read, mut write) = self.connect().await?.into_split();
            let mut read = BufReader::new(read);
            // Who says nothing is sent away.
            write.write_all(&encoded(&ControlRequest::Status)?).await?;
            line(&mut read, MAX_RESPONSE_BYTES).await?;
            // It never speaks first: whatever ends this read ends the connection.
            line(&mut read, MAX_RESPONSE_BYTES).await
        };
        let _ = watched.await;
    }

    /// One call, tried once; the outer error means that the owner could not be asked.
    pub async fn ask(&self, call: &ControlRequest) -> io::Result<Result<ControlResponse, Error>> {
        converse_once(self.connect().await?, call).await
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        let Holder { socket, .. } = Holder::announced(&self.data)?;
        let found = fs::symlink_metadata(&socket)?;
        let foreign = || io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is not a socket of this user", socket.display()));
        own_private_dir(socket.parent().ok_or_else(foreign)?)?;
        check_owner(&socket, &found)?;
        if !found.file_type().is_socket() {
            return Err(foreign());
        }
        let stream = UnixStream::connect(&socket).await?;
        if stream.peer_cred()?.uid() != own_uid() {
            return Err(foreign());
        }
        Ok(stream)
    }
}

async fn converse_once(stream: UnixStream, call: &impl Serialize) -> io::Result<Result<ControlResponse, Error>> {
    let (read, mut write) = stream.into_split();
    write.write_all(&encoded(call)?).await?;
    let reply = line(&mut BufReader::new(read), MAX_RESPONSE_BYTES).await?;
    let reply = reply.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"))?;
    Ok(serde_json::from_slice(&reply)?)
}
