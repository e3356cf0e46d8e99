//! The claim ceremony, as a state machine.
//!
//! 1. An agent registers: [`Registration::open`]. It gets a claim token for itself and a user code for its human
//!    (RFC 8628 §3.2).
//! 2. It may ask for a fresh code: [`Registration::new_attempt`]. The old one is dead at once.
//! 3. A signed-in human enters the code: [`Registration::bind`]. From then on the attempt is that account's.
//! 4. The human decides: [`Registration::approve`], [`Registration::deny`], or [`Registration::release`]
//!    ("not me, give it back").
//! 5. Meanwhile the agent polls: [`Registration::poll`] (RFC 8628 §3.4). An approved registration is delivered
//!    once: [`Registration::deliver`]. With a code challenge (RFC 7636) the same key can be had again until its
//!    first use, for a minute: losing the reply loses nothing.
//! 6. What is over ends: [`Registration::sweep`]. Terminal answers last a day.
//!
//! ```text
//! Pending ──approve──▶ Approved ──deliver──▶ Delivered
//!    │ └────deny─────▶ Denied      │
//!    └──────sweep────▶ Expired ◀───┘
//! ```

use crate::domain::{
    id::{AccountId, AttemptId, GrantId, KeyId, RegistrationId},
    key::{Environment, KeyFormat},
    name::{Email, Name},
    scope::ScopeSet,
    secret::{CodeChallenge, CodeVerifier, Digest, nfkc},
    source::Source,
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Approval outlives the registration by this much, so that a late click still delivers.
pub const DELIVERY_GRACE: SignedDuration = SignedDuration::from_mins(10);
/// How long the same key is delivered again to the right verifier.
pub const REDELIVERY: SignedDuration = SignedDuration::from_secs(60);
/// How long `access_denied` and `expired_token` are remembered.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// A pickup token is a bearer in a transcript: it lives two minutes.
pub const PICKUP_TTL: SignedDuration = SignedDuration::from_mins(2);
pub const MAX_ATTEMPTS: u8 = 12;
pub const ATTEMPT_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// RFC 8628 §3.5: each `slow_down` adds five seconds.
const SLOW_DOWN_STEP: u16 = 5;
const SLOWEST: u16 = 60;

/// RFC 8628 §6.1: consonants only, so that no code spells a word or mixes up 0 and O.
const CODE_ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What the agent shows and the human enters: `WDJB-MJHT`. Stored as a keyed hash.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// A code from secret bytes, without bias: bytes past the last multiple of 20 are skipped.
    pub fn new(mut byte: impl FnMut() -> u8) -> Self {
        let mut code = String::with_capacity(8);
        while code.len() < 8 {
            let b = byte();
            if b < 240 {
                code.push(CODE_ALPHABET[usize::from(b % 20)] as char);
            }
        }
        Self(code)
    }

    /// The eight letters without the dash: what is hashed.
    pub fn letters(&self) -> &str {
        &self.0
    }

    /// As printed, `XXXX-XXXX`.
    pub fn expose(&self) -> String {
        format!("{}-{}", &self.0[..4], &self.0[4..])
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(redacted)")
    }
}

impl FromStr for UserCode {
    type Err = ();

    /// Reads a code as people type and paste it: whatever else came along (spaces, dashes, quotes, invisible characters,
    /// the end of a sentence) is dropped, and letters and digits no code has are read as the letter they resemble.
    /// `Err`: there are no eight letters, so it is no code and no guess.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = nfkc(text);
        let letters = || text.chars().filter_map(letter);
        let letters_or_digits = || text.chars().filter_map(|c| letter(c).or_else(|| digit(c)));
        // A digit is part of the code only where the code lacks a letter, not in "1. WDJB-MJHT".
        let code: String = if letters().count() == 8 { letters().collect() } else { letters_or_digits().take(9).collect() };
        if code.len() == 8 { Ok(Self(code)) } else { Err(()) }
    }
}

