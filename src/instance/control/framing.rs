//! One request and one response, a line of JSON each.

use crate::instance::control::request::ControlRequest;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use zeroize::Zeroizing;

/// A call with the random bits that make it one operation, however often it is sent.
#[derive(Serialize)]
pub struct Sent<'a> {
    pub(crate) operation: &'a str,
    #[serde(flatten)]
    pub(crate) call: &'a ControlRequest,
}

/// A call as it came over the socket. Older clients name no operation.
#[derive(Deserialize)]
pub struct Received {
    pub(crate) operation: Option<String>,
    #[serde(flatten)]
    pub(crate) call: ControlRequest,
}

/// Ends when the client goes away; never, once it has sent more.
pub async fn hung_up(read: &mut (impl AsyncBufRead + Unpin)) {
    if read.fill_buf().await.is_ok_and(|more| !more.is_empty()) {
        std::future::pending::<()>().await;
    }
}

/// The next line without its end; `None` when the other side is done.
pub async fn line(read: &mut (impl AsyncBufRead + Unpin), max: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    let read = read.take(max as u64 + 1).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() {
        let too_long = line.len() > max;
        return Err(io::Error::new(
            if too_long { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof },
            if too_long { "the line is too long" } else { "the line was cut off" },
        ));
    }
    Ok(Some(line))
}

/// A value as one line of JSON, with its end.
///
/// # Errors
/// When it can't be written as JSON.
pub fn encoded(value: &impl serde::Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    serde_json::to_writer(&mut *line, value)?;
    line.push(b'\n');
    Ok(line)
}
