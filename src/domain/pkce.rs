//! Proof key for code exchange (RFC 7636), S256 only.

use crate::domain::{pasted, secret::CodeVerifier};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// An S256 code challenge (RFC 7636 §4.2): public, 43 base64url characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads a challenge as it was sent; `None` when it does not decode to the 32 bytes of a SHA-256.
    pub fn parse(text: &str) -> Option<Self> {
        let text = pasted::bare(text);
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    /// As it was sent, 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the verifier is the one the challenge was made of (RFC 7636 §4.6), in constant time.
    pub fn met_by(&self, verifier: &CodeVerifier) -> bool {
        verifier.challenge().0.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

impl CodeVerifier {
    /// `BASE64URL(SHA256(verifier))`, RFC 7636 §4.2.
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(URL_SAFE_NO_PAD.encode(Sha256::digest(self.expose().as_bytes())))
    }
}
