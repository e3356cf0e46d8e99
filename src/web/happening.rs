//! The table that puts everything that can happen into words. Names are data: agents choose their own.

use crate::{
    domain::{activity::What, id::KeyId},
    service::activity::Line,
    web::time,
};
use maud::{Markup, html};

/// One line of the activity.
pub struct Told {
    pub words: Markup,
    /// The key it is about, to look at.
    pub key: Option<KeyId>,
    /// Somebody wanted something and did not get it.
    pub bad: bool,
}

fn told(words: Markup) -> Told {
    Told { words, key: None, bad: false }
}

impl Told {
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

pub fn tell(line: &Line) -> Told {
    match &line.event.what {
        What::SignedUp => told(html! { "The account was created" }),
        What::SignedIn => told(html! { "You signed in" }),
        What::ProgramSignedIn { .. } => told(html! { "A program signed in with your password" }),
        What::ProgramSignedOut { .. } => told(html! { "A program signed out" }),
        What::RefreshReused { .. } => told(html! {
            "A program's session was continued twice from the same place, and ended: somebody else may have copied its token"
        })
        .refused(),
        What::SignInRefused => told(html! { "Somebody tried to sign in with a wrong password" }).refused(),
        What::PasswordChanged => told(html! { "You changed your password; every other browser was signed out" }),
        What::BrowserSignedOut => told(html! { "You signed a browser out" }),
        What::SignedOutEverywhere => told(html! { "You signed out everywhere" }),
        What::Linked => told(html! { "You came from the service's own sign-in, and this account is yours there too" }),
        What::EmailVerified => told(html! { "Your e-mail address was verified" }),
        What::EmailChanged => told(html! { "The service changed your e-mail address" }),
        What::PlanChanged { plan } => told(html! { "Your plan is now " (plan) }),
        What::AccountDisabled => told(html! { "The account was disabled by whoever runs this service" }),
        What::AccountEnabled => told(html! { "The account was enabled again" }),
        What::TooManyWrongCodes => told(html! { "Too many wrong codes were entered" }).refused(),
        What::Approved { agent, .. } => told(html! { "You approved the agent " (name(agent)) }),
        What::Denied { agent, .. } => told(html! { "You denied the agent " (name(agent)) }),
        What::Disowned { agent, from, .. } => {
            told(html! { "You reported that you did not start the request of " (name(agent)) " from " (from) })
        }
        What::Delivered { agent, key, .. } => told(html! { "The agent " (name(agent)) " picked up its key" }).about(*key),
        What::WrongVerifier { agent, .. } => told(html! { "Somebody else tried to pick up the key of the agent " (name(agent)) }).refused(),
        What::PickupReplayed { agent, key, .. } => told(html! {
            "The key of the agent " (name(agent)) " was fetched twice, and revoked: somebody else may have seen what fetches it"
        })
        .about(*key)
        .refused(),
        What::KeyCreated { key, name: called } => told(html! { "The key " (name(called)) " was created" }).about(*key),
        What::KeyEdited { key, name: called, was, added, removed } => told(html! {
            "The key " (name(called)) " was edited"
            @if let Some(was) = was { "; its name was " (name(was)) }
            @if !added.is_empty() { "; it may now also " code { (added) } }
            @if !removed.is_empty() { "; it may no longer " code { (removed) } }
        })
        .about(*key),
        What::KeyDisabled { key, name: called } => told(html! { "The key " (name(called)) " was disabled" }).about(*key),
        What::KeyEnabled { key, name: called } => told(html! { "The key " (name(called)) " was enabled again" }).about(*key),
        What::KeyRotated { key, name: called, until, .. } => told(html! {
            "The key " (name(called)) " was rotated; "
            @match until { Some(until) => { "the old one goes on until " (time::exact(*until)) } None => { "the old one stopped at once" } }
        })
        .about(*key),
        What::AgentRevoked { agent, keys, .. } => told(html! {
            "You revoked the agent " (name(agent)) @if *keys > 0 { " and " (keys) @if *keys == 1 { " key" } @else { " keys" } }
        }),
        What::KeyRevoked { key, name: called, reason, descendants } => told(html! {
            "The key " (name(called)) " was revoked"
            @if *descendants > 0 { ", and " (descendants) @if *descendants == 1 { " key" } @else { " keys" } " with it" }
            @if let Some(reason) = reason { ": " bdi { (reason) } }
        })
        .about(*key),
        What::KeyResumed { key, name: called } => told(html! { "The key " (name(called)) " works again" }).about(*key),
        What::WrongEnvironment { key } => told(html! {
            @match &line.key_name { Some(called) => { "The key " (name(called)) }, None => { "A key" } }
            " was used against another environment than its own"
        })
        .about(*key)
        .refused(),
    }
}
