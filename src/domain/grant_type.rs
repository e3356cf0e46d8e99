//! Grant types of the token endpoint (RFC 6749 section 1.3).

pub const CLAIM_GRANT: &str = "urn:workos:agent-auth:grant-type:claim";
