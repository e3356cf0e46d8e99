//! How failures of the parts below become the errors callers get.

use crate::{api::error::Error, domain::registration::transitions::TransitionError, store::error::StoreError};

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        match error {
            StoreError::Unavailable(_) => Self::Unavailable,
            StoreError::ReadOnly(_) => Self::ReadOnly,
            StoreError::Corrupt(_) | StoreError::Panicked => Self::Internal,
        }
    }
}

/// How the pages see a transition that does not fit; the agent's endpoints have their own reading.
impl From<TransitionError> for Error {
    fn from(refused: TransitionError) -> Self {
        match refused {
            TransitionError::WrongCode | TransitionError::Over => Self::WrongCode,
            TransitionError::AlreadyDecided => Self::AlreadyDecided,
            TransitionError::InFlight => Self::ClaimedOrInFlight { already: false },
            TransitionError::TooManyAttempts { retry_after } => Self::TooManyAttempts { retry_after },
        }
    }
}

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data was written by a newer countersign (schema {data}, this one knows {known}): use that version or a newer one")]
    NewerSchema { data: u32, known: u32 },
    #[error(
        "the server secret is not the one this data was made with (id {given}, the data says {stored}): \
         put the right file back (`secret_file`); without it no key works"
    )]
    WrongSecret { stored: String, given: String },
    #[error("session tokens can't be signed: {0}")]
    Signing(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}
