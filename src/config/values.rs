//! Values with a form of their own.

use jiff::{SignedDuration, SpanRelativeTo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time, written `10m`, `1h` or `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(pub SignedDuration);

impl std::str::FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time such as \"10m\", \"1h\" or \"90d\"");
        let span: jiff::Span = text.parse().map_err(|_| wrong())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        // Ten years: a sum of such times stays far from the end of the calendar.
        if duration <= SignedDuration::ZERO || duration > SignedDuration::from_hours(24 * 3660) {
            return Err(format!("`{text}` must be more than zero and at most ten years"));
        }
        Ok(Self(duration))
    }
}

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.as_secs();
        let text = match seconds {
            s if s % 86_400 == 0 => format!("{}d", s / 86_400),
            s if s % 3_600 == 0 => format!("{}h", s / 3_600),
            s if s % 60 == 0 => format!("{}m", s / 60),
            s => format!("{s}s"),
        };
        s.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How long a key lives: a [`Ttl`], or `"none"`: until it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Option<SignedDuration>);

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(duration) => Ttl(duration).serialize(s),
            None => s.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "none" {
            return Ok(Self(None));
        }
        let ttl: Ttl = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(Some(ttl.0)))
    }
}
