//! Answers that wait for their clients: together they have a bound, whoever holds them.
//!
//! An answer is made before there is room for it on the wire: over HTTP/2 a client opens no window and asks for more, over
//! HTTP/1.1 it does not read. Each answer is counted for as long as any of its bytes is in memory. What all clients share
//! ([`Shared`]) is there anyway. A small answer over HTTP/1.1 is not counted: the system takes it at once, and a connection
//! has one at a time.

use crate::{
    http::shared_body::{CHUNK_BYTES, Shared},
    server::pulse::{Pulse, UnderWay},
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Response, StatusCode, Version, header},
};
use hyper::body::{Body as _, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

/// What a stream of HTTP/2 takes besides.
const BYTES_PER_STREAM: usize = 4 * 1024;

/// What the buffers of an HTTP/1.1 connection take that writes: as much as hyper gathers, and a piece.
const BYTES_PER_CONNECTION: usize = 16 * 1024 + CHUNK_BYTES;

/// The answer on its way out, counted. Where there is no room a large one is dropped, if it is to a question only: it may be
/// asked again, and what a change answers may be there this once.
pub fn counted(under_way: UnderWay, version: Version, question: bool, answer: Response<Body>) -> Response<Taking> {
    let size = answer.body().size_hint();
    let whole = size.exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    let (counted, answer) = match whole {
        Some(whole) if version < Version::HTTP_2 && whole <= CHUNK_BYTES => (Counted::Not, answer),
        Some(whole) => {
            let shared = answer.extensions().get::<Shared>().map_or(0, |shared| shared.0);
            let own = whole.saturating_sub(shared);
            let besides = if version < Version::HTTP_2 { BYTES_PER_CONNECTION } else { BYTES_PER_STREAM };
            let bytes = own.saturating_add(besides);
            if under_way.0.all.is_full(bytes) && question && own > CHUNK_BYTES {
                (Counted::Not, busy())
            } else {
                (Counted::Whole(Held::new(under_way.0.clone(), bytes)), answer)
            }
        }
        // A stream: what it says, as it says it. Between two words it holds nothing.
        None => (Counted::Frames(under_way.0.clone()), answer),
    };
    answer.map(|body| Taking { body, counted, rest: Bytes::new() })
}

fn busy() -> Response<Body> {
    let mut busy = Response::new(Body::empty());
    *busy.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    busy
}

/// So many bytes of a connection, counted until this is dropped.
struct Held {
    of: Arc<Pulse>,
    bytes: usize,
}

impl Held {
    fn new(of: Arc<Pulse>, bytes: usize) -> Arc<Self> {
        of.all.held.fetch_add(bytes, Ordering::Relaxed);
        of.held.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Self { of, bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.all.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that know they are counted: the last piece of them ends it.
struct Owned {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

enum Counted {
    Not,
    Whole(Arc<Held>),
    Frames(Arc<Pulse>),
}

impl Counted {
    fn noted(&self, bytes: Bytes) -> Bytes {
        let held = match self {
            Self::Not => return bytes,
            Self::Whole(held) => held.clone(),
            Self::Frames(of) => {
                of.all.is_full(bytes.len());
                Held::new(of.clone(), bytes.len())
            }
        };
        Bytes::from_owner(Owned { bytes, _held: held })
    }
}

/// An answer's body, in pieces.
pub struct Taking {
    body: Body,
    counted: Counted,
    rest: Bytes,
}

impl hyper::body::Body for Taking {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(bytes) => self.rest = self.counted.noted(bytes),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        // What comes bit by bit is in pieces already, and its readers like events whole.
        let length = if matches!(self.counted, Counted::Frames(_)) { self.rest.len() } else { self.rest.len().min(CHUNK_BYTES) };
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut size = self.body.size_hint();
        let rest = self.rest.len() as u64;
        match size.exact() {
            Some(exact) => SizeHint::with_exact(exact + rest),
            None => {
                size.set_lower(size.lower() + rest);
                size
            }
        }
    }
}
