//! Why the store did not do it.

/// The store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing is known to be wrong with the request: try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored can be read; nothing can be changed until whoever runs this mends it.
    #[error("the store can't be written: {0}")]
    ReadOnly(String),
    /// The files, or a row, do not read as what they should be.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// What a request wanted from the store ended in a fault of this program. Trying again would end there, too.
    #[error("a job of the store panicked; nothing of it was kept")]
    Panicked,
}
