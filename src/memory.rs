//! How the system maps this program's memory.
//!
//! The allocator asks for huge pages. They spare look-ups among many keys or claims misses of the translation
//! cache, and make a program that holds few take several times the memory: so they are off until there are many.

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
