//! What a change takes away, as the journal keeps it: a backup that is restored must not bring it back.
//!
//! Only losses are noted. What was widened later stays narrow after a restore, until somebody widens it again.

use crate::domain::{
    account::Account,
    id::{AccountId, KeyId},
    key::{Key, Revocation},
    scope::ScopeSet,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Shown as the reason of a revocation the journal brought.
const REVOKED: &str = "revoked after the backup was made";

/// An entry of the journal. It holds no secret and no personal data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum JournalEntry {
    /// A backup was made here: what follows it is not in it.
    Backup {
        id: String,
    },
    /// Entries before this one were lost, as a start found.
    Gap {
        at: Timestamp,
    },
    Key(KeyRestriction),
    Account(AccountRestriction),
}

/// What a key lost by one change. A member that is `None` lost nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyRestriction {
    pub id: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Timestamp>,
    /// The earlier end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<ScopeSet>,
}

/// What an account lost by one change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountRestriction {
    pub id: AccountId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Timestamp>,
    /// No operator any more.
    #[serde(default)]
    pub operator: bool,
    /// The old password is void.
    #[serde(default)]
    pub password: bool,
}

impl Key {
    /// What the key can do less than `before`. A new field that lets a key do something belongs here, too.
    pub fn loss_since(&self, before: &Self) -> Option<JournalEntry> {
        let Self { id, scopes, expires_at, revoked, disabled_at, .. } = before;
        let ends_sooner = self.expires_at.is_some_and(|at| expires_at.is_none_or(|before| at < before));
        let loss = KeyRestriction {
            id: *id,
            revoked: self.revoked.as_ref().filter(|_| revoked.is_none()).map(|revocation| revocation.at),
            disabled: self.disabled_at.filter(|_| disabled_at.is_none()),
            expires_at: self.expires_at.filter(|_| ends_sooner),
            scopes: (!scopes.is_subset(&self.scopes)).then(|| self.scopes.clone()),
        };
        let nothing = KeyRestriction { id: *id, revoked: None, disabled: None, expires_at: None, scopes: None };
        (loss != nothing).then_some(JournalEntry::Key(loss))
    }

    /// Takes away what the journal says. Doing it twice changes nothing more.
    pub fn apply(&mut self, loss: &KeyRestriction) {
        if let Some(at) = loss.revoked {
            self.revoked.get_or_insert(Revocation { at, reason: Some(REVOKED.to_owned()) });
        }
        self.disabled_at = self.disabled_at.or(loss.disabled);
        self.expires_at = [self.expires_at, loss.expires_at].into_iter().flatten().min();
        if let Some(kept) = &loss.scopes {
            self.scopes = self.scopes.intersection(kept);
        }
    }
}

impl Account {
    /// What the account can do less than `before`: being enabled, running the deployment, signing in with its old password.
    pub fn loss_since(&self, before: &Self) -> Option<JournalEntry> {
        let loss = AccountRestriction {
            id: before.id,
            disabled: self.disabled_at.filter(|_| before.disabled_at.is_none()),
            operator: before.operator && !self.operator,
            password: before.password.is_some() && before.password != self.password,
        };
        let nothing = AccountRestriction { id: before.id, disabled: None, operator: false, password: false };
        (loss != nothing).then_some(JournalEntry::Account(loss))
    }

    /// Takes away what the journal says. A password is removed, not restored: its owner sets a new one with a setup link.
    pub fn apply(&mut self, loss: &AccountRestriction) {
        self.disabled_at = self.disabled_at.or(loss.disabled);
        self.operator &= !loss.operator;
        if loss.password {
            self.password = None;
        }
    }
}
