//! Opens a store: the one place outside an engine's own room that names the engine.

use crate::store::{
    error::StoreError,
    handle::Store,
    journal::Journal,
    sled::{engine::SledEngine, files},
};
use std::{path::Path, sync::Arc};

/// Free room on the disk that a store takes to open, in bytes.
pub const ROOM: usize = files::ROOM;

/// Opens the store in a directory, or makes one there. It blocks: reading a large store takes seconds.
///
/// # Errors
/// [`StoreError::Corrupt`] for files that are no store, [`StoreError::ReadOnly`] where the disk is full, and
/// [`StoreError::Unavailable`] for whatever else the system refuses.
pub fn open(dir: &Path, journal: Option<Journal>) -> Result<Store, StoreError> {
    Ok(Store::new(Arc::new(SledEngine::open(dir, journal)?)))
}
