//! Times in words. A page says both how long ago and exactly when, in UTC.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// `90 days`, `1 hour`: the largest unit that fits, rounded to the nearest.
pub fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (count, unit) = match seconds {
        s if s >= DAY => (s.saturating_add(DAY / 2) / DAY, "day"),
        s if s >= HOUR => (s.saturating_add(HOUR / 2) / HOUR, "hour"),
        s if s >= MINUTE => (s.saturating_add(MINUTE / 2) / MINUTE, "minute"),
        s => (s, "second"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

/// `2026-11-22 01:12 UTC`.
pub fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `3 minutes ago`, `in 89 days`, `just now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(at);
    match passed.as_secs() {
        -9..=9 => "just now".to_owned(),
        10.. => format!("{} ago", length(passed)),
        _ => format!("in {}", length(passed.abs())),
    }
}

/// Both, for a machine and for a human.
pub fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (relative(at, now)) ", " span.exact { (exact(at)) } } }
}

/// The short form for lists; the exact time is one hover or one inspection away.
pub fn brief(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) title=(exact(at)) { (relative(at, now)) } }
}

/// `1 day`, `7 days`: what an offered lifetime may be shortened to, in seconds.
pub fn shorter_lifetimes(offered: Option<SignedDuration>) -> impl Iterator<Item = i64> {
    [HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY].into_iter().filter(move |s| offered.is_none_or(|most| *s < most.as_secs()))
}
