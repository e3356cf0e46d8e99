//! A child's output without the key it was given, wherever that would show.

use crate::{api::values::Revealed, local_keys::keys::StoredKey};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::Child,
    task::JoinHandle,
};
use zeroize::Zeroizing;

/// Passes on what a child writes into its two pipes, with the key masked; ends when both are closed.
pub fn masked(child: &mut Child, credential: &StoredKey) -> JoinHandle<()> {
    let shown = format!("{}…", credential.prefix);
    let out = child.stdout.take().map(|from| pump(from, tokio::io::stdout(), Masker::new(&credential.key, &shown)));
    let err = child.stderr.take().map(|from| pump(from, tokio::io::stderr(), Masker::new(&credential.key, &shown)));
    tokio::spawn(async move {
        tokio::join!(optional(out), optional(err));
    })
}

async fn optional(work: Option<impl Future<Output = ()>>) {
    if let Some(work) = work {
        work.await;
    }
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
