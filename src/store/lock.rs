//! One process owns a data directory: a lock of our own, released by the kernel on any death.

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Who holds a data directory, for a second process to say plainly.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Owner {
    pub pid: u32,
    /// `serve` or `mcp`.
    pub role: String,
    /// Where its pages are.
    pub url: String,
    /// The socket other processes of this user reach it through.
    #[serde(default)]
    pub socket: PathBuf,
}

impl Owner {
    fn file(dir: &Path) -> PathBuf {
        dir.join("owner.lock")
    }

    /// What the last owner of a directory announced, be it alive or not.
    pub fn announced(dir: &Path) -> io::Result<Self> {
        let path = Self::file(dir);
        let mut file = open_own(&path, OpenOptions::new().read(true))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(|_| io::Error::new(io::ErrorKind::NotFound, "nobody has announced himself"))
    }
}

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
    ours(path, &found)?;
    Ok(file)
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} {why}", path.display()))
}

pub enum Acquired {
    Mine(OwnerLock),
    /// Somebody else's; unknown who until it has finished starting.
    Theirs(Option<Owner>),
}

/// Held for as long as this value lives.
#[derive(Debug)]
pub struct OwnerLock {
    file: File,
    dir: PathBuf,
}

impl OwnerLock {
    /// Takes the directory's lock, or tells who has it. Never waits.
    pub fn acquire(dir: &Path) -> io::Result<Acquired> {
        private_dir(dir)?;
        let path = Owner::file(dir);
        let mut file = open_own(&path, OpenOptions::new().create(true).read(true).write(true).truncate(false))?;
        if file.metadata()?.nlink() > 1 {
            return Err(refused(&path, "has another name (a hard link), and what it holds would be cut: remove it"));
        }
        match file.try_lock() {
            Ok(()) => {
                // From here on nobody reads a dead owner's address.
                file.set_len(0)?;
                file.rewind()?;
                Ok(Acquired::Mine(Self { file, dir: dir.to_owned() }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(Acquired::Theirs(serde_json::from_str(&text).ok()))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Says who we are, once we can be reached.
    pub fn announce(&mut self, owner: &Owner) -> io::Result<()> {
        let text = serde_json::to_vec(owner).map_err(io::Error::other)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.sync_data()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// This process's user.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Refuses what belongs to another user, be this one root: its owner could read it, and rearrange it under us.
pub fn ours(path: &Path, found: &fs::Metadata) -> io::Result<()> {
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

/// Makes a directory only its owner can enter. One that others can enter is closed to them if it is ours alone;
/// a shared one (`/tmp`, a home) is refused rather than changed, and so is another user's.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let found = fs::metadata(dir)?;
    ours(dir, &found)?;
    let mode = found.permissions().mode();
    if mode & 0o077 != 0 {
        let ours = Owner::file(dir).exists() || fs::read_dir(dir)?.all(|entry| entry.is_ok_and(|e| e.file_name() == "countersign.toml"));
        if mode & 0o1000 != 0 || !ours {
            let why = format!("{} is open to others and holds other things: name a directory of its own", dir.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
