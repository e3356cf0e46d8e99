//! `/admin`: how many, how much, and what was refused.

use crate::{
    domain::usage::Refusal,
    service::{
        admin::stats::{Count, DAYS, DecisionsDay, Overview},
        services::App,
    },
    web::{
        admin::{
            download::csv,
            operator::{Operator, tabs},
        },
        failure::PageResult,
        layout::Width,
        session::Visitor,
        usage_chart,
    },
};
use axum::{extract::State, http::StatusCode, response::Response};
use maud::{Markup, html};

/// The plot's height, and a day's width with the gap after it, in its own units.
const HEIGHT: u64 = 100;
const STEP: usize = 10;
const BAR: usize = 7;

const REFUSALS: [(Refusal, &str); 6] = [
    (Refusal::Revoked, "REVOKED"),
    (Refusal::Expired, "EXPIRED"),
    (Refusal::Disabled, "DISABLED"),
    (Refusal::InsufficientScope, "INSUFFICIENT_SCOPE"),
    (Refusal::WrongEnvironment, "WRONG_ENVIRONMENT"),
    (Refusal::RateLimited, "RATE_LIMITED"),
];

pub async fn show(State(app): State<App>, Operator(human): Operator) -> PageResult {
    Ok(page(&human.visitor, &app.admin.overview().await?))
}

fn said(count: Count) -> String {
    match count {
        Count::Exactly(n) => n.to_string(),
        Count::AtLeast(n) => format!("{n} or more"),
    }
}

fn page(visitor: &Visitor, overview: &Overview) -> Response {
    let sum = |of: fn(&DecisionsDay) -> u64| overview.decisions.iter().map(of).sum::<u64>();
    let content = html! {
        div.heading { h1 { "Administration" } div.actions { a.button href="/admin/days.csv" download { "Download as CSV" } } }
        (tabs(visitor))
        dl.numbers {
            (number("Accounts", said(overview.accounts)))
            (number("Active keys", said(overview.active_keys)))
            (number("Requests of agents", sum(|day| day.requested).to_string()))
            (number("Approved", sum(|day| day.approved).to_string()))
            (number("Denied", sum(|day| day.denied).to_string()))
        }
        section.panel {
            h2 { "Agents that asked, and decisions, in " (DAYS) " days" }
            (decisions(&overview.decisions))
        }
        section.panel {
            h2 { "Use of all keys in " (DAYS) " days" }
            (usage_chart::show(&overview.usage))
        }
    };
    visitor.page(StatusCode::OK, Width::Wide, "Administration", &content)
}

fn number(label: &str, value: String) -> Markup {
    html! { div { dt { (label) } dd { (value) } } }
}

fn decisions(days: &[DecisionsDay]) -> Markup {
    let any = |day: &DecisionsDay| day.requested + day.approved + day.denied > 0;
    html! {
        @if !days.iter().any(any) { p.lead { "No agent has asked in this time." } } @else {
            (bars(days))
            details {
                summary { "The same as a table" }
                div.scrolled tabindex="0" role="region" aria-label="Decisions by day" {
                    table {
                        thead { tr { th scope="col" { "Day" } th scope="col" { "Requested" } th scope="col" { "Approved" } th scope="col" { "Denied" } } }
                        tbody {
                            @for day in days.iter().rev().filter(|day| any(day)) {
                                tr { th scope="row" { (day.date) } td { (day.requested) } td { (day.approved) } td { (day.denied) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What becomes of requests, and how it is drawn.
const PARTS: [(&str, &str); 3] = [("accepted", "approved"), ("barred", "denied"), ("ended", "not decided the same day")];

fn parts(day: &DecisionsDay) -> [u64; 3] {
    [day.approved, day.denied, day.requested.saturating_sub(day.approved + day.denied)]
}

/// Each part's top and height, from the foot up.
fn stacked(day: &DecisionsDay, most: u64) -> impl Iterator<Item = (&'static str, u64, u64)> {
    let parts = parts(day).into_iter().zip(PARTS).scan(0, move |below, (n, (class, _))| {
        let foot = *below * HEIGHT / most;
        *below += n;
        let top = *below * HEIGHT / most;
        Some((class, HEIGHT - top, top - foot))
    });
    parts.filter(|(_, _, height)| *height > 0)
}

fn bars(days: &[DecisionsDay]) -> Markup {
    let whole = |day: &DecisionsDay| parts(day).iter().sum::<u64>();
    let most = days.iter().map(whole).max().unwrap_or_default().max(1);
    let total = days.iter().map(parts).fold([0; 3], |sum, day| [sum[0] + day[0], sum[1] + day[1], sum[2] + day[2]]);
    let words: Vec<(&str, String)> = PARTS.iter().zip(total).map(|((class, what), n)| (*class, format!("{n} {what}"))).collect();
    html! {
        ul.key-to-plot { @for (class, said) in &words { li { span.swatch.(class) {} (said) } } }
        figure.plot {
            p.scale { (most) span.unseen { " on the busiest day" } }
            svg viewBox={ "0 0 " (days.len() * STEP) " " (HEIGHT) } preserveAspectRatio="none" role="img"
                aria-label={ "Requests of agents a day: " (words.iter().map(|(_, said)| said.as_str()).collect::<Vec<_>>().join(", ")) } {
                @for (i, day) in days.iter().enumerate() {
                    g {
                        title { (day.date) ": " (day.requested) " requested, " (day.approved) " approved, " (day.denied) " denied" }
                        @for (class, y, height) in stacked(day, most) {
                            rect.(class) x=(i * STEP) width=(BAR) y=(y) height=(height) {}
                        }
                    }
                }
            }
            figcaption { @if let (Some(first), Some(last)) = (days.first(), days.last()) { span { (first.date) } span { (last.date) } } }
        }
    }
}

pub async fn download(State(app): State<App>, _: Operator) -> PageResult {
    let head = [["day", "requested", "approved", "denied", "accepted"].as_slice(), &REFUSALS.map(|(_, name)| name)].concat();
    csv("days", &head, move |_| {
        let app = app.clone();
        async move {
            let overview = app.admin.overview().await?;
            let days = overview.decisions.iter().zip(&overview.usage.days);
            let rows = days.map(|(decided, used)| {
                let numbers = [decided.requested, decided.approved, decided.denied, used.accepted];
                let refused = REFUSALS.map(|(why, _)| used.refused.get(&why).copied().unwrap_or_default());
                let numbers = numbers.into_iter().chain(refused).map(|n| n.to_string());
                std::iter::once(decided.date.to_string()).chain(numbers).collect()
            });
            Ok((rows.collect(), None))
        }
    })
    .await
}
