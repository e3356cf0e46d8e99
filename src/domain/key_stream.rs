//! The bytes that secrets are made of.

use zeroize::Zeroizing;

/// Digits, capitals, small letters: the order of their values in a checksum.
pub const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An endless stream of secret bytes.
pub struct KeyStream(pub(super) blake3::OutputReader);

impl KeyStream {
    /// Expands fresh randomness.
    pub fn fresh(random: [u8; 32]) -> Self {
        let random = Zeroizing::new(random);
        Self(blake3::Hasher::new_keyed(&random).finalize_xof())
    }

    /// So many base62 characters, each as likely as any other.
    pub fn letters(&mut self, count: usize) -> String {
        let mut text = String::with_capacity(count);
        while text.len() < count {
            // Bytes past the last multiple of 62 are drawn again.
            match self.byte() {
                byte if byte < 248 => text.push(BASE62[usize::from(byte % 62)] as char),
                _ => {}
            }
        }
        text
    }

    /// The next byte of the stream.
    pub fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.0.fill(&mut byte);
        byte[0]
    }
}
