//! A server that really listens, and bytes on its wire.

use super::{Answer, Builder, TestApp};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use countersign::{
    platform::runtime::Runtime,
    server::{connection_limits::ConnectionLimits, listen},
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

impl Builder {
    /// Starts the application on a port of its own.
    pub async fn listen(self) -> (TestApp, SocketAddr) {
        self.listen_within(ConnectionLimits::default()).await
    }

    /// The same for connections that may take less.
    pub async fn listen_within(self, limits: ConnectionLimits) -> (TestApp, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = self.set("listen", &address.to_string()).start().await;
        app.serve(listener, limits);
        (app, address)
    }

    /// The same by the machine's own clock, for programs that really wait.
    pub async fn listen_in_real_time(self) -> (TestApp, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A store tells one service of its changes: this one needs a store of its own.
        let app = self.set("listen", &address.to_string()).start().await.restart_in(Runtime::system()).await;
        app.serve(listener, ConnectionLimits::default());
        (app, address)
    }
}

impl TestApp {
    fn serve(&self, listener: TcpListener, limits: ConnectionLimits) {
        let front = countersign::server::entry::Front::new(self.service.clone());
        tokio::spawn(listen::serve(listener, front, limits, CancellationToken::new()));
    }
}

/// One HTTP/1.1 exchange. `Host` is the address unless `headers` say otherwise.
pub async fn exchange(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    parsed(&bytes).ok_or_else(|| std::io::Error::other("no whole HTTP answer"))
}

fn parsed(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value.trim()).ok()?);
    }
    let rest = &bytes[end + 4..];
    let chunked = headers.get("transfer-encoding").is_some_and(|value| value == "chunked");
    let bytes = if chunked { unchunked(rest)? } else { rest.to_vec() };
    Some(Answer { status, headers, bytes })
}

fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 2 + length + 2..)?;
    }
}
