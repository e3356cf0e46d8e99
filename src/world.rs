//! Time and randomness: the only file that may ask the machine for either.
//!
//! Everything else takes them as arguments, so that a test moves a clock instead of sleeping
//! and draws the same bytes twice. `.clippy.toml` forbids the shortcuts.

use jiff::Timestamp;
use std::sync::Arc;

/// Tells the time, in UTC.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Fills a buffer with bytes nobody can guess.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// The clock and the randomness one process runs with.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl World {
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    /// The operating system's clock and its random number generator.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// Now, in whole milliseconds: finer steps would only make stored times longer.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws global randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}
