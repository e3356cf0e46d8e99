//! Which characters a text is made of.

/// RFC 6750 §2.1 `b64token`: what goes into headers and files as it is, and means nothing to a shell.
pub fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

/// Whether all bytes are of a kind. Looks at every one, which is many at a time: faster than to stop at the first other.
pub fn only(text: &str, is: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |so_far, byte| so_far & is(byte))
}
