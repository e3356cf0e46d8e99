//! The one secret of a deployment, and all that is derived from it.

use crate::domain::{
    digest::Digest,
    id::{ProgramSessionId, RegistrationId},
    key_stream::KeyStream,
    seal::Seals,
    secret::{ClaimToken, CodeVerifier, RefreshToken},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

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

/// Eight bytes of a hash, in hex: names a secret without telling it.
pub fn id(keys: &SubKeys) -> String {
    blake3::Hash::from_bytes(keyed(keys, Purpose::SecretId, b"").0).to_hex()[..16].to_owned()
}

impl fmt::Debug for ServerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSecret(redacted)")
    }
}

impl ServerSecret {
    /// A secret that was never rotated.
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
        RefreshToken::of(&said, &tag)
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
