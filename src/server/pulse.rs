//! What is seen of a connection from outside, and how it is to end.

use crate::server::unread_total::Untaken;
use futures::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio::net::TcpStream;

/// How a connection is to end.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum End {
    /// The next answer is the last.
    Soon = 1,
    /// Finish what is under way and take no more.
    Politely = 2,
    Now = 3,
}

/// Bytes left since the last look.
const WROTE: u8 = 1;

/// There are bytes that the client does not take.
const STUCK: u8 = 2;

/// What is seen of a connection from outside.
pub struct Pulse {
    /// What all connections hold.
    pub all: Arc<Untaken>,
    pub under_way: AtomicU32,
    /// [`WROTE`] and [`STUCK`].
    wire: AtomicU8,
    /// How it is to end, an [`End`]; 0: not yet.
    pub ending: AtomicU8,
    /// Bytes of answers that wait for the client to take them, as far as [`super::unread_answers`] counts.
    pub held: AtomicUsize,
    pub task: AtomicWaker,
}

impl Pulse {
    /// Of a connection that has asked nothing yet.
    pub fn new(all: Arc<Untaken>) -> Arc<Self> {
        let (under_way, wire, ending, held) = (AtomicU32::new(0), AtomicU8::new(0), AtomicU8::new(0), AtomicUsize::new(0));
        Arc::new(Self { all, under_way, wire, ending, held, task: AtomicWaker::new() })
    }

    /// Whether bytes left since the last look.
    pub fn wrote(&self) -> bool {
        self.wire.fetch_and(!WROTE, Ordering::Relaxed) & WROTE != 0
    }

    /// Whether a request of it is being answered.
    pub fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Whether there is something for the client to take.
    pub fn has_untaken(&self) -> bool {
        self.wire.load(Ordering::Relaxed) & STUCK != 0 || self.held.load(Ordering::Relaxed) > 0
    }

    /// Asks it to end. The harshest word counts: it is never taken back.
    pub fn end(&self, how: End) {
        self.ending.fetch_max(how as u8, Ordering::Release);
        self.task.wake();
    }
}

/// A request under way.
pub struct UnderWay(pub Arc<Pulse>);

impl UnderWay {
    /// Counts one more request until this value is dropped.
    pub fn new(pulse: &Arc<Pulse>) -> Self {
        pulse.under_way.fetch_add(1, Ordering::Relaxed);
        Self(pulse.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's bytes. Only those that leave count as a sign of life: a client can send for ever.
pub struct Wire {
    pub stream: TokioIo<TcpStream>,
    pub pulse: Arc<Pulse>,
}

impl Wire {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(1..)) => self.pulse.wire.store(WROTE, Ordering::Relaxed),
            Poll::Pending => _ = self.pulse.wire.fetch_or(STUCK, Ordering::Relaxed),
            Poll::Ready(_) => {}
        }
        written
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.note(written)
    }
}
