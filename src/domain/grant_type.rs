//! Grant types of the token endpoint (RFC 6749 section 1.3).

/// An agent's poll with its claim token: what `device_code` is in RFC 8628 §3.4. An absolute URI, as RFC 6749 §4.5 asks of
/// grant types of one's own.
pub const CLAIM_GRANT: &str = "urn:workos:agent-auth:grant-type:claim";
