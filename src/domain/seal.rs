//! Proof that a file was written with this server's secret.

use serde::{Deserialize, Serialize};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The server secrets, newest first, as one purpose has them: whoever changes what is sealed with one and lacks it can't seal
/// it again.
#[derive(Clone)]
pub struct Seals(pub(super) Vec<(String, Zeroizing<[u8; 32]>)>);

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seals(redacted)")
    }
}

impl Seals {
    /// The id of the secret that seals now.
    pub fn id(&self) -> &str {
        self.0.first().map_or("", |(id, _)| id)
    }

    /// The seal of the secret with this id; `None`: it is not here.
    pub fn seal(&self, id: &str, value: &[u8]) -> Option<Seal> {
        let (_, key) = self.0.iter().find(|(known, _)| known == id)?;
        Some(Seal(blake3::keyed_hash(key, value).to_hex().to_string()))
    }
}

/// An authenticator that is written beside what it seals, 64 hex digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seal(String);

impl Seal {
    /// As it was found, right or wrong.
    pub fn found(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// To be written beside what it seals.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In constant time: how much of a wrong one is right tells nothing.
impl PartialEq for Seal {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}
