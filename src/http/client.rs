//! Who is on the other end of the connection.

use crate::{domain::source::Source, http::App};
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
    app.source_of(peer_of(parts), &forwarded_for(&parts.headers))
}

/// All hops, in order, of all `X-Forwarded-For` headers; an unreadable one ends the list, so nothing before it counts.
fn forwarded_for(headers: &HeaderMap) -> Vec<IpAddr> {
    static NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    let mut hops = Vec::new();
    for value in headers.get_all(&NAME) {
        for hop in value.to_str().unwrap_or("").split(',') {
            match hop.trim().parse() {
                Ok(ip) => hops.push(ip),
                Err(_) => hops.clear(),
            }
        }
    }
    hops
}
