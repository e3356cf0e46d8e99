//! The host a request names (RFC 9110 section 7.2), and whether it is ours.

use crate::service::services::App;
use axum::http::{
    HeaderMap, HeaderValue, header,
    uri::{Authority, Uri},
};

/// The host a request names.
pub enum Named<'a> {
    One(&'a str),
    /// HTTP/1.0 needs none.
    Nothing,
    /// Two that differ, or one that can't be read: whoever stands between us and the caller may have read another.
    Unclear,
}

/// Read from `Host` or the HTTP/2 authority.
pub fn named_host<'a>(headers: &'a HeaderMap, address: &'a Uri) -> Named<'a> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str);
    if hosts.next().is_some() {
        return Named::Unclear;
    }
    match (host, address.authority().map(Authority::as_str)) {
        (Some(Ok(host)), None) => Named::One(host),
        (None, Some(authority)) => Named::One(authority),
        (Some(Ok(host)), Some(authority)) if is_host(host, authority, usual_ports(address.scheme_str())) => Named::One(host),
        (None, None) => Named::Nothing,
        _ => Named::Unclear,
    }
}

/// The ports a name means that states none.
fn usual_ports(scheme: Option<&str>) -> &'static [&'static str] {
    match scheme {
        Some("https") => &["443"],
        Some("http") => &["80"],
        _ => &["80", "443"],
    }
}

/// Whether two names are one: in any case, with or without the root's dot (RFC 9110 section 4.2.3) and a usual port.
fn is_host(one: &str, other: &str, usual: &[&str]) -> bool {
    fn parts<'a>(host: &'a str, usual: &[&str]) -> (&'a str, Option<&'a str>) {
        // The colons of an IPv6 address stand in brackets.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port).filter(|port| !port.is_empty() && !usual.contains(port))),
            _ => (host, None),
        };
        (name.strip_suffix('.').unwrap_or(name), port)
    }
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    let ((name, port), (other, other_port)) = (parts(one, usual), parts(other, usual));
    name.eq_ignore_ascii_case(other) && port == other_port
}

/// Whether a host is one this deployment publishes.
pub fn is_published(app: &App, host: &str) -> bool {
    let published = [&app.context.config.public_url, &app.context.config.pages_url];
    published.into_iter().filter_map(|origin| origin.split_once("://")).any(|(scheme, ours)| is_host(host, ours, usual_ports(Some(scheme))))
}

/// Whether programs may call it that, beside the published names.
pub fn is_further(app: &App, host: &str) -> bool {
    app.context.config.hosts.iter().any(|ours| is_host(host, ours, usual_ports(None)))
}

pub fn names_published(app: &App, headers: &HeaderMap, address: &Uri) -> bool {
    matches!(named_host(headers, address), Named::One(host) if is_published(app, host))
}

/// Whether a request names one host, and it is ours.
pub fn names_us(app: &App, headers: &HeaderMap, address: &Uri) -> bool {
    matches!(named_host(headers, address), Named::One(host) if is_published(app, host) || is_further(app, host))
}
