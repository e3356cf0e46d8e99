//! Values that may be seen once and are stored only as keyed hashes.
//!
//! Each has a type of its own: no `Display`, no `Serialize`, a redacted `Debug`, zeroed on drop,
//! and one greppable way out, `expose()`. The stored form is another type, [`Digest`].

use crate::domain::{
    id::{ProgramSessionId, RegistrationId},
    pasted,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
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
secret!(/// One-use way in for a human whom a service has signed in. 256 bits, a minute.
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

/// RFC 6750 §2.1 `b64token`: what goes into headers and files as it is, and means nothing to a shell.
pub fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

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

    pub(super) fn assembled(text: String) -> Self {
        Self(text)
    }
}

impl AccessToken {
    pub fn signed(jwt: String) -> Self {
        Self(jwt)
    }
}

impl RefreshToken {
    const PREFIX: &str = "rft_";

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
    pub fn typed(text: String) -> Self {
        Self(text)
    }
}

/// The same text in one form (NFKC): what people type and paste comes in several.
pub fn nfkc(text: &str) -> std::borrow::Cow<'_, str> {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(text)
}

impl CodeVerifier {
    pub fn parse(text: &str) -> Option<Self> {
        let text = pasted::bare(text);
        let fits = (43..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        fits.then(|| Self(text.to_owned()))
    }

    /// A fresh verifier of 256 bits.
    pub fn new(random: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    /// `BASE64URL(SHA256(verifier))`, RFC 7636 §4.2.
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.as_bytes())))
    }
}

/// An S256 code challenge (RFC 7636 §4.2): public, 43 base64url characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    pub fn parse(text: &str) -> Option<Self> {
        let text = pasted::bare(text);
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn met_by(&self, verifier: &CodeVerifier) -> bool {
        verifier.challenge().0.as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

/// A keyed BLAKE3 hash: how every secret rests in the store. Compared in constant time.
#[derive(Clone, Copy, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.try_into().map_err(|_| serde::de::Error::custom("a digest has 32 bytes"))?))
    }
}

/// What a hash or a derived value is for. Each purpose has a key of its own, so a value made for one
/// is worth nothing in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    ApiKey,
    ClaimToken,
    UserCode,
    PickupToken,
    Session,
    ClaimHandle,
    Csrf,
    SetupCode,
    ReviewDigest,
    DeriveClaimToken,
    DeriveKey,
    SecretId,
    SessionName,
    Idempotency,
    RefreshToken,
    SignSessions,
    PortalTicket,
    Operation,
    DeriveOperation,
    SealBackup,
    SealJournal,
}

impl Purpose {
    const ALL: [Self; 21] = [
        Self::ApiKey,
        Self::ClaimToken,
        Self::UserCode,
        Self::PickupToken,
        Self::Session,
        Self::ClaimHandle,
        Self::Csrf,
        Self::SetupCode,
        Self::ReviewDigest,
        Self::DeriveClaimToken,
        Self::DeriveKey,
        Self::SecretId,
        Self::SessionName,
        Self::Idempotency,
        Self::RefreshToken,
        Self::SignSessions,
        Self::PortalTicket,
        Self::Operation,
        Self::DeriveOperation,
        Self::SealBackup,
        Self::SealJournal,
    ];

    /// BLAKE3 `derive_key` contexts. Frozen: changing one invalidates everything it hashed.
    const fn context(self) -> &'static str {
        match self {
            Self::ApiKey => "countersign 2026-11 api key hash",
            Self::ClaimToken => "countersign 2026-11 claim token hash",
            Self::UserCode => "countersign 2026-11 user code hash",
            Self::PickupToken => "countersign 2026-11 pickup token hash",
            Self::Session => "countersign 2026-11 session hash",
            Self::ClaimHandle => "countersign 2026-11 mcp claim handle hash",
            Self::Csrf => "countersign 2026-11 form token",
            Self::SetupCode => "countersign 2026-11 setup code hash",
            Self::ReviewDigest => "countersign 2026-11 review digest",
            Self::DeriveClaimToken => "countersign 2026-11 derived claim token",
            Self::DeriveKey => "countersign 2026-11 derived api key",
            Self::SecretId => "countersign 2026-11 secret id",
            Self::SessionName => "countersign 2026-11 session name",
            Self::Idempotency => "countersign 2026-11 idempotency key hash",
            Self::RefreshToken => "countersign 2026-11 refresh token",
            Self::SignSessions => "countersign 2026-11 session token signing key",
            Self::PortalTicket => "countersign 2026-11 portal ticket hash",
            Self::Operation => "countersign 2026-11 operation hash",
            Self::DeriveOperation => "countersign 2026-11 drawn for an operation",
            Self::SealBackup => "countersign 2026-11 backup seal",
            Self::SealJournal => "countersign 2026-11 journal line seal",
        }
    }
}

/// The server's 32 secret bytes, split into one key per [`Purpose`]. Lives in a file outside the store.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ServerSecret {
    keys: SubKeys,
    /// Secrets before the last rotation, newest first: API keys made with them still verify.
    older: Vec<SubKeys>,
}

type SubKeys = [[u8; 32]; Purpose::ALL.len()];

fn sub_keys(bytes: &[u8; 32]) -> SubKeys {
    Purpose::ALL.map(|purpose| blake3::derive_key(purpose.context(), bytes))
}

fn keyed(keys: &SubKeys, purpose: Purpose, value: &[u8]) -> Digest {
    Digest(*blake3::keyed_hash(&keys[purpose as usize], value).as_bytes())
}

fn id(keys: &SubKeys) -> String {
    blake3::Hash::from_bytes(keyed(keys, Purpose::SecretId, b"").0).to_hex()[..16].to_owned()
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSecret(redacted)")
    }
}

