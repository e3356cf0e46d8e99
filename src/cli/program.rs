//! How this program was called, for lines and files that are to call it again.

use crate::cli::{failure::Failure, settings::text};
use std::{
    env,
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The path that was called, links and all: what a link leads to has another name after the next upgrade. Where that does
/// not lead to this program, the file it runs from.
pub fn path() -> Result<String, Failure> {
    let file = env::current_exe()?;
    let called = env::args_os().next().and_then(|name| called(&name, env::var_os("PATH").as_deref(), &file).ok().flatten());
    text(&called.unwrap_or(file))
}

fn called(name: &OsStr, search: Option<&OsStr>, file: &Path) -> io::Result<Option<PathBuf>> {
    let ours = fs::metadata(file)?;
    let leads_here = |path: &Path| fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino()));
    let found = if name.as_encoded_bytes().contains(&b'/') {
        Some(PathBuf::from(name))
    } else {
        // As a shell finds it: the first that can be run.
        let runs = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
        search.and_then(|search| env::split_paths(search).map(|folder| folder.join(name)).find(runs))
    };
    found.filter(|path| leads_here(path)).map(std::path::absolute).transpose()
}
