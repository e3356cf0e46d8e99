//! How the system maps this program's memory.
//!
//! The allocator asks for huge pages. With them a look-up among a million keys takes a sixth less time, and a program that
//! holds ten keys takes four times the memory: so they are off until there are many.

/// At the start, before threads: pages of the usual size.
pub fn few_keys() {
    set(true);
}

/// Memory touched from now on is mapped in huge pages where the system has some.
pub fn many_keys() {
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
