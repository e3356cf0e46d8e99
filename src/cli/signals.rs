//! SIGTERM and SIGINT.

use std::io::{self};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, taken from now on.
pub struct Asked {
    term: Signal,
    int: Signal,
}

impl Asked {
    pub fn listen() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one; returns the exit code of a program that it ended.
    pub async fn signal(&mut self) -> u8 {
        tokio::select! {
            _ = self.term.recv() => 128 + 15,
            _ = self.int.recv() => 128 + 2,
        }
    }
}
