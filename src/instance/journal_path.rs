//! Where the journal is: as configured, or as the data directory notes it.

use crate::{config::settings::Config, instance::error::OpenFailure, platform::private_files::write_private};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The journal, also for a command that was not told of the configuration: a change that is missing in it would come
/// back with a backup. Where it is kept is remembered in the data directory until somebody removes that file.
pub fn journal_path(config: &Config, data: &Path) -> io::Result<Option<PathBuf>> {
    match (config.journal_path(), fs::read_to_string(data.join(JOURNAL_NOTE))) {
        (Some(path), _) => std::path::absolute(path).map(Some),
        (None, Ok(noted)) => Ok(Some(PathBuf::from(noted.trim()))),
        (None, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        (None, Err(error)) => Err(error),
    }
}

/// Where the journal is, for a process that is about to write it: from now on the data directory notes it.
///
/// # Errors
/// When the note can't be read or written: a change that is missing in the journal would come back with a backup.
pub fn journal_of(config: &Config, data: &Path) -> Result<Option<PathBuf>, OpenFailure> {
    let note = data.join(JOURNAL_NOTE);
    let failed = |error| OpenFailure::Directory { data: note.clone(), error };
    let (journal, known) = (journal_path(config, data).map_err(failed)?, note.exists());
    if let Some(path) = &journal {
        note_journal(data, path).map_err(failed)?;
        if known && !path.exists() {
            tracing::warn!(path = %path.display(), "the journal is not there: a new one begins, which no backup made before now can be restored with");
        }
    }
    Ok(journal)
}

/// Notes in the data directory where its journal is.
///
/// # Errors
/// When the path has no absolute form, or the note can't be written.
pub fn note_journal(data: &Path, journal: &Path) -> io::Result<()> {
    let (note, journal) = (data.join(JOURNAL_NOTE), std::path::absolute(journal)?);
    let journal = journal.to_string_lossy();
    // Whole or not at all: a full disk must not take the old one away.
    if fs::read_to_string(&note).is_ok_and(|noted| noted == journal) {
        return Ok(());
    }
    write_private(&note, journal.as_bytes())
}

/// The file in the data directory that says where the journal is.
pub const JOURNAL_NOTE: &str = "journal.path";
