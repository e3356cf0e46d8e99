//! The table that puts everything that can happen into words. Names are data: agents choose their own.

use crate::{
    domain::{activity::EventKind, id::KeyId},
    service::accounts::activity::Line,
    web::time,
};
use maud::{Markup, html};

/// One line of the activity.
pub struct EventText {
    pub words: Markup,
    /// The key it is about, to look at.
    pub key: Option<KeyId>,
    /// Somebody wanted something and did not get it.
    pub bad: bool,
}

fn event_text(words: Markup) -> EventText {
    EventText { words, key: None, bad: false }
}

impl EventText {
    fn about(self, key: KeyId) -> Self {
        Self { key: Some(key), ..self }
    }

    fn refused(self) -> Self {
        Self { bad: true, ..self }
    }
}

fn name(text: impl std::fmt::Display) -> Markup {
    html! { "\"" bdi { (text) } "\"" }
}

pub fn tell(line: &Line) -> EventText {
    match &line.event.what {
        EventKind::SignedUp => event_text(html! { "The account was created" }),
        EventKind::SignedIn => event_text(html! { "You signed in" }),
        EventKind::ProgramSignedIn { .. } => event_text(html! { "A program signed in with your password" }),
        EventKind::ProgramSignedOut { .. } => event_text(html! { "A program signed out" }),
        EventKind::RefreshReused { .. } => event_text(html! {
            "A program's session was continued twice from the same place, and ended: somebody else may have copied its token"
        })
        .refused(),
        EventKind::SignInRefused => event_text(html! { "Somebody tried to sign in with a wrong password" }).refused(),
        EventKind::PasswordChanged => event_text(html! { "You changed your password; every other browser was signed out" }),
        EventKind::BrowserSignedOut => event_text(html! { "You signed a browser out" }),
        EventKind::SignedOutEverywhere => event_text(html! { "You signed out everywhere" }),
        EventKind::Linked => event_text(html! { "You came from the service's own sign-in, and this account is yours there too" }),
        EventKind::EmailVerified => event_text(html! { "Your e-mail address was verified" }),
        EventKind::EmailChanged => event_text(html! { "The service changed your e-mail address" }),
        EventKind::PlanChanged { plan } => event_text(html! { "Your plan is now " (plan) }),
        EventKind::AccountDisabled => event_text(html! { "The account was disabled by whoever runs this service" }),
        EventKind::AccountEnabled => event_text(html! { "The account was enabled again" }),
        EventKind::TooManyWrongCodes => event_text(html! { "Too many wrong codes were entered" }).refused(),
        EventKind::Approved { agent, .. } => event_text(html! { "You approved the agent " (name(agent)) }),
        EventKind::Denied { agent, .. } => event_text(html! { "You denied the agent " (name(agent)) }),
        EventKind::Disowned { agent, from, .. } => {
            event_text(html! { "You reported that you did not start the request of " (name(agent)) " from " (from) })
        }
        EventKind::Delivered { agent, key, .. } => event_text(html! { "The agent " (name(agent)) " picked up its key" }).about(*key),
        EventKind::WrongVerifier { agent, .. } => {
            event_text(html! { "Somebody else tried to pick up the key of the agent " (name(agent)) }).refused()
        }
        EventKind::PickupReplayed { agent, key, .. } => event_text(html! {
            "The key of the agent " (name(agent)) " was fetched twice, and revoked: somebody else may have seen what fetches it"
        })
        .about(*key)
        .refused(),
        EventKind::KeyCreated { key, name: called } => event_text(html! { "The key " (name(called)) " was created" }).about(*key),
        EventKind::KeyEdited { key, name: called, was, added, removed } => event_text(html! {
            "The key " (name(called)) " was edited"
            @if let Some(was) = was { "; its name was " (name(was)) }
            @if !added.is_empty() { "; it may now also " code { (added) } }
            @if !removed.is_empty() { "; it may no longer " code { (removed) } }
        })
        .about(*key),
        EventKind::KeyDisabled { key, name: called } => event_text(html! { "The key " (name(called)) " was disabled" }).about(*key),
        EventKind::KeyEnabled { key, name: called } => event_text(html! { "The key " (name(called)) " was enabled again" }).about(*key),
        EventKind::KeyRotated { key, name: called, until, .. } => event_text(html! {
            "The key " (name(called)) " was rotated; "
            @match until { Some(until) => { "the old one goes on until " (time::exact(*until)) } None => { "the old one stopped at once" } }
        })
        .about(*key),
        EventKind::AgentRevoked { agent, keys, .. } => event_text(html! {
            "You revoked the agent " (name(agent)) @if *keys > 0 { " and " (keys) @if *keys == 1 { " key" } @else { " keys" } }
        }),
        EventKind::KeyRevoked { key, name: called, reason, descendants } => event_text(html! {
            "The key " (name(called)) " was revoked"
            @if *descendants > 0 { ", and " (descendants) @if *descendants == 1 { " key" } @else { " keys" } " with it" }
            @if let Some(reason) = reason { ": " bdi { (reason) } }
        })
        .about(*key),
        EventKind::KeyResumed { key, name: called } => event_text(html! { "The key " (name(called)) " works again" }).about(*key),
        EventKind::WrongEnvironment { key } => event_text(html! {
            @match &line.key_name { Some(called) => { "The key " (name(called)) }, None => { "A key" } }
            " was used against another environment than its own"
        })
        .about(*key)
        .refused(),
    }
}
