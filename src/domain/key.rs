//! API keys: their form, what rests of them in the store, and who may do what with them.

use crate::domain::{
    digest::Digest,
    environment::Environment,
    id::{AccountId, GrantId, KeyId, RegistrationId},
    name::Name,
    scope::ScopeSet,
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

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
    /// Which kind of creator it is, without the particulars.
    pub const fn creator(&self) -> CreatorKind {
        match self {
            Self::Human => CreatorKind::Human,
            Self::Agent { .. } => CreatorKind::Agent,
            Self::Key => CreatorKind::Key,
        }
    }

    /// The approval it came from, if a human approved an agent's request.
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
pub enum CreatorKind {
    Human,
    Agent,
    Key,
}

impl CreatorKind {
    /// The word on the wire and in a page's query.
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
    /// The word on the wire and in a page's query.
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
    /// What the key is at a moment. What can't be undone comes first: a key that is revoked and disabled is revoked.
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

    /// Whether the key itself works at a moment. Its account may be disabled all the same.
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
            let end = after(now, grace);
            self.expires_at = Some(self.expires_at.map_or(end, |at| at.min(end)));
        }
    }
}

/// The reason of a suspension: a backup was restored, and nobody knows what was revoked since it was made.
pub const RESTORED: &str = "restored from a backup without its journal";
