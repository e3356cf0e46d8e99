//! Values that may be seen once and are stored only as keyed hashes.
//!
//! Each has a type of its own: no `Display`, no `Serialize`, a redacted `Debug`, zeroed on drop,
//! and one greppable way out, `expose()`. The stored form is another type, [`Digest`](crate::domain::digest::Digest).

use crate::domain::{characters::only, id::ProgramSessionId, pasted};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name(String);

        impl $name {
            /// The plain value, for the one place that shows or hashes it.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(redacted)"))
            }
        }
    };
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        secret!($(#[$doc])* $name);

        impl $name {
            /// A token of 256 random bits.
            pub fn new(random: [u8; 32]) -> Self {
                let random = Zeroizing::new(random);
                Self(format!(concat!($prefix, "{}"), URL_SAFE_NO_PAD.encode(random.as_slice())))
            }

            /// Reads a presented token, whatever came along with it; `None` for anything this type never makes.
            pub fn parse(text: &str) -> Option<Self> {
                let text = pasted::bare(text);
                let body = text.strip_prefix($prefix)?;
                let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).ok()?);
                (bytes.len() == 32).then(|| Self(text.to_owned()))
            }
        }
    };
}

secret!(/// The agent's proof that a registration is its own. Shown once, 256 bits.
    ClaimToken, "clm_");

secret!(/// One-use bearer that fetches an approved key from a shell. 256 bits, two minutes.
    PickupToken, "pkp_");

secret!(/// A browser's session. Lives in a cookie only.
    SessionToken, "ses_");

secret!(/// Signs a human in, once, whom a service has signed in itself. 256 bits, a minute.
    PortalTicket, "ptk_");

secret!(/// The handle an MCP client polls with, in place of the claim token.
    ClaimHandle, "cla_");

secret!(/// An API key, as it is presented.
    ApiKey);

secret!(/// What a program's session is prolonged with, once.
    RefreshToken);

secret!(/// A signed JWT that says which program's session its bearer belongs to.
    AccessToken);

secret!(/// A password as typed.
    Password);

secret!(/// An RFC 7636 code verifier, 43 to 128 unreserved characters.
    CodeVerifier);

impl ApiKey {
    /// Longest credential that is looked at; neither keys nor session tokens are longer.
    pub const MAX_LEN: usize = 2048;

    /// Takes what a caller presented, without what came along and without judging its form.
    pub fn presented(text: &str) -> Option<Self> {
        let text = pasted::bare(text);
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN && only(text, |b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// The session token it is by its form, a JWT's: no key has a dot.
    pub fn as_access_token(&self) -> Option<AccessToken> {
        (self.0.bytes().filter(|b| *b == b'.').count() == 2).then(|| AccessToken(self.0.clone()))
    }

    /// From its parts, by the format it has.
    pub(super) fn assembled(text: String) -> Self {
        Self(text)
    }
}

impl AccessToken {
    /// From whoever signs: this type vouches for nothing.
    pub fn signed(jwt: String) -> Self {
        Self(jwt)
    }
}

impl RefreshToken {
    /// What says which session and generation, and the tag that proves it.
    pub(super) fn of(said: &str, tag: &str) -> Self {
        Self(format!("{}{said}-{tag}", Self::PREFIX))
    }

    /// What the text of each begins with, so that scanners for leaked secrets know it.
    pub(crate) const PREFIX: &str = "rft_";

    /// Whether one presented equals this one, in constant time.
    pub fn is(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// Which session and generation a presented token speaks of. Only comparing it with the derived one tells whether it
    /// is right.
    pub fn names(presented: &str) -> Option<(ProgramSessionId, u32)> {
        let mut parts = presented.strip_prefix(Self::PREFIX)?.splitn(3, '-');
        let session = format!("{}{}", ProgramSessionId::PREFIX, parts.next()?).parse().ok()?;
        let generation = parts.next()?.parse().ok()?;
        // What is longer than a tag has something beside it.
        let is_tag = |tag: &str| tag.len() == 43 && only(tag, |b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        parts.next().is_some_and(is_tag).then_some((session, generation))
    }
}

impl Password {
    /// As it came out of a form, judged later: see [`Password::fits`].
    pub fn typed(text: String) -> Self {
        Self(text)
    }
}

/// The same text in one form (NFKC): what people type and paste comes in several.
pub fn nfkc(text: &str) -> std::borrow::Cow<'_, str> {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(text)
}

impl CodeVerifier {
    /// Reads a presented verifier; `None` where it has another length or other characters than RFC 7636 §4.1 allows.
    pub fn parse(text: &str) -> Option<Self> {
        let text = pasted::bare(text);
        let fits = (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        fits.then(|| Self(text.to_owned()))
    }

    /// A fresh verifier of 256 bits.
    pub fn new(random: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }
}
