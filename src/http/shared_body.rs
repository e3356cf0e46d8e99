//! Bodies that are in memory once, however many clients read them.

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// Answers leave in pieces of this size, so that no more than one is copied or waits for a window.
pub const CHUNK_BYTES: usize = 8 * 1024;

/// On an answer: so many bytes of its body are in memory once, for everybody.
#[derive(Debug, Clone, Copy)]
pub struct Shared(pub usize);

/// A body of parts, of which some may be in memory once.
pub fn body_of(parts: impl IntoIterator<Item = Bytes>) -> Body {
    Body::new(Parts(parts.into_iter().filter(|part| !part.is_empty()).collect()))
}

struct Parts(VecDeque<Bytes>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
    }
}
