//! What happened to an account's keys and agents, for its owner to read.

use crate::domain::{
    id::{AccountId, EventId, GrantId, KeyId, RegistrationId},
    name::Name,
    scope::ScopeSet,
    source::Source,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    pub account: AccountId,
    pub at: Timestamp,
    pub source: Option<Source>,
    pub what: What,
}

/// One kind of happening, with what a reader needs to act on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    SignedUp,
    SignedIn,
    SignInRefused,
    TooManyWrongCodes,
    Approved {
        registration: RegistrationId,
        grant: GrantId,
        agent: Name,
    },
    Denied {
        registration: RegistrationId,
        agent: Name,
    },
    /// "I did not start this": the source is flagged for a day.
    Disowned {
        registration: RegistrationId,
        agent: Name,
        from: Source,
    },
    Delivered {
        registration: RegistrationId,
        key: KeyId,
        agent: Name,
    },
    /// Somebody holds the claim token without the verifier (RFC 7636).
    WrongVerifier {
        registration: RegistrationId,
        agent: Name,
    },
    /// A pickup token was spent twice: the key is revoked (as RFC 6749 §4.1.2 does for codes).
    PickupReplayed {
        registration: RegistrationId,
        key: KeyId,
        agent: Name,
    },
    KeyCreated {
        key: KeyId,
        name: Name,
    },
    KeyEdited {
        key: KeyId,
        name: Name,
        /// Its name before, if that changed.
        was: Option<Name>,
        added: ScopeSet,
        removed: ScopeSet,
    },
    /// Off until it is enabled again, with everything made by it.
    KeyDisabled {
        key: KeyId,
        name: Name,
    },
    KeyEnabled {
        key: KeyId,
        name: Name,
    },
    KeyRotated {
        key: KeyId,
        name: Name,
        to: KeyId,
        /// Until when the old key works on; `None`: it died with the reply.
        until: Option<Timestamp>,
    },
    /// A human took back what they had approved: every key of the grant died.
    AgentRevoked {
        grant: GrantId,
        agent: Name,
        keys: u32,
    },
    KeyRevoked {
        key: KeyId,
        name: Name,
        reason: Option<String>,
        descendants: u32,
    },
    WrongEnvironment {
        key: KeyId,
    },
}