fn letter(c: char) -> Option<char> {
    match c.to_ascii_uppercase() {
        'O' => Some('Q'),
        'I' => Some('L'),
        'U' | 'Y' => Some('V'),
        c => c.is_ascii_uppercase().then_some(c),
    }
}

fn digit(c: char) -> Option<char> {
    match c {
        '0' => Some('Q'),
        '1' => Some('L'),
        '2' => Some('Z'),
        '5' => Some('S'),
        '6' => Some('G'),
        '8' => Some('B'),
        _ => None,
    }
}

/// Who may poll a claim opened over MCP with its handle: the principal that opened it, or whoever holds the handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub hash: Digest,
    /// The credential that opened it; `None` when the handle is the only proof.
    pub bound_to: Option<String>,
}

impl Handle {
    /// Whether one credential, and nobody else, may poll its claim.
    pub fn is_bound(&self) -> bool {
        // Sessions were bound to once; they end while a human decides, and with the process.
        self.bound_to.as_ref().is_some_and(|bound| !bound.starts_with("session "))
    }

    /// Whether whoever presents the handle, with this credential or none, may poll its claim.
    pub fn admits(&self, credential: Option<&str>) -> bool {
        !self.is_bound() || self.bound_to.as_deref() == credential
    }
}

/// What an agent asked for: fixed when it registers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    pub id: RegistrationId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Self-declared: whatever the program says of itself.
    pub agent_name: Name,
    pub scopes: ScopeSet,
    pub ignored: Vec<String>,
    /// Grants nothing by itself.
    pub login_hint: Option<Email>,
    pub environment: Environment,
    pub source: Source,
    /// How many registrations came from there before it in the same hour: who asks most makes room first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before: u32,
    pub claim_token: Digest,
    pub challenge: Option<CodeChallenge>,
    pub handle: Option<Handle>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Request {
    pub fn deliverable_until(&self) -> Timestamp {
        after(self.expires_at, DELIVERY_GRACE)
    }
}

/// One round with its own user code.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    pub id: AttemptId,
    pub code: Digest,
    pub started_at: Timestamp,
    pub expires_at: Timestamp,
    pub number: u8,
    /// The account that entered the right code. Others then get the wrong-code page.
    pub bound_to: Option<AccountId>,
    /// Whether the human typed the code, rather than following a link that carried it.
    pub typed: bool,
}

/// What the human countersigned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Approval {
    pub grant: GrantId,
    pub account: AccountId,
    pub at: Timestamp,
    pub scopes: ScopeSet,
    pub environment: Environment,
    /// How long the key lives from its delivery, in seconds; `None`: until it is revoked.
    pub key_lifetime: Option<i64>,
    /// The key's form, frozen here so that a changed configuration derives no other key.
    pub format: KeyFormat,
    /// Drawn at approval when a code challenge was given; erased when no redelivery is possible any more.
    pub salt: Option<[u8; 32]>,
}

/// A pickup token that was minted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pickup {
    pub token: Digest,
    pub expires_at: Timestamp,
}

/// A registration in one of its states; each carries just the data of that state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Registration {
    Pending { request: Request, attempt: Attempt, interval: u16 },
    Approved { request: Request, approval: Approval, pickup: Option<Pickup> },
    Delivered { request: Request, approval: Approval, key: KeyId, at: Timestamp, spent_pickup: Option<Digest> },
    Denied { request: Request, by: AccountId, at: Timestamp },
    Expired { request: Request },
}

/// The transition does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The code, wherever it leads, is not this account's to decide: unknown, expired, bound to another.
    #[error("wrong code")]
    WrongCode,
    #[error("already decided")]
    AlreadyDecided,
    #[error("somebody has entered the code and is deciding")]
    InFlight,
    #[error("the registration is over")]
    Over,
    #[error("too many attempts, or too soon after the last")]
    TooManyAttempts { retry_after: Option<u64> },
}

