//! The name under which a client's keys are kept.

use crate::local_keys::keys::DEFAULT_PROFILE;

/// A client's name as a file name. Names that differ have names of files that differ.
pub fn slug(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let slug: String = kept.take(40).collect();
    match slug.as_str() {
        "" => DEFAULT_PROFILE.to_owned(),
        same if same == name => slug,
        _ => format!("{slug}-{}", &blake3::hash(name.as_bytes()).to_hex()[..8]),
    }
}
