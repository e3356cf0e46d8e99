//! Where a request came from.

use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// The network address behind a request, or this computer's own stdio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A program on this machine, over stdio or the data directory's socket.
    Local,
    /// Behind a proxy that `trusted_proxies` does not name, or that does not say who asks: it could be anybody, anywhere.
    Hidden,
    Address(IpAddr),
}

impl Source {
    /// IPv4-mapped IPv6 addresses count as the IPv4 address they carry.
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(ip.to_canonical())
    }

    /// What limits count: one IPv4 address, or one IPv6 /64 (a household or a machine owns all of it).
    pub fn rate_limit_key(&self) -> String {
        match self {
            Self::Local => "local".to_owned(),
            Self::Hidden => "hidden".to_owned(),
            // All of 127.0.0.0/8 and ::1 is one computer.
            Self::Address(ip) if ip.is_loopback() => "loopback".to_owned(),
            Self::Address(IpAddr::V4(ip)) => ip.to_string(),
            Self::Address(IpAddr::V6(ip)) => {
                let s = ip.segments();
                format!("{}/64", Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
            }
        }
    }

    /// The network whose addresses count together where one is not enough: an IPv4 address, or an IPv6 /48, which is what
    /// a provider gives to one customer and what holds 65,536 of the /64s that [`Self::rate_limit_key`] tells apart.
    pub fn network(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(ip)) if !ip.is_loopback() => {
                let s = ip.segments();
                format!("{}/48", Ipv6Addr::new(s[0], s[1], s[2], 0, 0, 0, 0, 0))
            }
            _ => self.rate_limit_key(),
        }
    }

    /// Whether the request was made on the computer the server runs on. Behind a hidden proxy nobody knows, so no.
    pub fn is_this_computer(&self) -> bool {
        match self {
            Self::Local => true,
            Self::Hidden => false,
            Self::Address(ip) => ip.is_loopback(),
        }
    }

    /// The address, for logs and for lists of allowed networks.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Local | Self::Hidden => None,
            Self::Address(ip) => Some(*ip),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) if !ip.is_loopback() => ip.fmt(f),
            Self::Hidden => f.write_str("somewhere behind a proxy"),
            Self::Local | Self::Address(_) => f.write_str("this computer"),
        }
    }
}

/// One hop of a forwarding header: who was before the proxy that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    Address(IpAddr),
    /// `unknown`, an obfuscated name (RFC 7239 section 6), or whatever else tells nobody's address.
    Unreadable,
}

/// As proxies write it: bare, with a port, in brackets, with a zone, in quotes.
impl FromStr for Hop {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let text = text.trim();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        // Nobody calls from the unspecified address.
        let named = host_of(text).and_then(address_of).filter(|ip| !ip.is_unspecified());
        Ok(named.map_or(Self::Unreadable, |ip| Self::Address(ip.to_canonical())))
    }
}

/// What stands before the port.
fn host_of(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        return (behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port)).then_some(host);
    }
    if address_of(text).is_some() {
        return Some(text);
    }
    text.rsplit_once(':').filter(|(_, port)| is_port(port)).map(|(host, _)| host)
}

/// A number, or the name some proxies give theirs (RFC 7239 section 6.2).
fn is_port(text: &str) -> bool {
    let obfuscated = text.strip_prefix('_').is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()));
    obfuscated || (text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// A zone says on which wire of the proxy's computer the address is: nothing to us.
fn address_of(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(text: &str) -> Option<String> {
        match text.parse() {
            Ok(Hop::Address(ip)) => Some(ip.to_string()),
            Ok(Hop::Unreadable) | Err(_) => None,
        }
    }

    #[test]
    fn f39_an_address_is_read_however_a_proxy_writes_it() {
        for (text, address) in [
            ("203.0.113.3", "203.0.113.3"),
            (" 203.0.113.3\t", "203.0.113.3"),
            ("203.0.113.3:51000", "203.0.113.3"),
            ("203.0.113.3:0", "203.0.113.3"),
            ("203.0.113.3:_p1", "203.0.113.3"),
            ("\"203.0.113.3:51000\"", "203.0.113.3"),
            ("[203.0.113.3]:51000", "203.0.113.3"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("2001:db8::1:51000", "2001:db8::1"),
            ("2001:db8:0:0:0:0:0:1:443", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:443", "fe80::1"),
            ("::ffff:203.0.113.3", "203.0.113.3"),
            ("[::ffff:203.0.113.3]:443", "203.0.113.3"),
            ("127.0.0.1:80", "127.0.0.1"),
        ] {
            assert_eq!(hop(text).as_deref(), Some(address), "{text:?}");
        }
    }

    #[test]
    fn a93_what_is_no_address_is_none() {
        for text in [
            "",
            " ",
            "\"\"",
            "\"",
            "unknown",
            "_hidden",
            "_SEVKISEK",
            "-",
            "null",
            "localhost",
            "localhost:80",
            "example.com:443",
            "?",
            "203.0.113",
            "203.0.113.256",
            "203.0.113.3:",
            "203.0.113.3:x",
            "203.0.113.3:65536",
            "203.0.113.3:-1",
            "203.0.113.3:+1",
            "203.0.113.3:80:80",
            "203.0.113.3%eth0",
            "203.0.113.3/24",
            "203.0.113.3 203.0.113.4",
            "[203.0.113.3",
            "203.0.113.3]",
            "[]",
            "[]:80",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "[[2001:db8::1]]",
            "[unknown]:80",
            "fe80::1%",
            "0.0.0.0",
            "[::]:80",
            "0x7f.1",
            "127.1",
            "2130706433",
            "127.0.0.01",
        ] {
            assert_eq!(hop(text), None, "{text:?}");
        }
    }
}
