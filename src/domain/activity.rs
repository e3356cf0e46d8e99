//! What happened to an account's keys and agents, for its owner to read.

use crate::domain::{
    id::{AccountId, EventId, GrantId, KeyId, ProgramSessionId, RegistrationId},
    name::Name,
    scope::ScopeSet,
    source::Source,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of an account's activity log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    pub account: AccountId,
    pub at: Timestamp,
    pub source: Option<Source>,
    pub what: EventKind,
}

/// One kind of happening, with what a reader needs to act on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    SignedUp,
    SignedIn,
    SignInRefused,
    /// All other sessions ended with it.
    PasswordChanged,
    /// One browser, from another.
    BrowserSignedOut,
    SignedOutEverywhere,
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
        reason: Option<Name>,
        descendants: u32,
    },
    /// A suspension ended.
    KeyResumed {
        key: KeyId,
        name: Name,
    },
    WrongEnvironment {
        key: KeyId,
    },
    ProgramSignedIn {
        session: ProgramSessionId,
    },
    ProgramSignedOut {
        session: ProgramSessionId,
    },
    /// A refresh token came a second time: the session it belonged to is over.
    RefreshReused {
        session: ProgramSessionId,
    },
    /// A service's own user, by a portal session, is this account from now on.
    Linked,
    EmailVerified,
    EmailChanged,
    PlanChanged {
        plan: String,
    },
    AccountDisabled,
    AccountEnabled,
}

/// What a reader may want to see alone. A line can be about several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Keys,
    Agents,
    SignIns,
    /// What somebody wanted and did not get.
    Refusals,
}

impl Topic {
    /// In the order pages offer them.
    pub const ALL: [Self; 4] = [Self::Keys, Self::Agents, Self::SignIns, Self::Refusals];

    /// The word in a page's query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Agents => "agents",
            Self::SignIns => "sign-ins",
            Self::Refusals => "refusals",
        }
    }
}

impl EventKind {
    /// Whether a reader of one topic is shown this line.
    pub fn is_about(&self, topic: Topic) -> bool {
        let topics: &[Topic] = match self {
            Self::SignedUp
            | Self::SignedIn
            | Self::PasswordChanged
            | Self::BrowserSignedOut
            | Self::SignedOutEverywhere
            | Self::ProgramSignedIn { .. }
            | Self::ProgramSignedOut { .. }
            | Self::Linked
            | Self::EmailVerified
            | Self::EmailChanged
            | Self::AccountDisabled
            | Self::AccountEnabled => &[Topic::SignIns],
            Self::PlanChanged { .. } => &[Topic::Keys],
            Self::RefreshReused { .. } | Self::SignInRefused => &[Topic::SignIns, Topic::Refusals],
            Self::TooManyWrongCodes | Self::WrongVerifier { .. } => &[Topic::Agents, Topic::Refusals],
            Self::Approved { .. } => &[Topic::Agents],
            Self::Denied { .. } | Self::Disowned { .. } => &[Topic::Agents, Topic::Refusals],
            Self::Delivered { .. } => &[Topic::Agents, Topic::Keys],
            Self::PickupReplayed { .. } => &[Topic::Agents, Topic::Keys, Topic::Refusals],
            Self::AgentRevoked { .. } => &[Topic::Agents, Topic::Keys],
            Self::KeyCreated { .. }
            | Self::KeyEdited { .. }
            | Self::KeyDisabled { .. }
            | Self::KeyEnabled { .. }
            | Self::KeyRotated { .. }
            | Self::KeyRevoked { .. }
            | Self::KeyResumed { .. } => &[Topic::Keys],
            Self::WrongEnvironment { .. } => &[Topic::Keys, Topic::Refusals],
        };
        topics.contains(&topic)
    }
}
