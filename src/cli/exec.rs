//! `exec`: a program with a stored key in its environment, and without it in its output.

use super::{
    Done, Failure,
    settings::{Global, Settings},
    stored::{Stored, Wanted, no_key},
};
use crate::{domain::id::KeyId, service::view::Revealed};
use clap::Args;
use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    signal::unix::{SignalKind, signal},
};
use zeroize::Zeroizing;

#[derive(Args)]
pub struct Exec {
    /// Use this stored key [default: the one stored last, where one client alone has keys]
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
        let stored = Stored::open(&data).await;
        let wanted = Wanted { id: self.key, profile: self.profile.as_deref(), url: None };
        let credential = stored.chosen(&wanted, &config.public_url)?;
        if !stored.works(&credential).await? {
            return Err(no_key(&config.public_url));
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
