//! How many connections there may be, of everybody and of one.

use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// What connections may take.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Open at once. Past it the one that has been quiet since long makes place; if all are busy, new ones wait.
    pub connections: usize,
    /// Of one address on the internet, or one IPv6 /64. Past it new ones are closed.
    pub connections_of_one: usize,
    /// Who may have all of them: everybody behind a proxy is one neighbour.
    pub neighbours: Vec<IpNet>,
    /// From the connection to the first whole request head. Cut without an answer: nobody asked anything yet.
    pub head: Duration,
    /// For the whole of a request's body, which is 64 KiB at most; then 408.
    pub body: Duration,
    /// Without a request under way and without a byte taken by the client. Above the 60 s for which proxies
    /// commonly keep their connections, so that it is they who close.
    pub idle: Duration,
    /// With an answer of which the client takes no byte.
    pub unread: Duration,
    /// Bytes of all answers together that wait for their clients. Past it the connections that hold most are ended.
    pub untaken: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_of_one: 1_000,
            neighbours: Vec::new(),
            head: Duration::from_secs(10),
            body: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            unread: Duration::from_secs(30),
            untaken: 64 << 20,
        }
    }
}

impl ConnectionLimits {
    /// For this computer, private networks and these besides, which hold proxies and services, there is one limit: all.
    pub fn with_neighbours(trusted: &[IpNet]) -> Self {
        const NEAR: [&str; 9] = [
            "127.0.0.0/8",
            "::1/128",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ];
        let near = NEAR.iter().filter_map(|net| net.parse().ok());
        Self { neighbours: near.chain(trusted.iter().copied()).collect(), ..Self::default() }
    }

    /// What is counted as one, of those who are.
    pub fn counted(&self, ip: IpAddr) -> Option<IpAddr> {
        let ip = ip.to_canonical();
        let one = match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        };
        (!self.neighbours.iter().any(|net| net.contains(&ip))).then_some(one)
    }
}
