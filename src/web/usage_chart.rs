//! Days of use as bars, drawn by the server: no script, and the same numbers as a table for who can't see bars.
//! The picture holds no text, so that it can stretch: what it says stands around it.

use crate::{
    api::usage::{UsageDay, UsageDays},
    domain::usage::Refusal,
};
use maud::{Markup, html};

/// The picture's height, and a day's width with the gap after it, in its own units.
const HEIGHT: f64 = 100.0;
const STEP: usize = 10;
const BAR: usize = 7;

/// Kinds of refusals that call for the same thing are drawn alike; the table has each.
const KINDS: [(&str, &str, &[Refusal]); 3] = [
    ("limit", "over the limit", &[Refusal::RateLimited]),
    ("barred", "not permitted", &[Refusal::InsufficientScope, Refusal::WrongEnvironment]),
    ("ended", "ended or off", &[Refusal::Revoked, Refusal::Expired, Refusal::Disabled]),
];

const fn word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::RateLimited => "over the limit",
        Refusal::InsufficientScope => "permission missing",
        Refusal::WrongEnvironment => "wrong environment",
        Refusal::Revoked => "revoked",
        Refusal::Expired => "expired",
        Refusal::Disabled => "disabled",
    }
}

fn refused_for(day: &UsageDay, of: &[Refusal]) -> u64 {
    of.iter().filter_map(|why| day.refused.get(why)).sum()
}

fn all(day: &UsageDay) -> u64 {
    day.accepted + day.refused.values().sum::<u64>()
}

pub fn show(usage: &UsageDays) -> Markup {
    let accepted: u64 = usage.days.iter().map(|day| day.accepted).sum();
    let by_kind = KINDS.map(|(class, label, of)| (class, label, usage.days.iter().map(|day| refused_for(day, of)).sum::<u64>()));
    let most = usage.days.iter().map(all).max().unwrap_or_default();
    let (first, last) = (usage.days.first(), usage.days.last());
    html! {
        @if most == 0 { p.lead { "Nothing has used it in this time." } } @else {
            ul.key-to-plot {
                li { span.swatch.accepted {} (count(accepted)) " accepted" }
                @for (class, label, total) in by_kind { @if total > 0 { li { span.swatch.(class) {} (count(total)) " refused, " (label) } } }
            }
            figure.plot {
                p.scale { (count(most)) span.unseen { " on the busiest day" } }
                (bars(usage, most, accepted, by_kind.iter().map(|(_, _, n)| n).sum()))
                figcaption { @if let (Some(first), Some(last)) = (first, last) { span { (first.date) } span { (last.date) } } }
            }
            details { summary { "The same as a table" } (table(usage)) }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bar is at most a hundred units high")]
fn bars(usage: &UsageDays, most: u64, accepted: u64, refused: u64) -> Markup {
    let high = |n: u64| HEIGHT * n as f64 / most as f64;
    let width = usage.days.len() * STEP;
    html! {
        svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label={ "Requests a day: " (count(accepted)) " accepted, " (count(refused)) " refused" } {
            @for (i, day) in usage.days.iter().enumerate() {
                @let parts = std::iter::once(("accepted", day.accepted)).chain(KINDS.map(|(class, _, of)| (class, refused_for(day, of))));
                g {
                    title { (day.date) ": " (count(day.accepted)) " accepted, " (count(all(day) - day.accepted)) " refused" }
                    @for (class, below, n) in stacked(parts) {
                        rect.(class) x=(i * STEP) width=(BAR) y=(format!("{:.2}", HEIGHT - high(below + n))) height=(format!("{:.2}", high(n))) {}
                    }
                }
            }
        }
    }
}

/// Each part with the sum of those below it.
fn stacked<'a>(parts: impl Iterator<Item = (&'a str, u64)>) -> impl Iterator<Item = (&'a str, u64, u64)> {
    let mut below = 0;
    parts.filter(|(_, n)| *n > 0).map(move |(class, n)| {
        below += n;
        (class, below - n, n)
    })
}

fn table(usage: &UsageDays) -> Markup {
    html! {
        div.scrolled tabindex="0" role="region" aria-label="Use by day" {
            table {
                thead { tr { th scope="col" { "Day" } th scope="col" { "Accepted" } th scope="col" { "Refused" } } }
                tbody {
                    @for day in usage.days.iter().rev().filter(|day| all(day) > 0) {
                        tr {
                            th scope="row" { (day.date) }
                            td { (count(day.accepted)) }
                            td {
                                @if day.refused.is_empty() { "0" }
                                @for (i, (why, n)) in day.refused.iter().enumerate() { @if i > 0 { ", " } (count(*n)) " " (word(*why)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `1234567` as `1,234,567`.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
