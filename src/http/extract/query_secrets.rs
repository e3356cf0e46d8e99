//! Credentials have no place in an address (RFC 9700 section 4.3.2).

use crate::api::error::Error;
use axum::http::uri::Uri;

/// Secrets have no place in an address: it ends in logs, histories and referrers.
const SECRET_PARAMETERS: [&str; 9] =
    ["access_token", "api_key", "apikey", "key", "token", "claim_token", "code_verifier", "pickup_token", "password"];

/// A secret was found in an address.
pub fn no_place(name: String) -> Error {
    Error::invalid(name, "does not belong in the address: send it in a header or the body")
}

/// The first parameter of an address that would carry a secret.
pub fn secret_in_query(address: &Uri) -> Option<String> {
    secret_in(address.query().unwrap_or(""))
}

/// The same of a query.
pub fn secret_in(query: &str) -> Option<String> {
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name.to_ascii_lowercase());
    names.find(|name| SECRET_PARAMETERS.contains(&name.as_str()))
}
