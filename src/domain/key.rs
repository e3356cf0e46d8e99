//! API keys: their form, what rests of them in the store, and who may do what with them.

use crate::domain::{
    id::{AccountId, GrantId, KeyId, RegistrationId},
    name::Name,
    scope::ScopeSet,
    secret::{ApiKey, BASE62, Digest, KeyStream, only},
    source::Source,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// Which world a key belongs to. Enforced, not only shown in the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Live,
    Test,
}

impl Environment {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Environment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "live" => Ok(Self::Live),
            "test" => Ok(Self::Test),
            _ => Err(()),
        }
    }
}

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
const SHOWN: usize = 8;

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
        let shown = format!("{head}{}", &body[..SHOWN]);
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
        key.expose().get(..key.expose().len() - body.len() + SHOWN)
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

/// Who made a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Origin {
    /// The owner, signed in or on the operator's command line.
    Human,
    /// A countersigned registration.
    Agent { registration: RegistrationId, grant: GrantId, agent_name: Name, approved_by: AccountId },
    /// Another key, its parent: never wider, and dead when the parent is.
    Key,
}

impl Origin {
    pub const fn maker(&self) -> Maker {
        match self {
            Self::Human => Maker::Human,
            Self::Agent { .. } => Maker::Agent,
            Self::Key => Maker::Key,
        }
    }

    pub const fn grant(&self) -> Option<GrantId> {
        match self {
            Self::Agent { grant, .. } => Some(*grant),
            Self::Human | Self::Key => None,
        }
    }
}

/// The kinds of makers, by which lists are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Maker {
    Human,
    Agent,
    Key,
}

impl Maker {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Agent => "agent",
            Self::Key => "key",
        }
    }
}

/// When, and at whose word, a key stopped working for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revocation {
    pub at: Timestamp,
    pub reason: Option<String>,
}

/// A key's state at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Active,
    Revoked,
    Expired,
    Disabled,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
        }
    }
}

/// What the store holds of a key: never the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    pub id: KeyId,
    pub account: AccountId,
    pub name: Name,
    pub hash: Digest,
    /// Which server secret `hash` was made with.
    pub secret: String,
    /// The shown head: prefix and first eight characters.
    pub shown: String,
    pub environment: Environment,
    pub scopes: ScopeSet,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub revoked: Option<Revocation>,
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
    #[serde(default)]
    pub disabled_reason: Option<String>,
    /// The key whose disabling disabled this one, itself or another; with that one it works again. `None` where older
    /// versions disabled it.
    #[serde(default)]
    pub disabled_with: Option<KeyId>,
    #[serde(default)]
    pub parent: Option<KeyId>,
    /// The first ancestor, whose rate limit the whole lineage shares: children must not multiply it.
    #[serde(default)]
    pub root: Option<KeyId>,
    pub origin: Origin,
    /// A limit of its own, never above the plan's but by the operator's word; `None`: the plan's.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// The key it was rotated from.
    #[serde(default)]
    pub replaces: Option<KeyId>,
    /// The key it was rotated to.
    #[serde(default)]
    pub replaced_by: Option<KeyId>,
    /// Set while the delivery may still be repeated; the first use clears it.
    #[serde(default)]
    pub redeliverable: Option<RegistrationId>,
}

impl Key {
    pub fn status(&self, now: Timestamp) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now) {
            Status::Expired
        } else if self.disabled_at.is_some() {
            Status::Disabled
        } else {
            Status::Active
        }
    }

    pub fn is_active(&self, now: Timestamp) -> bool {
        self.status(now) == Status::Active
    }

    /// Ends the key. Revoking twice keeps the first time and reason.
    pub fn revoke(&mut self, now: Timestamp, reason: Option<String>) {
        self.redeliverable = None;
        self.revoked.get_or_insert(Revocation { at: now, reason });
    }

    /// Suspends the key along with `with`. One that is suspended already stays as it is, but for one that was so for
    /// the same reason as `with` itself: from now on it waits for that one.
    pub fn suspend(&mut self, with: &Self, now: Timestamp) {
        if self.disabled_at.is_none() || self.is_suspended_as(with) {
            self.disabled_at.get_or_insert(now);
            self.disabled_with = Some(with.id);
        }
    }

    /// Whether what suspended `other` suspended this key, too.
    pub fn is_suspended_as(&self, other: &Self) -> bool {
        self.disabled_at.is_some() && (self.disabled_at, self.disabled_with) == (other.disabled_at, other.disabled_with)
    }

    /// Ends a suspension.
    pub fn resume(&mut self) {
        (self.disabled_at, self.disabled_reason, self.disabled_with) = (None, None, None);
    }

    /// Rotated: `successor` takes its place. It works on for `grace`, never longer than it would have; without any
    /// it is dead for good, whatever a clock says later.
    pub fn retire(&mut self, successor: KeyId, grace: SignedDuration, now: Timestamp) {
        self.replaced_by = Some(successor);
        self.redeliverable = None;
        if grace.is_zero() {
            self.revoke(now, Some(format!("rotated to {successor}")));
        } else {
            let end = crate::domain::time::after(now, grace);
            self.expires_at = Some(self.expires_at.map_or(end, |at| at.min(end)));
        }
    }
}

/// The reason of a suspension: a backup was restored, and nobody knows what was revoked since it was made.
pub const RESTORED: &str = "restored from a backup without its journal";

/// What an approval created: one row the human sees. Everything issued from it dies with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    pub id: GrantId,
    pub account: AccountId,
    pub registration: RegistrationId,
    pub agent_name: Name,
    pub approved_at: Timestamp,
    /// Where the human was who approved.
    #[serde(default)]
    pub approved_from: Option<Source>,
    /// What was granted; what its key may do now stands there.
    #[serde(default)]
    pub scopes: ScopeSet,
    #[serde(default)]
    pub environment: Option<Environment>,
    /// The key, once it was delivered; after a rotation its successor.
    pub key: Option<KeyId>,
    /// Set when the grant was revoked or its delivery window passed unused.
    pub ended_at: Option<Timestamp>,
}
