//! Where a human may be sent next.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use url::Url;

/// The text could lead somewhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a path on this server, such as /settings/keys")]
pub struct NotAPagePath;

/// A path on this server, with its query: nothing that a browser reads as another host or a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PagePath(String);

impl PagePath {
    const MAX_BYTES: usize = 512;

    /// For a `Location` header or a link, unescaped: it is ASCII without spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for PagePath {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl FromStr for PagePath {
    type Err = NotAPagePath;

    fn from_str(text: &str) -> Result<Self, NotAPagePath> {
        let plain = text.len() <= Self::MAX_BYTES
            && text.starts_with('/')
            && !text.starts_with("//")
            && !text.contains('\\')
            && text.bytes().all(|b| b.is_ascii_graphic());
        // The second opinion is that of the standard browsers follow.
        let stays = || {
            let base = Url::parse("https://here.invalid").ok()?;
            Some(base.join(text).ok()?.origin() == base.origin())
        };
        if plain && stays() == Some(true) { Ok(Self(text.to_owned())) } else { Err(NotAPagePath) }
    }
}

impl fmt::Display for PagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<PagePath> for String {
    fn from(path: PagePath) -> String {
        path.0
    }
}

impl TryFrom<String> for PagePath {
    type Error = NotAPagePath;

    fn try_from(text: String) -> Result<Self, NotAPagePath> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a22_return_to_stays_on_this_server() {
        assert_eq!("/settings/keys?a=b".parse::<PagePath>().map(String::from).as_deref(), Ok("/settings/keys?a=b"));
        for foreign in ["//evil", "/\\evil", "\\\\evil", "javascript:alert(1)", "https://evil/", "", "/a\r\nb", "/\t/evil", "claim"] {
            assert_eq!(foreign.parse::<PagePath>(), Err(NotAPagePath), "{foreign:?}");
        }
    }
}
