//! Where requests come from, as far as the proxies in front of us say; and what they did not say, for the log and
//! [`doctor`](crate::cli), because everybody nobody named shares one allowance.

use crate::{
    config::{settings::Config, url::is_loopback_url},
    domain::source::{Hop, Source},
};
use ipnet::IpNet;
use std::{
    net::IpAddr,
    sync::atomic::{AtomicU8, Ordering},
};

/// Why a caller behind a proxy has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Unknown {
    /// Somebody whom `trusted_proxies` does not name spoke for others.
    Unnamed = 1,
    /// A proxy of ours named no address.
    Unreadable = 2,
    /// Nothing was said.
    Unsaid = 4,
}

impl Unknown {
    const ALL: [Self; 3] = [Self::Unnamed, Self::Unreadable, Self::Unsaid];

    /// What is wrong, and what mends it.
    const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Unnamed => (
                "a proxy that `trusted_proxies` does not name passes requests on",
                "add the address it calls from to `trusted_proxies`, such as [\"127.0.0.1/32\"]",
            ),
            Self::Unreadable => (
                "a trusted proxy sends no readable address in X-Forwarded-For",
                "let it put the client's address there, and name all proxies of yours in `trusted_proxies`",
            ),
            Self::Unsaid => (
                "requests come through a proxy that does not say whose they are",
                "let it send X-Forwarded-For, and name it in `trusted_proxies`",
            ),
        }
    }
}

/// What is known of those who call.
#[derive(Debug)]
pub struct Callers {
    /// Whose word on where a request comes from counts.
    trusted_proxies: Vec<IpNet>,
    /// Whoever asks over this computer's own addresses is on it: no other computer is led here.
    local: bool,
    /// Nobody asks us directly: we speak no TLS, and our address is an https one.
    proxied: bool,
    /// Bits of [`Unknown`] that happened.
    seen: AtomicU8,
}

impl Callers {
    /// Reads from the configuration whether anybody can reach the server directly.
    pub fn new(config: &Config) -> Self {
        let urls = [&config.public_url, &config.pages_url];
        let is_https = |url: &&String| url.starts_with("https://");
        Self {
            trusted_proxies: config.trusted_proxies.clone(),
            local: urls.iter().all(|url| !is_https(url) && is_loopback_url(url)),
            proxied: urls.iter().any(is_https),
            seen: AtomicU8::new(0),
        }
    }

    /// Remembers it, and says so once.
    pub fn noted(&self, unknown: Unknown, neighbour: IpAddr) {
        let bit = unknown as u8;
        // Looked at first: a line in memory that all cores write to is slow.
        if self.seen.load(Ordering::Relaxed) & bit == 0 && self.seen.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let (what, todo) = unknown.describe();
            tracing::warn!("{what} ({neighbour}): all callers behind it count as one, and nobody sees where they are; {todo}");
        }
    }

    /// What went wrong since the start, each with what mends it.
    pub fn unknown(&self) -> Vec<(String, String)> {
        let seen = self.seen.load(Ordering::Relaxed);
        let happened = Unknown::ALL.into_iter().filter(|unknown| seen & *unknown as u8 != 0);
        happened.map(|unknown| unknown.describe()).map(|(what, todo)| (what.to_owned(), todo.to_owned())).collect()
    }
}

impl Callers {
    /// Whether `trusted_proxies` names the address, so that what it says of its own callers counts.
    pub fn is_trusted_proxy(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&ip.to_canonical()))
    }

    /// Reads the source of a request behind the configured proxies: the nearest address no proxy of ours has. Who can't be
    /// told is [`Source::Hidden`]: never the proxy, and never this computer.
    pub fn source_of(&self, peer: IpAddr, forwarded_for: &[Hop]) -> Source {
        let here = peer.to_canonical().is_loopback();
        let hidden = |unknown| {
            self.noted(unknown, peer);
            Source::Hidden
        };
        if !self.is_trusted_proxy(peer) {
            // A proxy of this computer, or in front of an https address. Elsewhere a stranger may write what he likes:
            // it says nothing, and he is who he is.
            if !forwarded_for.is_empty() && (here || self.proxied) {
                return hidden(Unknown::Unnamed);
            }
            return if here && !self.local { Source::Hidden } else { Source::address(peer) };
        }
        let mut named = None;
        for hop in forwarded_for.iter().rev() {
            let Hop::Address(ip) = *hop else { return hidden(Unknown::Unreadable) };
            named = Some(ip);
            if !self.is_trusted_proxy(ip) {
                break;
            }
        }
        match named {
            // This computer is what its own proxies call so, where nobody else is led to them.
            Some(ip) if ip.is_loopback() && !(here && self.local) => hidden(Unknown::Unreadable),
            Some(ip) => Source::address(ip),
            None if here && self.local => Source::address(peer),
            None => Source::Hidden,
        }
    }
}
