//! Everything that can go wrong, once. How programs are told is in [`error_catalogue`](crate::api::error_catalogue), how humans
//! are in the pages' table.

use crate::{api::verification::RateLimit, domain::scope::ScopeSet};
use serde::{Deserialize, Serialize};

/// What went wrong, with what an answer needs to say so. The text of each is for logs and for API clients; the others have
/// their own words.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum Error {
    // What was asked is not well-formed.
    #[error("`{field}` {detail}")]
    Invalid { field: String, detail: String },
    #[error("{detail}")]
    Malformed { detail: String },
    #[error("{detail}; agents may ask for: {available}")]
    InvalidScope {
        /// What the request calls it.
        #[serde(default = "scope")]
        field: String,
        detail: String,
        available: ScopeSet,
    },
    #[error("`login_hint` must be an e-mail address, such as user@example.com")]
    InvalidLoginHint,
    #[error("this grant type is not supported here")]
    UnsupportedGrantType,
    #[error("this registration type is not supported here; use \"service_auth\"")]
    UnsupportedType,

    // The claim ceremony, towards the agent.
    #[error("the claim token is unknown, spent, or the code verifier does not match")]
    InvalidGrant,
    #[error("the human has not decided yet")]
    AuthorizationPending { interval: u16 },
    #[error("polled too soon: wait {interval} seconds between polls from now on")]
    SlowDown { interval: u16 },
    #[error("{}", if *.register { "the registration is over" } else { "the code is over" })]
    ExpiredToken { register: bool },
    #[error("the human denied the request")]
    AccessDenied,
    #[error("the claim token is unknown")]
    InvalidClaimToken,
    #[error("the human has entered the code and is deciding, or has decided")]
    ClaimedOrInFlight { already: bool },
    #[error("the registration is over")]
    ClaimExpired,
    #[error("no further code for this registration")]
    TooManyAttempts { retry_after: Option<u64> },

    // Credentials.
    #[error("invalid or missing API key")]
    Unauthorized { presented: bool },
    /// The same where HTTP Basic is read, too; `basic`: it was what came.
    #[error("invalid or missing API key of the caller")]
    CallerUnauthorized { presented: bool, basic: bool },
    #[error("the refresh token is unknown, used, or over: sign in again")]
    InvalidRefreshToken,
    #[error("the key lacks: {missing}")]
    InsufficientScope { missing: ScopeSet },
    #[error("{detail}")]
    Forbidden { detail: String },
    #[error("no such {what}")]
    NotFound { what: String },
    #[error("{detail}")]
    Conflict { detail: String },
    #[error("this `Idempotency-Key` was used for another request: give each request its own")]
    IdempotencyKeyReused,

    // Limits.
    #[error("{detail}")]
    TooMany { detail: String, retry_after: u64 },
    #[error("rate limit exceeded")]
    RateLimited(RateLimit),
    #[error("busy: try again in a moment")]
    Busy,

    // Pages.
    #[error("that code is not valid")]
    WrongCode,
    /// Said whether or not the code was right, while too many are guessed.
    #[error("one code is not enough at the moment: a fresh code of the same request is needed, too")]
    FreshCodeNeeded,
    #[error("already decided")]
    AlreadyDecided,
    #[error("the request changed while you were looking at it")]
    ReviewChanged,
    #[error("e-mail or password is wrong")]
    WrongPassword,
    /// Before a right is given to somebody.
    #[error("`password` is needed again: you signed in more than five minutes ago")]
    PasswordNeeded,
    #[error("sign in first")]
    SignInNeeded,
    #[error("the form is out of date or came from elsewhere")]
    ForeignForm,

    // HTTP itself.
    #[error("the body must not be larger than 64 KiB")]
    PayloadTooLarge,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the content type must be {expected}")]
    UnsupportedMediaType { expected: String },
    #[error("no such page or endpoint")]
    NoRoute,
    #[error("this endpoint does not take that method")]
    MethodNotAllowed,
    #[error("this server does not answer for that host name: use the address it publishes, in its auth.md or on its first line")]
    Misdirected,
    #[error("the server is not ready: try again in a moment")]
    Unavailable,
    #[error("nothing can be changed while the server can't write to its store: whoever runs it finds out why with `countersign doctor`")]
    ReadOnly,
    /// Another server, asked on behalf of a client of this computer.
    #[error("{detail}")]
    Unreachable { detail: String },
    #[error("something went wrong on our side")]
    Internal,
}

impl Error {
    /// A member of the request that can't be what it is: `field` as the caller wrote it, `detail` to follow it.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), detail: detail.into() }
    }

    /// What was typed as a code can't be one. Nobody is charged for it: nothing was guessed.
    pub fn unreadable_code() -> Self {
        Self::invalid("code", "has eight letters, like WDJB-MJHT: enter those alone, as they were shown")
    }

    /// None of these scopes can be had.
    pub fn invalid_scope(detail: impl Into<String>, available: ScopeSet) -> Self {
        Self::InvalidScope { field: scope(), detail: detail.into(), available }
    }

    /// The same about an argument that this edge has another name for.
    pub fn called(self, ours: &str, theirs: &str) -> Self {
        match self {
            Self::Invalid { field, detail } if field == ours => Self::invalid(theirs, detail),
            Self::InvalidScope { field, detail, available } if field == ours => {
                Self::InvalidScope { field: theirs.to_owned(), detail, available }
            }
            other => other,
        }
    }

    /// There is none, or it is somebody else's, which is answered alike.
    pub fn not_found(what: &str) -> Self {
        Self::NotFound { what: what.to_owned() }
    }

    /// For what should not happen: the cause is logged here, where it is known, and never leaves.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::Internal
    }

    /// Seconds after which the same call may go through; `None` where waiting does not help.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_after, .. } => Some(*retry_after),
            Self::TooManyAttempts { retry_after } => *retry_after,
            Self::RateLimited(limit) => limit.retry_after,
            Self::Busy | Self::Unavailable | Self::ReadOnly => Some(1),
            _ => None,
        }
    }
}

/// What OAuth calls it, and so did every version that did not say.
fn scope() -> String {
    "scope".to_owned()
}
