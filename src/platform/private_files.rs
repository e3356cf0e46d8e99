//! Files and directories that only their owner can read.

use crate::platform::private_folder::Folder;
use rustix::fs::OFlags;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Opens a file of ours: no link, which could lead anywhere and have what is behind it cut; no pipe, which lets its opener
/// wait; nobody else's. One that is made is 0600.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.mode(0o600).custom_flags(flags).open(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => refused(path, "is a symbolic link: remove it"),
        _ => error,
    })?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(refused(path, "is no file: remove it"));
    }
    check_owner(path, &found)?;
    Ok(file)
}

/// Why a path is not used, with the path before the reason.
pub fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", path.display()))
}

/// Replaces a file as a whole, readable by this user only, on disk when this returns. Anything but a file in its
/// place is refused.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    folder.write(name, bytes)
}

/// `/tmp` is everybody's: a directory there counts only if it is ours, no link, and closed to others.
pub fn own_private_dir(dir: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(dir)?;
    check_owner(dir, &found)?;
    if found.is_dir() && found.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is not a private directory of this user", dir.display())))
}

/// This process's user.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Refuses what belongs to another user, be this one root: its owner could read it, and rearrange it under us.
pub fn check_owner(path: &Path, found: &fs::Metadata) -> io::Result<()> {
    if found.uid() == own_uid() {
        return Ok(());
    }
    let (shown, owner, own) = (path.display(), found.uid(), own_uid());
    let mut why = format!("{shown} belongs to another user (uid {owner}): run countersign as that user");
    if found.is_dir() {
        // What a volume is given to with `fsGroup` is its group; its folder stays root's.
        why.push_str(&format!(
            ", give it to this one (as root: chown -R {own} {shown}), or name a directory in it that is made then \
             (--data {}; in Kubernetes, where a volume with fsGroup is root's, do that or mount it with a subPath)",
            path.join("countersign").display()
        ));
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// What a data directory holds: the lock of the process that has it.
pub const LOCK_FILE: &str = "owner.lock";

/// Makes a directory only its owner can enter. One that others can enter is closed to them if it is ours alone;
/// a shared one (`/tmp`, a home) is refused rather than changed, and so is another user's.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let found = fs::metadata(dir)?;
    check_owner(dir, &found)?;
    let mode = found.permissions().mode();
    if mode & 0o077 != 0 {
        let ours = dir.join(LOCK_FILE).exists() || fs::read_dir(dir)?.all(|entry| entry.is_ok_and(|e| e.file_name() == "countersign.toml"));
        if mode & 0o1000 != 0 || !ours {
            let why = format!("{} is open to others and holds other things: name a directory of its own", dir.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
