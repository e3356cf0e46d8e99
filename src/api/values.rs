//! Values that travel in several answers: a secret, a time, scopes in one string.

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, fmt};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret on its one way out: it serializes, because the reply that carries it must. Never logged.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, description = "A secret: in this answer and never again.")]
pub struct Revealed(String);

impl Revealed {
    /// Takes what a reply is about to show.
    pub fn new(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    /// The plain value, for the one place that prints, sends or stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed(redacted)")
    }
}

/// A time as the API prints it: RFC 3339, UTC, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Timestamp);

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.whole())
    }
}

impl Time {
    fn whole(self) -> Timestamp {
        Timestamp::from_second(self.0.as_second()).unwrap_or(self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // Half of what `collect_str` costs.
        s.serialize_str(&DateTimePrinter::new().timestamp_to_string(&self.whole()))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Timestamp::deserialize(d).map(Self)
    }
}

/// A `scope` member is one string (RFC 6749 §3.3), not a list.
pub mod space_delimited {
    use crate::domain::scope::ScopeSet;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Scopes with spaces between them.
    ///
    /// # Errors
    /// Whatever the serializer fails with.
    pub fn serialize<S: Serializer>(scopes: &ScopeSet, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(scopes)
    }

    /// Reads them back.
    ///
    /// # Errors
    /// For what is no string, and for a word in it that is no scope.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<ScopeSet, D::Error> {
        ScopeSet::parse(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}