/// What to do once codes have run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The registration stands: a new attempt gives a fresh code.
    Claim,
    /// The registration is over.
    Register,
}

/// The answer to a poll, in the order of RFC 8628 §3.5 and the table in the README.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    WrongVerifier,
    Spent,
    Denied,
    /// Approved: deliver now.
    Deliver,
    /// Delivered, not yet used, within the minute: the same key again.
    Again {
        key: KeyId,
        salt: [u8; 32],
    },
    Expired(Retry),
    SlowDown,
    Pending {
        interval: u16,
    },
}

/// What polls ask of a registration that waits for its human: small, so that many fit in memory.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub id: RegistrationId,
    challenge: Option<CodeChallenge>,
    expires_at: Timestamp,
    code_expires_at: Timestamp,
    interval: u16,
}

impl Waiting {
    fn of(request: &Request, attempt: &Attempt, interval: u16) -> Self {
        let (expires_at, code_expires_at) = (request.expires_at, attempt.expires_at);
        Self { id: request.id, challenge: request.challenge.clone(), expires_at, code_expires_at, interval }
    }

    /// Step 5, as long as nobody decided.
    pub fn poll(&self, verifier: Option<&CodeVerifier>, too_early: bool, now: Timestamp) -> Poll {
        match self.interval {
            _ if !proven(self.challenge.as_ref(), verifier) => Poll::WrongVerifier,
            _ if now >= self.expires_at => Poll::Expired(Retry::Register),
            _ if now >= self.code_expires_at => Poll::Expired(Retry::Claim),
            _ if too_early => Poll::SlowDown,
            interval => Poll::Pending { interval },
        }
    }

    /// Whether polling too soon slows it down no further.
    pub fn is_slowest(&self) -> bool {
        self.interval >= SLOWEST
    }
}