impl ServerSecret {
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self::rotated(bytes, &[])
    }

    /// The newest secret, and those before it, newest first.
    pub fn rotated(newest: &[u8; 32], older: &[[u8; 32]]) -> Self {
        Self { keys: sub_keys(newest), older: older.iter().map(sub_keys).collect() }
    }

    /// Names the secret without telling it, so that a store notices a wrong one.
    pub fn id(&self) -> String {
        id(&self.keys)
    }

    /// The names of all, newest first.
    pub fn ids(&self) -> Vec<String> {
        std::iter::once(&self.keys).chain(&self.older).map(id).collect()
    }

    /// With the newest secret.
    pub fn hash(&self, purpose: Purpose, value: &[u8]) -> Digest {
        keyed(&self.keys, purpose, value)
    }

    /// With each secret, newest first: what an API key may be stored under.
    pub fn hashes(&self, purpose: Purpose, value: &[u8]) -> impl Iterator<Item = Digest> {
        std::iter::once(&self.keys).chain(&self.older).map(move |keys| keyed(keys, purpose, value))
    }

    /// What files outside the store are sealed with.
    pub fn seals(&self, purpose: Purpose) -> Seals {
        let keys = std::iter::once(&self.keys).chain(&self.older);
        Seals(keys.map(|keys| (id(keys), Zeroizing::new(keys[purpose as usize]))).collect())
    }

    /// A printable authenticator over `value`, for form tokens and digests of what was shown.
    pub fn tag(&self, purpose: Purpose, value: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.hash(purpose, value).0)
    }

    /// The claim token of a registration opened over MCP: derived, so it is never stored anywhere.
    pub fn claim_token(&self, registration: RegistrationId) -> ClaimToken {
        ClaimToken::new(self.hash(Purpose::DeriveClaimToken, registration.to_string().as_bytes()).0)
    }

    /// The refresh token of one generation of a program's session: derived, so it is never stored anywhere, and a spent
    /// one is still told from an invented one.
    pub fn refresh_token(&self, session: ProgramSessionId, salt: &[u8; 16], generation: u32) -> RefreshToken {
        let session = session.to_string();
        let said = format!("{}-{generation}", &session[ProgramSessionId::PREFIX.len()..]);
        let tag = self.tag(Purpose::RefreshToken, &[said.as_bytes(), salt].concat());
        RefreshToken(format!("{}{said}-{tag}", RefreshToken::PREFIX))
    }

    /// The Ed25519 seed that session tokens are signed with.
    pub fn session_signing_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.hash(Purpose::SignSessions, b"").0)
    }

    /// The byte stream a key with a code challenge is made of. The same for the same registration,
    /// salt and verifier: that is what makes the delivery repeatable without storing the key.
    pub fn key_stream(&self, registration: RegistrationId, salt: &[u8; 32], verifier: &CodeVerifier) -> KeyStream {
        let mut hasher = blake3::Hasher::new_keyed(&self.keys[Purpose::DeriveKey as usize]);
        hasher.update(registration.to_string().as_bytes());
        hasher.update(salt);
        hasher.update(verifier.expose().as_bytes());
        KeyStream(hasher.finalize_xof())
    }

    /// All that an operation draws, ids, codes and secrets: the same for the same name and time, with the secret it is
    /// remembered under as `id`.
    pub fn operation_stream(&self, id: &Digest, name: &[u8; 32], at: Timestamp) -> KeyStream {
        let keys = self.older.iter().find(|keys| keyed(keys, Purpose::Operation, name) == *id).unwrap_or(&self.keys);
        let mut hasher = blake3::Hasher::new_keyed(&keys[Purpose::DeriveOperation as usize]);
        hasher.update(name);
        hasher.update(&at.as_millisecond().to_be_bytes());
        KeyStream(hasher.finalize_xof())
    }
}

/// The server secrets, newest first, as one purpose has them: whoever changes what is sealed with one and lacks it can't seal
/// it again.
#[derive(Clone)]
pub struct Seals(Vec<(String, Zeroizing<[u8; 32]>)>);

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seals(redacted)")
    }
}

impl Seals {
    /// The id of the secret that seals now.
    pub fn id(&self) -> &str {
        self.0.first().map_or("", |(id, _)| id)
    }

    /// The seal of the secret with this id; `None`: it is not here.
    pub fn seal(&self, id: &str, value: &[u8]) -> Option<Seal> {
        let (_, key) = self.0.iter().find(|(known, _)| known == id)?;
        Some(Seal(blake3::keyed_hash(key, value).to_hex().to_string()))
    }
}

/// An authenticator that is written beside what it seals, 64 hex digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seal(String);

impl Seal {
    /// As it was found, right or wrong.
    pub fn found(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In constant time: how much of a wrong one is right tells nothing.
impl PartialEq for Seal {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

/// Whether all bytes are of a kind. Looks at every one, which is many at a time: faster than to stop at the first other.
pub(super) fn only(text: &str, is: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |so_far, byte| so_far & is(byte))
}

pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An endless stream of secret bytes.
pub struct KeyStream(blake3::OutputReader);

impl KeyStream {
    /// Expands fresh randomness.
    pub fn fresh(random: [u8; 32]) -> Self {
        let random = Zeroizing::new(random);
        Self(blake3::Hasher::new_keyed(&random).finalize_xof())
    }

    /// So many base62 characters, each as likely as any other.
    pub fn letters(&mut self, count: usize) -> String {
        let mut text = String::with_capacity(count);
        while text.len() < count {
            // Bytes past the last multiple of 62 are drawn again.
            match self.byte() {
                byte if byte < 248 => text.push(BASE62[usize::from(byte % 62)] as char),
                _ => {}
            }
        }
        text
    }

    pub fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.0.fill(&mut byte);
        byte[0]
    }
}
