//! How a key is written: prefix, environment, random part, checksum.

use crate::domain::{
    characters::only,
    environment::Environment,
    key_stream::{BASE62, KeyStream},
    secret::ApiKey,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What follows a key's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// 30 base62 characters (178 bits) and their CRC-32 in six: a mistyped key is refused without a look-up.
    Checksummed,
    /// 32 base62 characters (190 bits).
    Random,
    /// 40 hex characters (160 bits).
    Hex40,
}

/// How much of the body a key shows of itself in lists: enough to tell keys apart, useless to guess one.
const SHOWN_CHARS: usize = 8;

/// How this deployment's keys look. Changing it never invalidates keys already issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFormat {
    pub prefix: String,
    pub body: Body,
    /// Whether `live` or `test` is part of the prefix.
    pub environments: bool,
}

impl KeyFormat {
    fn head(&self, environment: Environment) -> String {
        if self.environments { format!("{}_{environment}_", self.prefix) } else { format!("{}_", self.prefix) }
    }

    /// Makes a key out of a stream of secret bytes, and the head of it that may be shown.
    pub fn make(&self, environment: Environment, stream: &mut KeyStream) -> (ApiKey, String) {
        let head = self.head(environment);
        let body = Zeroizing::new(match self.body {
            Body::Checksummed => {
                let mut random = stream.letters(30);
                random.extend(checksum(&random).map(char::from));
                random
            }
            Body::Random => stream.letters(32),
            Body::Hex40 => (0..40).map(|_| b"0123456789abcdef"[usize::from(stream.byte() >> 4)] as char).collect(),
        });
        let shown = format!("{head}{}", &body[..SHOWN_CHARS]);
        (ApiKey::assembled(format!("{head}{}", *body)), shown)
    }

    /// Whether this format could have made the text: prefix, length, alphabet, checksum.
    pub fn could_be(&self, key: &ApiKey) -> bool {
        let Some(body) = self.body_of(key) else { return false };
        match self.body {
            Body::Checksummed => {
                body.len() == 36 && only(body, |b| b.is_ascii_alphanumeric()) && checksum(&body[..30]) == body.as_bytes()[30..]
            }
            Body::Random => body.len() == 32 && only(body, |b| b.is_ascii_alphanumeric()),
            Body::Hex40 => body.len() == 40 && only(body, |b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        }
    }

    /// Whether a text has what this format could have made anywhere in it.
    pub fn occurs_in(&self, text: &str) -> bool {
        let length = match self.body {
            Body::Checksummed => 36,
            Body::Random => 32,
            Body::Hex40 => 40,
        };
        let heads = [Environment::Live, Environment::Test].map(|environment| self.head(environment));
        heads
            .iter()
            .flat_map(|head| text.match_indices(head))
            .any(|(at, head)| text.get(at..at + head.len() + length).is_some_and(|part| self.could_be(&ApiKey::assembled(part.to_owned()))))
    }

    fn body_of<'a>(&self, key: &'a ApiKey) -> Option<&'a str> {
        let rest = after(key.expose(), &self.prefix)?;
        let environments = [Environment::Live, Environment::Test];
        if self.environments { environments.iter().find_map(|e| after(rest, e.as_str())) } else { Some(rest) }
    }

    /// The head of a key of this format that may be shown.
    pub fn shown<'a>(&self, key: &'a ApiKey) -> Option<&'a str> {
        let body = self.body_of(key).filter(|_| self.could_be(key))?;
        key.expose().get(..key.expose().len() - body.len() + SHOWN_CHARS)
    }
}

/// What follows a word and its underscore.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.strip_prefix(word)?.strip_prefix('_')
}

/// CRC-32 in six base62 digits with leading zeros, as secret scanners check it.
pub fn checksum(random: &str) -> [u8; 6] {
    let mut rest = crc32fast::hash(random.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}
