//! The latest time seen, kept in the store: a clock that is set back over a restart revives nothing that had ended.
//!
//! In a process time never goes back (`Runtime::now`); the next one goes on from what is noted here. It is noted once a
//! minute, at the end, and when something is seen to have ended since: what was told as over stays over. It waits for no
//! sync, so a power cut may take the last minute of it.
//!
//! While the clock is behind, all times count from the latest one seen, so everything new works and lasts as long as it
//! should; only what it says of the date is ahead. Who is hurt by that is whoever had the clock ahead by mistake: keys that
//! ended by it stay ended, until they say `countersign doctor --trust-clock`.

use crate::{
    domain::time::after,
    platform::runtime::Runtime,
    store::{access::Read, error::StoreError, handle::Store, tables::settings::CLOCK},
};
use jiff::{SignedDuration, SignedDurationRound, Timestamp, Unit};
use std::sync::atomic::{AtomicI64, Ordering};

/// How often it is noted while nothing ends.
const NOTE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// Clocks are set by less than this all the time.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// What the last process noted.
pub fn noted(tx: &dyn Read) -> Result<Option<Timestamp>, StoreError> {
    Ok(tx.setting::<i64>(CLOCK)?.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
}

/// Keeps it.
pub struct LatestTime {
    runtime: Runtime,
    store: Store,
    /// The latest time that the store knows, in Unix milliseconds.
    noted: AtomicI64,
}

impl LatestTime {
    /// Nothing was seen yet: [`Self::go_on_from`] tells what the last process saw.
    pub fn new(runtime: Runtime, store: Store) -> Self {
        Self { runtime, store, noted: AtomicI64::new(i64::MIN) }
    }

    /// Goes on from what the last process saw.
    pub(super) fn go_on_from(&self, noted: Option<Timestamp>) {
        if let Some(noted) = noted {
            self.runtime.not_before(noted);
            self.noted.store(noted.as_millisecond(), Ordering::Release);
        }
        if let Some(behind) = self.clock_behind() {
            tracing::warn!("the clock is {behind}; if it is wrong, set it; if it was ahead by mistake, see `countersign doctor`");
        }
    }

    /// How far the clock is behind the latest time seen, in words; `None`: it is not.
    pub fn clock_behind(&self) -> Option<String> {
        let behind = self.runtime.clock_is_behind();
        let rounded = behind.round(SignedDurationRound::new().smallest(Unit::Second)).unwrap_or(behind);
        (behind > CLOCK_TOLERANCE).then(|| format!("{rounded:#} behind the latest time seen, {}", self.runtime.now()))
    }

    /// Something that ended at `end` is told as over: the next process is to know.
    pub(super) async fn note_end(&self, end: Timestamp) {
        if end.as_millisecond() > self.noted.load(Ordering::Acquire) {
            self.note_time().await;
        }
    }

    /// Now and then.
    pub(super) async fn note_time_again(&self) {
        let noted = Timestamp::from_millisecond(self.noted.load(Ordering::Acquire)).unwrap_or(Timestamp::MIN);
        if self.runtime.now() >= after(noted, NOTE_INTERVAL) {
            self.note_time().await;
        }
    }

    /// Writes the present time down. A failure is not the caller's: the next one tries again.
    pub(super) async fn note_time(&self) {
        if let Err(error) = self.write_time(self.runtime.now()).await {
            tracing::debug!(%error, "the latest time seen is not noted");
        }
    }

    async fn write_time(&self, now: Timestamp) -> Result<(), StoreError> {
        let now = now.as_millisecond();
        self.store.write(move |tx| tx.save_setting(CLOCK, &now)).await?;
        self.noted.store(now, Ordering::Release);
        Ok(())
    }

    /// The clock is right, and was ahead before: forgets the latest time seen.
    pub async fn trust_clock(&self) -> Result<(), StoreError> {
        self.write_time(self.runtime.trust_clock()).await
    }
}
