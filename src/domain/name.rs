//! Names people and programs give: validated where they come in, so that no page, log or terminal is fooled.

use crate::domain::visible::{made_visible, visible};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("must have 1 to 64 characters after trimming")]
    Length,
    #[error("must not hold control, bidirectional or invisible characters, nor piles of marks")]
    Character,
}

/// A short line of visible text: an agent's self-declared name, a key's name, why a key was revoked.
///
/// What was stored when less was refused is read all the same, as something that can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Name(String);

impl Name {
    /// Characters, not bytes: names in all scripts may be as long.
    pub const MAX_CHARS: usize = 64;

    /// The name a program gives itself: nobody types it, and it is compared by eye, so it holds no joiners and selectors.
    ///
    /// # Errors
    /// [`InvalidName::Length`] or [`InvalidName::Character`], whose texts follow the name of the field.
    pub fn of_agent(text: &str) -> Result<Self, InvalidName> {
        Self::read(text, false)
    }

    fn read(text: &str, joiners: bool) -> Result<Self, InvalidName> {
        match text.trim().chars().count() {
            1..=Self::MAX_CHARS => visible(text, joiners).map(Self).ok_or(InvalidName::Character),
            _ => Err(InvalidName::Length),
        }
    }

    /// The text, trimmed and with plain spaces, to show as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Letters outside ASCII can imitate others ("Cⅼaude"): pages say so beside such a name.
    pub fn has_lookalikes(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    /// What a human types: emoji and joiners as keyboards and scripts use them are part of it.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::read(text, true)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl From<String> for Name {
    /// From the store.
    fn from(text: String) -> Self {
        Self(if text.is_ascii() && !text.bytes().any(|b| b.is_ascii_control()) { text } else { made_visible(&text) })
    }
}

/// The text is not a name a service could have for its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 visible ASCII characters without spaces")]
pub struct InvalidExternalId;

/// A service's own name of its user, opaque here. It travels in a header, so nothing but visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ExternalId(String);

impl ExternalId {
    const MAX_BYTES: usize = 128;

    /// As the service spelled it: compared by byte, shown to operators.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExternalId {
    type Err = InvalidExternalId;

    fn from_str(text: &str) -> Result<Self, InvalidExternalId> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidExternalId) }
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ExternalId> for String {
    fn from(id: ExternalId) -> String {
        id.0
    }
}

impl TryFrom<String> for ExternalId {
    type Error = InvalidExternalId;

    fn try_from(text: String) -> Result<Self, InvalidExternalId> {
        text.parse()
    }
}

/// The text is not an e-mail address we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address, such as user@example.com")]
pub struct InvalidEmail;

/// An e-mail address in ASCII, lower case. A name only: nothing here says that it was verified.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Email(String);

impl Email {
    /// The whole address, for its owner and the operator; others see [`Email::masked`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `u•••@example.com`: enough for a human to know their own, too little to learn another's.
    pub fn masked(&self) -> String {
        let (local, domain) = self.0.split_once('@').unwrap_or((&self.0, ""));
        format!("{}•••@{domain}", local.chars().next().unwrap_or('•'))
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        let atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&c);
        let host = |c: u8| c.is_ascii_alphanumeric() || b".-".contains(&c);
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        let fits = (1..=64).contains(&local.len())
            && (1..=190).contains(&domain.len())
            && local.bytes().all(atom)
            && domain.bytes().all(host)
            && domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'));
        if fits { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidEmail) }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl From<Email> for String {
    fn from(email: Email) -> String {
        email.0
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        text.parse()
    }
}
