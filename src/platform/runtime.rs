//! Time and randomness: the only file that may ask the machine for either.
//!
//! Everything else takes them as arguments, so that a test moves a clock instead of sleeping
//! and draws the same bytes twice. `.clippy.toml` forbids the shortcuts.

use jiff::{SignedDuration, Timestamp};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Tells the time, in UTC.
pub trait Clock: Send + Sync {
    /// The time as the computer's clock has it, which may jump either way.
    fn now(&self) -> Timestamp;

    /// Time that has passed since some fixed moment. Never goes back, whatever is done to the computer's clock.
    fn elapsed(&self) -> Duration;
}

/// Fills a buffer with bytes nobody can guess.
pub trait Entropy: Send + Sync {
    /// Fills all of the buffer, or does not return.
    fn fill(&self, bytes: &mut [u8]);
}

/// The clock and the randomness one process runs with.
#[derive(Clone)]
pub struct Runtime {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// What to add to the clock's elapsed time to get Unix time.
    start: Duration,
    seen: Arc<Seen>,
}

/// The latest time there was. Time does not go back: what has ended would work again.
struct Seen {
    /// In Unix milliseconds.
    latest: AtomicI64,
    /// How far the clock was ahead of its elapsed time at most, in microseconds: where time goes on from while the clock is
    /// behind.
    ahead: AtomicI64,
}

impl Seen {
    fn at(&self, at: Timestamp, elapsed: i64) {
        self.ahead.fetch_max(at.as_microsecond().saturating_sub(elapsed), Ordering::AcqRel);
        self.latest.fetch_max(at.as_millisecond(), Ordering::AcqRel);
    }
}

impl Runtime {
    /// From a clock and a source of bytes; a test hands in its own.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let unix = Duration::try_from(clock.now().as_duration()).unwrap_or_default();
        let start = unix.saturating_sub(clock.elapsed()).min(MAX_START);
        let seen = Seen { latest: AtomicI64::new(i64::MIN), ahead: AtomicI64::new(i64::MIN) };
        Self { clock, entropy, start, seen: Arc::new(seen) }
    }

    /// The operating system's clock and its random number generator.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock::new()), Arc::new(SystemEntropy))
    }

    /// Now, in whole milliseconds: finer steps would only make stored times longer. While the clock is behind the latest time
    /// seen, because somebody set it back, time goes on from there as fast as it passes.
    pub fn now(&self) -> Timestamp {
        let clock = self.clock.now();
        let (now, latest) = (clock.as_millisecond(), self.seen.latest.load(Ordering::Acquire));
        let now = if now == latest {
            now
        } else {
            // After the clock was read: a pause in between must not make time run ahead.
            let elapsed = self.elapsed();
            self.seen.at(clock, elapsed);
            if now > latest {
                now
            } else {
                let steady = self.seen.ahead.load(Ordering::Acquire).saturating_add(elapsed).div_euclid(1_000);
                self.seen.latest.fetch_max(steady, Ordering::AcqRel).max(steady)
            }
        };
        Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX)
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.clock.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// It was this late before; time does not go back behind it.
    pub fn not_before(&self, seen: Timestamp) {
        self.seen.at(seen, self.elapsed());
    }

    /// How far the clock is behind the latest time seen.
    pub fn clock_is_behind(&self) -> SignedDuration {
        let now = self.now();
        now.duration_since(self.clock.now()).max(SignedDuration::ZERO)
    }

    /// Somebody who knows says that the clock is right, and what was seen was not.
    pub fn trust_clock(&self) -> Timestamp {
        let (clock, elapsed) = (self.clock.now(), self.elapsed());
        self.seen.ahead.store(clock.as_microsecond().saturating_sub(elapsed), Ordering::Release);
        self.seen.latest.store(clock.as_millisecond(), Ordering::Release);
        clock
    }

    /// Unix time in nanoseconds as it was when the process began, and steady from then on: for measuring rates,
    /// which a clock that is set back or forth must neither block nor free.
    pub fn monotonic_nanos(&self) -> u64 {
        u64::try_from(self.start.saturating_add(self.clock.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }

    /// So many fresh random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// 2261: nanoseconds since 1970 end in 2554, and rates are measured in them. A clock beyond it is wrong, and must not make
/// sums of them fail.
const MAX_START: Duration = Duration::from_secs(291 * 31_557_600);

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
