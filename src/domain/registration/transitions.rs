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
    digest::Digest,
    id::{AccountId, KeyId, RegistrationId},
    registration::{
        poll::{NextStep, Poll, PollPace, proven, slower},
        request::{ATTEMPT_PAUSE, Approval, Attempt, MAX_ATTEMPTS, Pickup, RegistrationRequest},
    },
    secret::CodeVerifier,
    time::after,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long the same key is delivered again to the right verifier.
pub const REDELIVERY_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// How long `access_denied` and `expired_token` are remembered.
pub const ANSWER_RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// A registration in one of its states; each carries just the data of that state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Registration {
    Pending { request: RegistrationRequest, attempt: Attempt, interval: u16 },
    Approved { request: RegistrationRequest, approval: Approval, pickup: Option<Pickup> },
    Delivered { request: RegistrationRequest, approval: Approval, key: KeyId, at: Timestamp, spent_pickup: Option<Digest> },
    Denied { request: RegistrationRequest, by: AccountId, at: Timestamp },
    Expired { request: RegistrationRequest },
}

/// The transition does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
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

impl Registration {
    /// Step 1. Nothing is granted: a request and its first code.
    pub fn open(request: RegistrationRequest, attempt: Attempt, interval: u16) -> Self {
        Self::Pending { request, attempt, interval }
    }

    /// Notes how many registrations from the same place came before it.
    pub fn after_others(mut self, before: u32) -> Self {
        if let Self::Pending { request, .. } = &mut self {
            request.before = before;
        }
        self
    }

    /// What the agent asked for, which every state keeps.
    pub fn request(&self) -> &RegistrationRequest {
        match self {
            Self::Pending { request, .. }
            | Self::Approved { request, .. }
            | Self::Delivered { request, .. }
            | Self::Denied { request, .. }
            | Self::Expired { request } => request,
        }
    }

    /// Its public name, the same in every state.
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
    ///
    /// # Errors
    /// * [`TransitionError::Over`]: the registration has expired.
    /// * [`TransitionError::InFlight`]: an account has entered the present code and may still decide.
    /// * [`TransitionError::TooManyAttempts`]: [`MAX_ATTEMPTS`] were given out, or the last one within [`ATTEMPT_PAUSE`].
    /// * [`TransitionError::AlreadyDecided`]: it was approved or denied.
    pub fn new_attempt(self, fresh: Attempt, now: Timestamp) -> Result<Self, TransitionError> {
        match self {
            Self::Pending { request, attempt, interval } => {
                if now >= request.expires_at {
                    return Err(TransitionError::Over);
                }
                if attempt.bound_to.is_some() && now < attempt.expires_at {
                    return Err(TransitionError::InFlight);
                }
                if attempt.number >= MAX_ATTEMPTS {
                    return Err(TransitionError::TooManyAttempts { retry_after: None });
                }
                let pause_ends = after(attempt.started_at, ATTEMPT_PAUSE);
                if now < pause_ends {
                    let wait = u64::try_from(pause_ends.duration_since(now).as_millis()).unwrap_or(0).div_ceil(1000);
                    return Err(TransitionError::TooManyAttempts { retry_after: Some(wait) });
                }
                let number = attempt.number + 1;
                Ok(Self::Pending { request, attempt: Attempt { number, ..fresh }, interval })
            }
            Self::Expired { .. } => Err(TransitionError::Over),
            Self::Approved { .. } | Self::Delivered { .. } | Self::Denied { .. } => Err(TransitionError::AlreadyDecided),
        }
    }

