//! Where a request came from.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The network address behind a request, or this computer's own stdio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A program on this machine, over stdio or the data directory's socket.
    Local,
    /// Behind a proxy that `trusted_proxies` does not name: it could be anybody, anywhere.
    Hidden,
    Address(IpAddr),
}

impl Source {
    /// IPv4-mapped IPv6 addresses count as the IPv4 address they carry.
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(ip.to_canonical())
    }

    /// What limits count: one IPv4 address, or one IPv6 /64 (a household or a machine owns all of it).
    pub fn bucket(&self) -> String {
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
    /// a provider gives to one customer and what holds 65,536 of the /64s that [`Self::bucket`] tells apart.
    pub fn network(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(ip)) if !ip.is_loopback() => {
                let s = ip.segments();
                format!("{}/48", Ipv6Addr::new(s[0], s[1], s[2], 0, 0, 0, 0, 0))
            }
            _ => self.bucket(),
        }
    }

    pub fn is_this_computer(&self) -> bool {
        match self {
            Self::Local => true,
            Self::Hidden => false,
            Self::Address(ip) => ip.is_loopback(),
        }
    }

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
