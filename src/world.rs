//! Time and randomness: the only file that may ask the machine for either.
//!
//! Everything else takes them as arguments, so that a test moves a clock instead of sleeping
//! and draws the same bytes twice. `.clippy.toml` forbids the shortcuts.

use jiff::Timestamp;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Tells the time, in UTC.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;

    /// Time that has passed since some fixed moment. Never goes back, whatever is done to the computer's clock.
    fn elapsed(&self) -> Duration;
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
    /// What to add to the clock's elapsed time to get Unix time.
    start: Duration,
}

impl World {
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let unix = Duration::try_from(clock.now().as_duration()).unwrap_or_default();
        let start = unix.saturating_sub(clock.elapsed()).min(LATEST_START);
        Self { clock, entropy, start }
    }

    /// The operating system's clock and its random number generator.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock::new()), Arc::new(SystemEntropy))
    }

    /// Now, in whole milliseconds: finer steps would only make stored times longer.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// Unix time in nanoseconds as it was when the process began, and steady from then on: for measuring rates,
    /// which a clock that is set back or forth must neither block nor free.
    pub fn steady(&self) -> u64 {
        u64::try_from(self.start.saturating_add(self.clock.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// 2261: nanoseconds since 1970 end in 2554, and rates are measured in them. A clock beyond it is wrong, and must not make
/// sums of them fail.
const LATEST_START: Duration = Duration::from_secs(291 * 31_557_600);

struct SystemClock(Instant);

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        // `Timestamp::now` panics at a clock beyond its calendar.
        let now = SystemTime::now();
        Timestamp::try_from(now).unwrap_or(if now < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX })
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws global randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}
