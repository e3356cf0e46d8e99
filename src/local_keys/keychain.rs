//! The operating system's keychain, where there is one that works: Keychain Services on macOS; elsewhere a Secret
//! Service on D-Bus (GNOME Keyring, KWallet, KeePassXC), asked with libsecret's program `secret-tool`. A D-Bus client
//! of our own would be a fifth of all crates and a tenth of the build, on servers too, where there is no keychain.
//!
//! It may be missing, locked, or waiting for a click that nobody makes. So it is given up after a moment; keys are
//! then kept in files.

use crate::api::values::Revealed;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// With the name of the key, what an entry is found by: the attributes `service` and `username` of a Secret Service.
const SERVICE: &str = "countersign";
/// For an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the keychain did not do what it was asked.
enum Refused {
    /// It did not answer in time.
    Silent,
    Because(String),
}

/// Keeps a key; true once it can be read back.
pub fn keep(name: &str, key: &Revealed) -> bool {
    let (name, key) = (name.to_owned(), key.clone());
    ask(move || {
        system::write(&name, &key)?;
        Ok(system::read(&name)?.expose() == key.expose())
    })
    .is_ok_and(|same| same)
}

/// A key that was kept, if the keychain gives it; else the log says why not.
pub fn find(name: &str) -> Option<Revealed> {
    let asked = name.to_owned();
    let found = ask(move || system::read(&asked));
    if let Err(Refused::Because(why)) = &found {
        tracing::warn!("{name} lies in the keychain, which does not give it: {why}");
    }
    found.ok()
}

/// Forgets a key. One that is not there is no error.
pub fn remove(name: &str) {
    let name = name.to_owned();
    // What it refused stands in the log.
    let _ = ask(move || system::remove(&name));
}

fn ask<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refused> + Send + 'static) -> Result<T, Refused> {
    /// One that did not answer is not asked again by this process.
    static SILENT: AtomicBool = AtomicBool::new(false);
    if SILENT.load(Ordering::Relaxed) {
        return Err(Refused::Silent);
    }
    let answer = system::in_time(work);
    match &answer {
        Err(Refused::Silent) => {
            tracing::warn!("the keychain does not answer: keys are kept in files");
            SILENT.store(true, Ordering::Relaxed);
        }
        Err(Refused::Because(why)) => tracing::debug!("the keychain refused: {why}"),
        Ok(_) => {}
    }
    answer
}

#[cfg(not(target_os = "macos"))]
mod system {
    use super::{ANSWER_TIMEOUT, Refused, SERVICE};
    use crate::api::values::Revealed;
    use std::{
        io::{ErrorKind, Read, Write},
        path::Path,
        process::{Child, Command, Stdio},
        thread,
        time::Duration,
    };
    use zeroize::Zeroizing;

    const TOOL: &str = "secret-tool";
    const MISSING: &str = "the program secret-tool is missing (it is in the package libsecret-tools or libsecret)";
    /// Between looks at whether it has ended.
    const POLL_INTERVAL: Duration = Duration::from_millis(5);
    /// Bytes; a key is shorter.
    const MAX_SECRET_BYTES: u64 = 4096;

    /// Puts a key where an earlier one of this name may lie.
    ///
    /// # Errors
    /// [`Refused`]: there is no keychain, or it took nothing.
    pub fn write(name: &str, key: &Revealed) -> Result<(), Refused> {
        // It replaces entries it made itself, but not those of other programs, as versions of ours once were.
        remove(name)?;
        let label = format!("--label=keyring:{name}@{SERVICE}");
        tool(&["store", &label], name, key.expose()).map(drop)
    }

    /// What is kept under a name.
    ///
    /// # Errors
    /// [`Refused::Because`]: it is locked, has no such entry, or there is no keychain.
    pub fn read(name: &str) -> Result<Revealed, Refused> {
        let key = tool(&["lookup"], name, "")?;
        match std::str::from_utf8(&key) {
            Ok(key) if !key.is_empty() => Ok(Revealed::new(key)),
            _ => Err(Refused::Because("it is locked, or the entry was removed".to_owned())),
        }
    }

    /// Removes what is kept under a name, if there is anything.
    ///
    /// # Errors
    /// [`Refused`]: there is no keychain, or it did not answer.
    pub fn remove(name: &str) -> Result<(), Refused> {
        tool(&["clear"], name, "").map(drop)
    }

