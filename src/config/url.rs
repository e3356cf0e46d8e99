//! Addresses in the configuration: reading them, their origin, whether they are this computer's.

use crate::config::error::{ConfigError, wrong};
use url::{Host, Url};

/// Reads the address in the setting `name`.
///
/// # Errors
/// When it is none.
pub fn parse_url(name: &str, text: &str) -> Result<Url, ConfigError> {
    Url::parse(text).map_err(|error| wrong(format!("`{name}` = {text} is no URL: {error}")))
}

/// An origin and nothing more: a path, query or user would break the issuer (RFC 8414 §2).
///
/// # Errors
/// When it is no address of http or https, or has more than scheme, host and port.
pub fn origin(name: &str, text: &str) -> Result<String, ConfigError> {
    let url = parse_url(name, text)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong(format!("`{name}` = {text} must start with https:// (or http:// on this computer)")));
    }
    let bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !bare {
        return Err(wrong(format!("`{name}` = {text} must be scheme, host and port only: published URLs are built on it")));
    }
    Ok(url.origin().ascii_serialization())
}

/// The same, of an address as text.
pub fn is_loopback_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| is_loopback(&url))
}

/// Whether the host is this computer, by name or address.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