    /// Step 3. The right code binds the attempt to the account that entered it (CVE-2026-45337 class).
    ///
    /// # Errors
    /// [`TransitionError::WrongCode`] whatever the reason, so that an account learns nothing of codes that others entered.
    pub fn bind(self, account: AccountId, typed: bool, now: Timestamp) -> Result<Self, TransitionError> {
        match self {
            Self::Pending { request, mut attempt, interval }
                if now < attempt.expires_at && now < request.expires_at && attempt.bound_to.is_none_or(|a| a == account) =>
            {
                attempt.bound_to = Some(account);
                attempt.typed |= typed;
                Ok(Self::Pending { request, attempt, interval })
            }
            _ => Err(TransitionError::WrongCode),
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
    ///
    /// # Errors
    /// * [`TransitionError::Over`]: its code or the registration has expired.
    /// * [`TransitionError::AlreadyDecided`]: by this account.
    /// * [`TransitionError::WrongCode`]: this account has not entered its code, or another account decided.
    pub fn decidable(&self, account: AccountId, now: Timestamp) -> Result<(&RegistrationRequest, &Attempt), TransitionError> {
        match self {
            Self::Pending { request, attempt, .. } if attempt.bound_to == Some(account) => {
                if now < attempt.expires_at && now < request.expires_at { Ok((request, attempt)) } else { Err(TransitionError::Over) }
            }
            Self::Approved { approval, .. } | Self::Delivered { approval, .. } if approval.account == account => {
                Err(TransitionError::AlreadyDecided)
            }
            Self::Denied { by, .. } if *by == account => Err(TransitionError::AlreadyDecided),
            _ => Err(TransitionError::WrongCode),
        }
    }

    /// Step 4a. The human countersigns: what is granted is never more than what was asked.
    ///
    /// # Errors
    /// As [`Self::decidable`]; and [`TransitionError::WrongCode`] for scopes that were not asked for.
    pub fn approve(self, approval: Approval, now: Timestamp) -> Result<Self, TransitionError> {
        self.decidable(approval.account, now)?;
        if !approval.scopes.is_subset(&self.request().scopes) {
            return Err(TransitionError::WrongCode);
        }
        Ok(Self::Approved { request: self.into_request(), approval, pickup: None })
    }

    /// Step 4b. Final.
    ///
    /// # Errors
    /// As [`Self::decidable`].
    pub fn deny(self, account: AccountId, now: Timestamp) -> Result<Self, TransitionError> {
        self.decidable(account, now)?;
        Ok(Self::Denied { request: self.into_request(), by: account, at: now })
    }

    /// Step 4c. "Not me, give it back": somebody else may enter the code.
    ///
    /// # Errors
    /// As [`Self::decidable`].
    pub fn release(self, account: AccountId, now: Timestamp) -> Result<Self, TransitionError> {
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
                Some(salt) if now < after(*at, REDELIVERY_WINDOW) => Poll::Again { key: *key, salt },
                _ => Poll::Spent,
            },
            Self::Denied { .. } => Poll::Denied,
            Self::Approved { request, .. } if now < request.deliverable_until() => Poll::Deliver,
            Self::Approved { .. } | Self::Expired { .. } => Poll::Expired(NextStep::Register),
            Self::Pending { request, attempt, interval } => PollPace::of(request, attempt, *interval).poll(verifier, too_early, now),
        }
    }

    /// What polls need while nobody has decided; `None` once somebody has, or it expired.
    pub fn waiting(&self) -> Option<PollPace> {
        match self {
            Self::Pending { request, attempt, interval } => Some(PollPace::of(request, attempt, *interval)),
            Self::Approved { .. } | Self::Delivered { .. } | Self::Denied { .. } | Self::Expired { .. } => None,
        }
    }

    /// The interval grows, and stays grown.
    pub fn slowed(mut self) -> Self {
        if let Self::Pending { interval, .. } = &mut self {
            *interval = slower(*interval);
        }
        self
    }

    /// Step 5, the one delivery.
    ///
    /// # Errors
    /// * [`TransitionError::Over`]: nobody fetched the key in time.
    /// * [`TransitionError::AlreadyDecided`]: it was not approved, or the key was delivered before.
    pub fn deliver(self, key: KeyId, spent_pickup: Option<Digest>, now: Timestamp) -> Result<Self, TransitionError> {
        match self {
            Self::Approved { request, approval, .. } if now < request.deliverable_until() => {
                Ok(Self::Delivered { request, approval, key, at: now, spent_pickup })
            }
            Self::Approved { .. } | Self::Expired { .. } => Err(TransitionError::Over),
            _ => Err(TransitionError::AlreadyDecided),
        }
    }

    /// The human takes an approval back before it was picked up: the agent is told as after a denial.
    ///
    /// # Errors
    /// [`TransitionError::AlreadyDecided`]: there is no approval that waits to be picked up.
    pub fn withdraw(self, now: Timestamp) -> Result<Self, TransitionError> {
        match self {
            Self::Approved { request, approval, .. } => Ok(Self::Denied { request, by: approval.account, at: now }),
            _ => Err(TransitionError::AlreadyDecided),
        }
    }

    /// A fresh pickup token voids the old one.
    ///
    /// # Errors
    /// * [`TransitionError::Over`]: nobody fetched the key in time.
    /// * [`TransitionError::AlreadyDecided`]: it was not approved, or the key was delivered before.
    pub fn offer_pickup(self, pickup: Pickup, now: Timestamp) -> Result<Self, TransitionError> {
        match self {
            Self::Approved { request, approval, .. } if now < request.deliverable_until() => {
                Ok(Self::Approved { request, approval, pickup: Some(pickup) })
            }
            Self::Approved { .. } | Self::Expired { .. } => Err(TransitionError::Over),
            _ => Err(TransitionError::AlreadyDecided),
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
        if now >= after(self.request().expires_at, ANSWER_RETENTION) {
            return None;
        }
        Some(match self {
            Self::Pending { request, .. } if now >= request.expires_at => Self::Expired { request },
            Self::Approved { request, .. } if now >= request.deliverable_until() => Self::Expired { request },
            Self::Delivered { at, .. } if now >= after(at, REDELIVERY_WINDOW) => self.end_redelivery(),
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
            Self::Delivered { approval, at, .. } if approval.salt.is_some() => after(*at, REDELIVERY_WINDOW),
            _ => after(self.request().expires_at, ANSWER_RETENTION),
        }
    }

    fn into_request(self) -> RegistrationRequest {
        match self {
            Self::Pending { request, .. }
            | Self::Approved { request, .. }
            | Self::Delivered { request, .. }
            | Self::Denied { request, .. }
            | Self::Expired { request } => request,
        }
    }
}
