//! Who is on the other end of the connection.

use crate::{
    domain::source::{Hop, Source},
    http::extract::host::names_published,
    service::{caller_addresses::Unknown, services::App},
};
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, request::Parts},
};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Where a request came from. `X-Forwarded-For` counts only behind a configured proxy.
pub struct ClientSource(pub Source);

impl aide::OperationInput for ClientSource {}

impl FromRequestParts<App> for ClientSource {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(source_of(parts, app)))
    }
}

/// The neighbour on the connection, a proxy or the caller. Without an address (which only a wrongly built router lacks)
/// the request is nobody's: an unspecified address shares one allowance.
pub fn peer_of(parts: &Parts) -> IpAddr {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |c| c.0.ip())
}

pub fn source_of(parts: &Parts, app: &App) -> Source {
    let (peer, hops) = (peer_of(parts), forwarded_for(&parts.headers));
    let source = app.callers.source_of(peer, &hops);
    // Asked by the name the world knows us by, over a proxy, and no word of who asked. (Programs beside us use another
    // name, and are nobody's to name.)
    if source == Source::Hidden && hops.is_empty() && names_published(app, &parts.headers, &parts.uri) {
        app.callers.noted(Unknown::Unsaid, peer);
    }
    source
}

/// All hops, in order, of all `X-Forwarded-For` headers. Where a proxy speaks in other words only, it is one that tells
/// us nothing.
fn forwarded_for(headers: &HeaderMap) -> Vec<Hop> {
    static NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    let mut hops = Vec::new();
    for value in headers.get_all(&NAME) {
        // By the byte: what a client put before it need not be text.
        let named = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty());
        hops.extend(named.map(|hop| std::str::from_utf8(hop).ok().and_then(|hop| hop.parse().ok()).unwrap_or(Hop::Unreadable)));
    }
    if hops.is_empty() && headers.keys().any(|name| is_a_proxys(name.as_str())) {
        hops.push(Hop::Unreadable);
    }
    hops
}

/// Whether only a proxy, a load balancer or a content network writes such a header.
fn is_a_proxys(name: &str) -> bool {
    const OTHERS: [&str; 16] = [
        "cdn-loop",
        "cf-connecting-ip",
        "cf-ray",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-amzn-trace-id",
        "x-appengine-user-ip",
        "x-azure-clientip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-original-forwarded-for",
        "x-real-ip",
    ];
    name.starts_with("x-forwarded") || OTHERS.contains(&name)
}
