//! How the system maps this program's memory, and who may see it.
//!
//! Keys, passwords and tokens pass through it, so it is written into no core dump, and no other program of the same user
//! may read it or attach to it; root may. A debugger starts the program, or attaches as root. A program started by this
//! one decides for itself: the kernel resets the one, and [`with_usual_core_limit`] is for the other.
//!
//! The allocator asks for huge pages. They spare look-ups among many keys or claims misses of the translation
//! cache, and make a program that holds few take several times the memory: so they are off until there are many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

static CORE_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// At the start, before there is a secret: no core dumps, and no reading by others. What the system does not let us set
/// stays as it is.
pub fn private() {
    let usual = CORE_LIMIT.get_or_init(|| getrlimit(Resource::Core));
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: usual.maximum }) {
        tracing::debug!(%error, "the limit of core dumps stays as it is");
    }
    // A limit of 0 stops no dump that is piped into a program; this does.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "the memory stays readable by this user's programs");
    }
}

/// Starts a program that is to have the limit of core dumps this one was started with, as it inherits what is set then.
pub fn with_usual_core_limit<T>(start: impl FnOnce() -> T) -> T {
    let limit = |limit| setrlimit(Resource::Core, limit);
    let Some(&usual) = CORE_LIMIT.get() else { return start() };
    let ours = getrlimit(Resource::Core);
    // A dump of this process is still kept back by the other setting.
    let given = limit(usual);
    let started = start();
    if given.is_ok()
        && let Err(error) = limit(ours)
    {
        tracing::debug!(%error, "the limit of core dumps stays as it is");
    }
    started
}

/// At the start, before threads: pages of the usual size.
pub fn small_pages() {
    set(true);
}

/// Memory touched from now on is mapped in huge pages where the system has some.
pub fn huge_pages() {
    set(false);
}

#[cfg(target_os = "linux")]
fn set(disabled: bool) {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(disabled) {
        tracing::debug!(%error, "the size of pages stays as it is");
    }
}

#[cfg(not(target_os = "linux"))]
fn set(_: bool) {}