    /// Does what asks the keychain. The program that is started for it is waited for, and ended, by what starts it.
    ///
    /// # Errors
    /// Whatever `work` fails with.
    pub fn in_time<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
        work()
    }

    /// Without a session bus there is no Secret Service to wait for.
    fn bus() -> bool {
        let socket = || std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
        std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() || socket()
    }

    /// What it printed. It exits with 1 for an entry that is not there as for all else, so that says nothing. A key is
    /// given to it on its stdin: everybody on this computer reads the arguments of a program.
    fn tool(does: &[&str], name: &str, key: &str) -> Result<Zeroizing<Vec<u8>>, Refused> {
        if !bus() {
            return Err(Refused::Because("there is no session bus".to_owned()));
        }
        let mut command = Command::new(TOOL);
        command.args(does).args(["service", SERVICE, "username", name]);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = started.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Refused::Because(MISSING.to_owned()),
            _ => Refused::Because(format!("{TOOL}: {error}")),
        })?;
        let done = (|| {
            if let Some(mut stdin) = child.stdin.take() {
                // It may end without reading it.
                let _ = stdin.write_all(key.as_bytes());
            }
            ended(&mut child)?;
            // Filled once, so that no copy of it stays behind.
            let mut printed = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES as usize));
            if let Some(stdout) = child.stdout.take() {
                stdout.take(MAX_SECRET_BYTES).read_to_end(&mut printed).map_err(|error| Refused::Because(format!("{TOOL}: {error}")))?;
            }
            Ok(printed)
        })();
        if done.is_err() {
            // Its window goes with it: a click after this would leave a key both there and in a file.
            let _ = child.kill().and_then(|()| child.wait());
        }
        done
    }

    /// Waits for its end. What it prints fits into the pipe.
    fn ended(child: &mut Child) -> Result<(), Refused> {
        let mut waited = Duration::ZERO;
        while waited < ANSWER_TIMEOUT {
            match child.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => thread::sleep(POLL_INTERVAL),
                Err(error) => return Err(Refused::Because(format!("{TOOL}: {error}"))),
            }
            waited = waited.saturating_add(POLL_INTERVAL);
        }
        Err(Refused::Silent)
    }
}

#[cfg(target_os = "macos")]
mod system {
    use super::{ANSWER_TIMEOUT, Refused, SERVICE};
    use crate::api::values::Revealed;
    use apple_native_keyring_store::keychain::Store;
    use keyring_core::{Entry, Error};
    use std::{
        sync::{OnceLock, mpsc},
        thread,
    };

    impl From<Error> for Refused {
        fn from(error: Error) -> Self {
            Self::Because(error.to_string())
        }
    }

    /// Puts a key where an earlier one of this name may lie.
    ///
    /// # Errors
    /// [`Refused::Because`], in the keychain's own words.
    pub fn write(name: &str, key: &Revealed) -> Result<(), Refused> {
        Ok(entry(name)?.set_password(key.expose())?)
    }

    /// What is kept under a name.
    ///
    /// # Errors
    /// [`Refused::Because`], in the keychain's own words.
    pub fn read(name: &str) -> Result<Revealed, Refused> {
        Ok(entry(name)?.get_password().map(|key| Revealed::new(&key))?)
    }

    /// Removes what is kept under a name.
    ///
    /// # Errors
    /// [`Refused::Because`], in the keychain's own words.
    pub fn remove(name: &str) -> Result<(), Refused> {
        Ok(entry(name)?.delete_credential()?)
    }

    fn entry(name: &str) -> Result<Entry, Refused> {
        static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
        let opened =
            OPENED.get_or_init(|| Store::new().map(|store| keyring_core::set_default_store(store)).map_err(|error| error.to_string()));
        opened.clone().map_err(Refused::Because)?;
        Ok(Entry::new(SERVICE, name)?)
    }

    /// On a thread of its own, that is left behind when it does not answer.
    ///
    /// # Errors
    /// [`Refused::Silent`] once [`ANSWER_TIMEOUT`] is over; else whatever `work` fails with.
    pub fn in_time<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refused> + Send + 'static) -> Result<T, Refused> {
        let (tell, told) = mpsc::sync_channel(1);
        let asking = thread::Builder::new().name("keychain".to_owned()).spawn(move || tell.send(work()));
        asking.map_err(|error| Refused::Because(error.to_string()))?;
        told.recv_timeout(ANSWER_TIMEOUT).unwrap_or(Err(Refused::Silent))
    }
}
