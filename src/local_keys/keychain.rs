//! The operating system's keychain, where there is one that works: Keychain Services, or a Secret Service on D-Bus.
//!
//! It may be missing, locked, or waiting for a click that nobody makes. So it is asked on a thread of its own and
//! given up after a moment; keys are then kept in files.

use crate::api::values::Revealed;
use keyring::{Entry, Result};
use std::{
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

const SERVICE: &str = "countersign";
const PATIENCE: Duration = Duration::from_secs(3);

/// Keeps a key; true once it can be read back.
pub fn keep(name: &str, key: &Revealed) -> bool {
    let (name, key) = (name.to_owned(), key.clone());
    ask(move || {
        let entry = Entry::new(SERVICE, &name)?;
        entry.set_password(key.expose())?;
        Ok(entry.get_password()? == key.expose())
    }) == Some(true)
}

pub fn find(name: &str) -> Option<Revealed> {
    let name = name.to_owned();
    ask(move || Entry::new(SERVICE, &name)?.get_password().map(|key| Revealed::new(&key)))
}

pub fn remove(name: &str) {
    let name = name.to_owned();
    ask(move || Entry::new(SERVICE, &name)?.delete_credential());
}

/// Without a session bus there is no Secret Service to wait for.
fn may_exist() -> bool {
    let bus = || std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
    cfg!(target_os = "macos") || std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() || bus()
}

fn ask<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Option<T> {
    /// One that did not answer is not asked again by this process.
    static SILENT: AtomicBool = AtomicBool::new(false);
    if !may_exist() || SILENT.load(Ordering::Relaxed) {
        return None;
    }
    let (tell, told) = mpsc::sync_channel(1);
    let asking = std::thread::Builder::new().name("keychain".to_owned()).spawn(move || tell.send(work()));
    match (asking, told.recv_timeout(PATIENCE)) {
        (Ok(_), Ok(Ok(answer))) => Some(answer),
        (_, Ok(Err(error))) => {
            tracing::debug!(%error, "the keychain refused");
            None
        }
        _ => {
            tracing::warn!("the keychain does not answer: keys are kept in files");
            SILENT.store(true, Ordering::Relaxed);
            None
        }
    }
}
