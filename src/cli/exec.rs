//! `exec`: a program with a stored key in its environment, and without it in its output.

use super::{
    Done, Failure,
    settings::{Global, Settings},
};
use crate::{
    credentials::{Credential, Credentials},
    domain::id::KeyId,
    owner::{Call, Reply, SocketClient},
    service::{Error, view::Revealed},
};
use clap::Args;
use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    signal::unix::{SignalKind, signal},
};
use zeroize::Zeroizing;

#[derive(Args)]
pub struct Exec {
    /// Use this stored key [default: the one stored last]
    #[arg(long, value_name = "ID")]
    key: Option<KeyId>,
    /// Use only keys of this profile
    #[arg(long)]
    profile: Option<String>,
    /// The variable that holds the key, such as COUNTERSIGN_API_KEY
    #[arg(long, value_name = "NAME", value_parser = variable)]
    env: String,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn variable(name: &str) -> Result<String, String> {
    let mut bytes = name.bytes();
    let fits =
        bytes.next().is_some_and(|b| b.is_ascii_uppercase()) && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if fits { Ok(name.to_owned()) } else { Err("must be upper-case letters, digits and '_', starting with a letter".to_owned()) }
}

impl Exec {
    pub async fn run(self, global: &Global) -> Done {
        let Settings { config, data } = global.load(&[], false)?;
        let store = Credentials::new(&data);
        let (origin, profile) = (config.public_url.as_str(), self.profile.as_deref());
        let found = match self.key {
            Some(id) => store.find(id).map_err(Failure::failed)?,
            None => match store.latest(Some(origin), profile).map_err(Failure::failed)? {
                None => store.latest(None, profile).map_err(Failure::failed)?,
                found => found,
            },
        };
        let credential = found.ok_or_else(|| no_key(origin))?;
        if !still_works(&store, &data, &credential).await? {
            return Err(no_key(origin));
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::Usage("say which program to run, after --".to_owned()));
        };
        // Held from before the child is there: a terminal's Ctrl-C reaches the child too, and ends this with it.
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env(&self.env, credential.key.expose())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::failed(format!("can't run {}: {error}", program.display())))?;
        let shown = format!("{}…", credential.prefix);
        let out = child.stdout.take().map(|from| pump(from, tokio::io::stdout(), Masker::new(&credential.key, &shown)));
        let err = child.stderr.take().map(|from| pump(from, tokio::io::stderr(), Masker::new(&credential.key, &shown)));
        let output = tokio::spawn(async move { tokio::join!(optional(out), optional(err)) });
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                _ = int.recv() => {}
                _ = term.recv() => child.start_kill()?,
            }
        };
        // A grandchild may hold the pipes open for as long as it likes; its output is masked until then.
        let _ = output.await;
        Ok(exit_code(status))
    }
}

async fn optional(work: Option<impl Future<Output = ()>>) {
    if let Some(work) = work {
        work.await;
    }
}

/// A child's exit code, and as shells count it, 128 + the signal that ended it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Whether a stored key still works, asked of the server on this computer if that is the one that issued it.
/// A dead one is forgotten, so that the next call takes another or says what to do.
pub async fn still_works(store: &Credentials, data: &Path, credential: &Credential) -> Result<bool, Failure> {
    let Ok(owner) = SocketClient::of(data) else { return Ok(true) };
    match owner.ask(&Call::Status).await {
        Ok(Ok(Reply::Status(standing))) if standing.url == credential.origin => {}
        _ => return Ok(true),
    }
    let check = Call::CheckScope { credential: credential.key.clone(), scopes: Vec::new(), environment: None };
    if !matches!(owner.ask(&check).await, Ok(Err(Error::Unauthorized { .. }))) {
        return Ok(true);
    }
    eprintln!("countersign: {}… was revoked or has expired; forgetting it", credential.prefix);
    store.remove(credential.key_id).map_err(Failure::failed)?;
    Ok(false)
}

/// What to say when nothing is stored.
pub fn no_key(origin: &str) -> Failure {
    Failure::NotAllowed(format!(
        "no key that works is stored on this computer. Ask for one: call register_agent and poll_claim over MCP \
         (`countersign connect claude`), or follow {origin}/auth.md"
    ))
}

/// Copies a child's output as it comes, masked.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut masker: Masker) {
    let mut buffer = Zeroizing::new(vec![0; 16 << 10]);
    loop {
        let (masked, done) = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => (masker.finish(), true),
            Ok(read) => (masker.push(&buffer[..read]), false),
        };
        // A reader that went away: the child notices when its pipe closes.
        if to.write_all(&masked).await.is_err() || to.flush().await.is_err() || done {
            return;
        }
    }
}

/// Replaces a secret in a stream, also where it is split over reads. Everything that can't become the secret
/// any more leaves at once.
struct Masker {
    secret: Revealed,
    shown: Vec<u8>,
    held: Zeroizing<Vec<u8>>,
}

impl Masker {
    fn new(secret: &Revealed, shown: &str) -> Self {
        Self { secret: secret.clone(), shown: shown.as_bytes().to_vec(), held: Zeroizing::default() }
    }

    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let secret = self.secret.expose().as_bytes();
        let (mut out, mut at) = (Vec::with_capacity(self.held.len()), 0);
        while at < self.held.len() {
            let rest = &self.held[at..];
            if rest.starts_with(secret) {
                out.extend_from_slice(&self.shown);
                at += secret.len();
            } else if secret.starts_with(rest) {
                // Its beginning, so far: the next read decides.
                break;
            } else {
                out.push(rest[0]);
                at += 1;
            }
        }
        self.held.drain(..at);
        out
    }

    /// What was held back and did not become the secret.
    fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_masked_wherever_the_reads_split_it() {
        let text = b"a cs_live_AB cs_live_ABcs_live_ABCD! cs_live";
        for cut in 0..text.len() {
            for second in cut..text.len() {
                let mut masker = Masker::new(&Revealed::new("cs_live_ABCD"), "cs_live_A…");
                let mut out = Vec::new();
                for part in [&text[..cut], &text[cut..second], &text[second..]] {
                    out.extend(masker.push(part));
                }
                out.extend(masker.finish());
                assert_eq!(String::from_utf8_lossy(&out), "a cs_live_AB cs_live_ABcs_live_A…! cs_live");
            }
        }
    }

    #[test]
    fn what_cannot_be_the_key_leaves_at_once() {
        let mut masker = Masker::new(&Revealed::new("cs_live_ABCD"), "…");
        assert_eq!(masker.push(b"prompt> "), b"prompt> ");
        assert_eq!(masker.push(b"cs_l"), b"");
        assert_eq!(masker.push(b"x"), b"cs_lx");
    }
}
