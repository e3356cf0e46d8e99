//! Public names of things: `key_01k…`. Never a secret, URL-safe, sortable by the time they were made.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::{borrow::Cow, fmt, str::FromStr};
use ulid::Ulid;

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {0}…")]
pub struct InvalidId(pub &'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// What its text begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id: 48 bits of time and 80 random bits.
            pub fn new(now: Timestamp, random: [u8; 16]) -> Self {
                let ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
                Self(Ulid::from_parts(ms, u128::from_be_bytes(random)).to_bytes())
            }
        }

        impl $name {
            /// The whole text, in a place of the caller's.
            fn spelled<'a>(&self, text: &'a mut [u8; $prefix.len() + ulid::ULID_LEN]) -> &'a str {
                let (prefix, letters) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                let mut body = [0; ulid::ULID_LEN];
                let body = Ulid::from_bytes(self.0).array_to_str(&mut body);
                body.make_ascii_lowercase();
                letters.copy_from_slice(body.as_bytes());
                std::str::from_utf8(text).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.spelled(&mut [0; _]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.spelled(&mut [0; _]))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "[0-7][0-9a-hjkmnp-tv-z]{25}$"),
                    "examples": [concat!($prefix, "01kb2k5dq8v3h9m4tz7wfr6xne")],
                })
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let wrong = InvalidId($prefix);
                let body = text.strip_prefix($prefix).ok_or(wrong)?;
                // One spelling per id: the lenient alphabet of Crockford base 32 would give several.
                let id = Self(Ulid::from_string(body).map_err(|_| wrong)?.to_bytes());
                if id.to_string() == text { Ok(id) } else { Err(wrong) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
    };
}

id!(/// One request of an agent for access.
    RegistrationId, "reg_");

id!(/// One round of the claim ceremony, with its own user code.
    AttemptId, "att_");

id!(/// What an approval created: everything issued from it dies with it.
    GrantId, "grt_");

id!(/// The public name of an API key.
    KeyId, "key_");

id!(/// A human who owns keys.
    AccountId, "acc_");

id!(/// A program's session: what a JWT and its refresh tokens belong to.
    ProgramSessionId, "sid_");

id!(/// One line of the activity log.
    EventId, "evt_");
