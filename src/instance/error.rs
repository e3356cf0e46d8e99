//! Why a data directory could not be opened.

use crate::{instance::secret_file::SecretError, service::errors::OpenError, store::error::StoreError};
use std::{io, path::PathBuf};

/// Why the data directory can't be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    #[error("can't use the data directory {data}: {error}", data = .data.display())]
    Directory { data: PathBuf, error: io::Error },
    #[error("{data} is in use by another process{who} that does not answer: wait a moment, or end that process", data = .data.display())]
    Silent { data: PathBuf, who: String },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("can't open the store in {data}: {error}", data = .data.display())]
    Store { data: PathBuf, error: StoreError },
    #[error(
        "can't open the store in {data}: {error}. Keep the directory as it is; `countersign doctor` looks at it, and \
         `countersign restore BACKUP --data NEW` brings a backup back", data = .data.display()
    )]
    Damaged { data: PathBuf, error: StoreError },
}
