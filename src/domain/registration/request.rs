//! What an agent asks for, and what is added to it on the way.

use crate::domain::{
    digest::Digest,
    environment::Environment,
    id::{AccountId, AttemptId, GrantId, RegistrationId},
    key_format::KeyFormat,
    name::{Email, Name},
    pkce::CodeChallenge,
    scope::ScopeSet,
    source::Source,
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A pickup token is a bearer in a transcript: it lives two minutes.
pub const PICKUP_TTL: SignedDuration = SignedDuration::from_mins(2);

/// Codes one registration gives out, the first among them. Each is another chance for a guesser.
pub const MAX_ATTEMPTS: u8 = 12;

/// Between two codes of one registration: a human reads one before it is void.
pub const ATTEMPT_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Who may poll a claim opened over MCP with its handle: the principal that opened it, or whoever holds the handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub hash: Digest,
    /// The credential that opened it; `None` when the handle is the only proof.
    pub bound_to: Option<String>,
}

impl Handle {
    /// Whether one credential, and nobody else, may poll its claim.
    pub fn is_bound(&self) -> bool {
        // Sessions were bound to once; they end while a human decides, and with the process.
        self.bound_to.as_ref().is_some_and(|bound| !bound.starts_with("session "))
    }

    /// Whether whoever presents the handle, with this credential or none, may poll its claim.
    pub fn admits(&self, credential: Option<&str>) -> bool {
        !self.is_bound() || self.bound_to.as_deref() == credential
    }
}

/// What an agent asked for: fixed when it registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RegistrationRequest {
    pub id: RegistrationId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Self-declared: whatever the program says of itself.
    pub agent_name: Name,
    pub scopes: ScopeSet,
    pub ignored: Vec<String>,
    /// Grants nothing by itself.
    pub login_hint: Option<Email>,
    pub environment: Environment,
    pub source: Source,
    /// How many registrations came from there before it in the same hour: who asks most makes room first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before: u32,
    pub claim_token: Digest,
    pub challenge: Option<CodeChallenge>,
    pub handle: Option<Handle>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl RegistrationRequest {
    /// Until when an approval may be picked up.
    pub fn deliverable_until(&self) -> Timestamp {
        after(self.expires_at, DELIVERY_GRACE)
    }
}

/// One round with its own user code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    pub id: AttemptId,
    pub code: Digest,
    pub started_at: Timestamp,
    pub expires_at: Timestamp,
    pub number: u8,
    /// The account that entered the right code. Others then get the wrong-code page.
    pub bound_to: Option<AccountId>,
    /// Whether the human typed the code, rather than following a link that carried it.
    pub typed: bool,
}

/// What the human countersigned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Approval {
    pub grant: GrantId,
    pub account: AccountId,
    pub at: Timestamp,
    pub scopes: ScopeSet,
    pub environment: Environment,
    /// How long the key lives from its delivery, in seconds; `None`: until it is revoked.
    pub key_lifetime: Option<i64>,
    /// The key's form, frozen here so that a changed configuration derives no other key.
    pub format: KeyFormat,
    /// Drawn at approval when a code challenge was given; erased when no redelivery is possible any more.
    pub salt: Option<[u8; 32]>,
}

/// A pickup token that was minted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pickup {
    pub token: Digest,
    pub expires_at: Timestamp,
}

/// Approval outlives the registration by this much, so that a late click still delivers.
pub const DELIVERY_GRACE: SignedDuration = SignedDuration::from_mins(10);
