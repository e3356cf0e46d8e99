//! Waiting for what another task, thread or program does by itself.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A machine that is very busy still comes in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer: at first at once, then every few milliseconds. `what` is the fact that is waited for.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    for tries in 0.. {
        if let Some(answer) = ask().await {
            return answer;
        }
        if tries < 1_000 {
            tokio::task::yield_now().await;
        } else {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
    }
    unreachable!()
}