fn proven(challenge: Option<&CodeChallenge>, verifier: Option<&CodeVerifier>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => challenge.met_by(verifier),
        // A verifier without a challenge is a downgrade (RFC 9700 §2.1.1).
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Registration {
    /// Step 1. Nothing is granted: a request and its first code.
    pub fn open(request: Request, attempt: Attempt, interval: u16) -> Self {
        Self::Pending { request, attempt, interval }
    }

    /// Notes how many registrations from the same place came before it.
    pub fn after_others(mut self, before: u32) -> Self {
        if let Self::Pending { request, .. } = &mut self {
            request.before = before;
        }
        self
    }

    pub fn request(&self) -> &Request {
        match self {
            Self::Pending { request, .. }
            | Self::Approved { request, .. }
            | Self::Delivered { request, .. }
            | Self::Denied { request, .. }
            | Self::Expired { request } => request,
        }
    }

    pub fn id(&self) -> RegistrationId {
        self.request().id
    }

    /// The account a decision, or a right code, has tied it to.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Pending { attempt, .. } => attempt.bound_to,
            Self::Approved { approval, .. } | Self::Delivered { approval, .. } => Some(approval.account),
            Self::Denied { by, .. } => Some(*by),
            Self::Expired { .. } => None,
        }
    }

    /// Step 2. A fresh code; the old code, its link and its binding are dead.
    pub fn new_attempt(self, fresh: Attempt, now: Timestamp) -> Result<Self, Refused> {
        match self {
            Self::Pending { request, attempt, interval } => {
                if now >= request.expires_at {
                    return Err(Refused::Over);
                }
                if attempt.bound_to.is_some() && now < attempt.expires_at {
                    return Err(Refused::InFlight);
                }
                if attempt.number >= MAX_ATTEMPTS {
                    return Err(Refused::TooManyAttempts { retry_after: None });
                }
                let pause_ends = after(attempt.started_at, ATTEMPT_PAUSE);
                if now < pause_ends {
                    let wait = u64::try_from(pause_ends.duration_since(now).as_millis()).unwrap_or(0).div_ceil(1000);
                    return Err(Refused::TooManyAttempts { retry_after: Some(wait) });
                }
                let number = attempt.number + 1;
                Ok(Self::Pending { request, attempt: Attempt { number, ..fresh }, interval })
            }
            Self::Expired { .. } => Err(Refused::Over),
            Self::Approved { .. } | Self::Delivered { .. } | Self::Denied { .. } => Err(Refused::AlreadyDecided),
        }
    }

    /// Step 3. The right code binds the attempt to the account that entered it (CVE-2026-45337 class).
    pub fn bind(self, account: AccountId, typed: bool, now: Timestamp) -> Result<Self, Refused> {
        match self {
            Self::Pending { request, mut attempt, interval }
                if now < attempt.expires_at && now < request.expires_at && attempt.bound_to.is_none_or(|a| a == account) =>
            {
                attempt.bound_to = Some(account);
                attempt.typed |= typed;
                Ok(Self::Pending { request, attempt, interval })
            }
            _ => Err(Refused::WrongCode),
        }
    }

    /// The code was entered and is good for nothing more: as if its time were over, so the agent asks for a fresh one.
    pub fn spend_code(mut self, now: Timestamp) -> Self {
        if let Self::Pending { attempt, .. } = &mut self {
            attempt.expires_at = attempt.expires_at.min(now);
        }
        self
    }

    /// The attempt this account may decide now.
    pub fn decidable(&self, account: AccountId, now: Timestamp) -> Result<(&Request, &Attempt), Refused> {
        match self {
            Self::Pending { request, attempt, .. } if attempt.bound_to == Some(account) => {
                if now < attempt.expires_at && now < request.expires_at { Ok((request, attempt)) } else { Err(Refused::Over) }
            }
            Self::Approved { approval, .. } | Self::Delivered { approval, .. } if approval.account == account => {
                Err(Refused::AlreadyDecided)
            }
            Self::Denied { by, .. } if *by == account => Err(Refused::AlreadyDecided),
            _ => Err(Refused::WrongCode),
        }
    }

    /// Step 4a. The human countersigns: what is granted is never more than what was asked.
    pub fn approve(self, approval: Approval, now: Timestamp) -> Result<Self, Refused> {
        self.decidable(approval.account, now)?;
        if !approval.scopes.is_subset(&self.request().scopes) {
            return Err(Refused::WrongCode);
        }
        Ok(Self::Approved { request: self.into_request(), approval, pickup: None })
    }

    /// Step 4b. Final.
    pub fn deny(self, account: AccountId, now: Timestamp) -> Result<Self, Refused> {
        self.decidable(account, now)?;
        Ok(Self::Denied { request: self.into_request(), by: account, at: now })
    }

    /// Step 4c. "Not me, give it back": somebody else may enter the code.
    pub fn release(self, account: AccountId, now: Timestamp) -> Result<Self, Refused> {
        self.decidable(account, now)?;
        match self {
            Self::Pending { request, mut attempt, interval } => {
                attempt.bound_to = None;
                attempt.typed = false;
                Ok(Self::Pending { request, attempt, interval })
            }
            other => Ok(other),
        }
    }

    /// Step 5. What a poll is told. `too_early` says that it came before the interval was over: once decided,
    /// no poll is too early (RFC 8628 §3.5).
    pub fn poll(&self, verifier: Option<&CodeVerifier>, too_early: bool, now: Timestamp) -> Poll {
        match self {
            _ if !proven(self.request().challenge.as_ref(), verifier) => Poll::WrongVerifier,
            Self::Delivered { approval, key, at, .. } => match approval.salt {
                Some(salt) if now < after(*at, REDELIVERY) => Poll::Again { key: *key, salt },
                _ => Poll::Spent,
            },
            Self::Denied { .. } => Poll::Denied,
            Self::Approved { request, .. } if now < request.deliverable_until() => Poll::Deliver,
            Self::Approved { .. } | Self::Expired { .. } => Poll::Expired(Retry::Register),
            Self::Pending { request, attempt, interval } => Waiting::of(request, attempt, *interval).poll(verifier, too_early, now),
        }
    }

    pub fn waiting(&self) -> Option<Waiting> {
        match self {
            Self::Pending { request, attempt, interval } => Some(Waiting::of(request, attempt, *interval)),
            Self::Approved { .. } | Self::Delivered { .. } | Self::Denied { .. } | Self::Expired { .. } => None,
        }
    }

    /// The interval grows by five seconds up to a minute, and stays grown.
    pub fn slowed(mut self) -> Self {
        if let Self::Pending { interval, .. } = &mut self {
            *interval = interval.saturating_add(SLOW_DOWN_STEP).min(SLOWEST);
        }
        self
    }

    /// Step 5, the one delivery.
    pub fn deliver(self, key: KeyId, spent_pickup: Option<Digest>, now: Timestamp) -> Result<Self, Refused> {
        match self {
            Self::Approved { request, approval, .. } if now < request.deliverable_until() => {
                Ok(Self::Delivered { request, approval, key, at: now, spent_pickup })
            }
            Self::Approved { .. } | Self::Expired { .. } => Err(Refused::Over),
            _ => Err(Refused::AlreadyDecided),
        }
    }

    /// The human takes an approval back before it was picked up: the agent is told as after a denial.
    pub fn withdraw(self, now: Timestamp) -> Result<Self, Refused> {
        match self {
            Self::Approved { request, approval, .. } => Ok(Self::Denied { request, by: approval.account, at: now }),
            _ => Err(Refused::AlreadyDecided),
        }
    }

    /// A fresh pickup token voids the old one.
    pub fn offer_pickup(self, pickup: Pickup, now: Timestamp) -> Result<Self, Refused> {
        match self {
            Self::Approved { request, approval, .. } if now < request.deliverable_until() => {
                Ok(Self::Approved { request, approval, pickup: Some(pickup) })
            }
            Self::Approved { .. } | Self::Expired { .. } => Err(Refused::Over),
            _ => Err(Refused::AlreadyDecided),
        }
    }

    /// Forgets the salt: the key was used, revoked, or its minute is over.
    pub fn end_redelivery(mut self) -> Self {
        if let Self::Delivered { approval, .. } = &mut self {
            approval.salt = None;
        }
        self
    }

    /// Step 6. Ends what is over; `None` when the row is to be forgotten.
    pub fn sweep(self, now: Timestamp) -> Option<Self> {
        if now >= after(self.request().expires_at, REMEMBERED) {
            return None;
        }
        Some(match self {
            Self::Pending { request, .. } if now >= request.expires_at => Self::Expired { request },
            Self::Approved { request, .. } if now >= request.deliverable_until() => Self::Expired { request },
            Self::Delivered { at, .. } if now >= after(at, REDELIVERY) => self.end_redelivery(),
            other => other,
        })
    }

    /// Whether it only answers, and nothing can come of it any more.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Pending { .. } | Self::Approved { .. } => false,
            Self::Delivered { approval, .. } => approval.salt.is_none(),
            Self::Denied { .. } | Self::Expired { .. } => true,
        }
    }

    /// When [`Self::sweep`] next has something to do.
    pub fn due_at(&self) -> Timestamp {
        match self {
            Self::Pending { request, .. } => request.expires_at,
            Self::Approved { request, .. } => request.deliverable_until(),
            Self::Delivered { approval, at, .. } if approval.salt.is_some() => after(*at, REDELIVERY),
            _ => after(self.request().expires_at, REMEMBERED),
        }
    }

    fn into_request(self) -> Request {
        match self {
            Self::Pending { request, .. }
            | Self::Approved { request, .. }
            | Self::Delivered { request, .. }
            | Self::Denied { request, .. }
            | Self::Expired { request } => request,
        }
    }
}
