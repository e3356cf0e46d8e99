//! How a subcommand ends.

use crate::{api::error::Error, instance::error::OpenFailure};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
    /// Not signed in, or not allowed.
    #[error("{0}")]
    NotAllowed(String),
}

impl Failure {
    pub(crate) fn failed(cause: impl ToString) -> Self {
        Self::Failed(cause.to_string())
    }

    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotAllowed(_) => 4,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthorized { .. } | Error::InsufficientScope { .. } | Error::Forbidden { .. } | Error::SignInNeeded => {
                Self::NotAllowed(error.to_string())
            }
            Error::Invalid { .. } => Self::Usage(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<OpenFailure> for Failure {
    fn from(failure: OpenFailure) -> Self {
        Self::failed(failure)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}

/// What a command that went through leaves as exit code.
pub type CommandResult = Result<u8, Failure>;
