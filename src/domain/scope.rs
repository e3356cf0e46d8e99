//! Permissions: `resource:action`, from the catalogue in the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// The text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope looks like resource:action, in lower-case letters, digits, '.', '_' and '-', at most 64 characters")]
pub struct InvalidScope;

/// One permission, such as `email:send`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(!into, !try_from)]
pub struct Scope(
    #[schemars(length(max = 64), regex(pattern = r"^[a-z0-9._-]+:[a-z0-9._-]+$"), extend("examples" = ["audience:read"]))] String,
);

impl Scope {
    /// Resource, colon, action: as on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon, by which pages group scopes.
    pub fn resource(&self) -> &str {
        self.0.split_once(':').map_or(self.0.as_str(), |(resource, _)| resource)
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let word =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        match text.split_once(':') {
            Some((resource, action)) if text.len() <= 64 && word(resource) && word(action) => Ok(Self(text.to_owned())),
            _ => Err(InvalidScope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        text.parse()
    }
}

/// A set of scopes, in alphabetical order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ScopeSet(BTreeSet<Scope>);

impl ScopeSet {
    /// More than this in one request is refused.
    pub const MAX_REQUESTED: usize = 64;

    /// Whether the scope itself is in the set. There are no wildcards, and no scope implies another.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// The same of a text, which need not be a scope.
    pub fn has(&self, scope: &str) -> bool {
        self.0.iter().any(|s| s.as_str() == scope)
    }

    /// Whether it allows nothing. An empty set never means everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many different scopes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether `of` allows all that `self` allows.
    pub fn is_subset(&self, of: &Self) -> bool {
        self.0.is_subset(&of.0)
    }

    /// What `self` asks for and `held` does not have.
    pub fn missing_from(&self, held: &Self) -> Self {
        Self(self.0.difference(&held.0).cloned().collect())
    }

    /// What both allow.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Reads a space-delimited list (RFC 6749 §3.3). An empty text is an empty set.
    ///
    /// # Errors
    /// [`InvalidScope`] when one of the words is no scope.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::parse).collect::<Result<BTreeSet<_>, _>>().map(Self)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// How much harm a scope can do, in the eyes of whoever runs the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    Low,
    Medium,
    High,
}

/// What the catalogue says of one scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeInfo {
    /// What it lets a key do, in plain words.
    pub title: String,
    pub risk: Risk,
    /// Part of the least set given when an agent names no scopes.
    #[serde(default)]
    pub default: bool,
    /// Whether a registration may ask for it.
    #[serde(default = "yes")]
    pub agents: bool,
}

fn yes() -> bool {
    true
}

/// Lists all keys of its account.
pub const KEYS_READ: &str = "keys:read";
/// Revokes any key of its account.
pub const KEYS_REVOKE: &str = "keys:revoke";
/// Creates keys no wider than itself, and changes those it created.
pub const KEYS_WRITE: &str = "keys:write";
/// Asks about keys that others presented. Without it a key can ask about itself only.
pub const KEYS_VERIFY: &str = "keys:verify";

/// Scopes that concern keys themselves. They always exist and mean the same everywhere.
const RESERVED: [(&str, &str, Risk); 4] = [
    (KEYS_READ, "See all your keys, never their secrets", Risk::Medium),
    (KEYS_REVOKE, "Revoke any of your keys", Risk::High),
    (KEYS_WRITE, "Create, edit and rotate keys of its own making", Risk::High),
    (KEYS_VERIFY, "Check whether a key is valid and what it may do", Risk::High),
];

/// What remains of a request for scopes after the catalogue had its say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub scopes: ScopeSet,
    /// Named in the request and never granted, in the order given.
    pub ignored: Vec<String>,
}

/// Every scope this deployment knows.
#[derive(Debug, Clone)]
pub struct Catalogue(BTreeMap<Scope, ScopeInfo>);

impl Catalogue {
    /// The configured scopes and the reserved ones; of the latter agents get those in `grantable`.
    pub fn new(configured: BTreeMap<Scope, ScopeInfo>, grantable: &[Scope]) -> Self {
        let mut all: BTreeMap<Scope, ScopeInfo> = RESERVED
            .into_iter()
            .map(|(name, title, risk)| {
                let scope = Scope(name.to_owned());
                let agents = grantable.contains(&scope);
                (scope, ScopeInfo { title: title.to_owned(), risk, default: false, agents })
            })
            .collect();
        all.extend(configured);
        Self(all)
    }

    /// What is known of a scope; `None`: the deployment does not have it.
    pub fn get(&self, scope: &Scope) -> Option<&ScopeInfo> {
        self.0.get(scope)
    }

    /// All of them in alphabetical order, reserved ones too.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &ScopeInfo)> {
        self.0.iter()
    }

    /// Concerns keys themselves rather than the service's own data.
    pub fn is_reserved(scope: &Scope) -> bool {
        RESERVED.iter().any(|(name, ..)| *name == scope.as_str())
    }

    /// High-risk, unknown or a management scope: approving it takes a typed code and a fresh sign-in.
    pub fn is_risky(&self, scope: &Scope) -> bool {
        Self::is_reserved(scope) || self.get(scope).is_none_or(|info| info.risk == Risk::High)
    }

    /// The scopes an agent may ask for.
    pub fn for_agents(&self) -> ScopeSet {
        self.0.iter().filter(|(_, info)| info.agents).map(|(scope, _)| scope.clone()).collect()
    }

    /// Given when a request names none: the configured least set, never more.
    pub fn least(&self) -> ScopeSet {
        self.0.iter().filter(|(_, info)| info.agents && info.default).map(|(scope, _)| scope.clone()).collect()
    }

    /// Caps a request to what agents may have (RFC 6749 §3.3). The rest is named, never granted.
    ///
    /// # Errors
    /// [`InvalidScope`] when a text could be no scope in any catalogue. One that this catalogue does not have is ignored.
    pub fn offer(&self, requested: &[String]) -> Result<Offer, InvalidScope> {
        let (mut scopes, mut ignored) = (BTreeSet::new(), Vec::new());
        for text in requested {
            let scope: Scope = text.parse()?;
            if self.get(&scope).is_some_and(|info| info.agents) {
                scopes.insert(scope);
            } else if !ignored.contains(text) {
                ignored.push(text.clone());
            }
        }
        Ok(Offer { scopes: ScopeSet(scopes), ignored })
    }
}
