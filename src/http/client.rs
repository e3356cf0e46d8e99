//! Who is on the other end of the connection.

use crate::{domain::source::Source, http::App};
use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, request::Parts},
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

pub fn source_of(parts: &Parts, app: &App) -> Source {
    // Without a peer address (which only a wrongly built router lacks) the request is nobody's: an unspecified
    // address shares one allowance.
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |c| c.0.ip());
    app.source_of(peer, &forwarded_for(&parts.headers))
}

/// All hops, in order, of all `X-Forwarded-For` headers; an unreadable one ends the list, so nothing before it counts.
fn forwarded_for(headers: &HeaderMap) -> Vec<IpAddr> {
    let mut hops = Vec::new();
    for value in headers.get_all("x-forwarded-for") {
        for hop in value.to_str().unwrap_or("").split(',') {
            match hop.trim().parse() {
                Ok(ip) => hops.push(ip),
                Err(_) => hops.clear(),
            }
        }
    }
    hops
}
