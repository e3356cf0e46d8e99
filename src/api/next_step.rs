//! What whoever met an error does now, one sentence. Put into words only where somebody reads it.

use crate::domain::{grant_type::CLAIM_GRANT, scope::ScopeSet};
use serde_json::json;

/// What an agent that called over HTTP does.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    Say(&'static str),
    /// Everything again, with a new code.
    Register,
    /// A new code for the same registration.
    FreshCode,
    /// Seconds between polls.
    Poll(u16),
    /// Seconds to wait.
    Wait(u64),
    /// This field of the request.
    Correct(&'a str),
    AskOnlyFor(&'a ScopeSet),
    /// The one grant there is.
    ClaimGrant,
    /// A key that has these.
    SendKeyWith(&'a ScopeSet),
    ReadGuide,
}

impl Step<'_> {
    /// In words, for the deployment at this address.
    pub fn at(self, public_url: &str) -> String {
        match self {
            Self::Say(sentence) => sentence.to_owned(),
            Self::Register => format!("Register again with POST {public_url}/agent/identity and show your human the new code."),
            Self::FreshCode => {
                format!("The code is over: get a fresh one with POST {public_url}/agent/identity/claim and show it to your human.")
            }
            Self::Poll(interval) => {
                format!("Wait {interval} seconds, then send the same request again; your human has not decided yet.")
            }
            Self::Wait(seconds) => format!("Wait {seconds} seconds before you try again."),
            Self::Correct(field) => format!("Correct `{field}` and send the request again; {public_url}/auth.md shows how."),
            Self::AskOnlyFor(available) => ask_only_for(available),
            Self::ClaimGrant => format!("Send grant_type={CLAIM_GRANT}."),
            Self::SendKeyWith(missing) => {
                format!(
                    "Send a key that has {missing}: `countersign keys create --scope …` makes one, and an agent asks its human for one."
                )
            }
            Self::ReadGuide => format!("Read {public_url}/auth.md and send the request as it shows."),
        }
    }
}

/// What a model that called a tool does.
#[derive(Debug, Clone, Copy)]
pub enum ToolStep<'a> {
    Say(&'static str),
    /// Seconds to wait.
    Wait(u64),
    /// This argument.
    Correct(&'a str),
    AskOnlyFor(&'a ScopeSet),
    /// A new key that has these, too.
    RegisterWith(&'a ScopeSet),
}

impl ToolStep<'_> {
    /// As long as it says, or a minute.
    pub fn wait(seconds: Option<u64>) -> Self {
        Self::Wait(seconds.unwrap_or(60))
    }

    /// In words.
    pub fn in_words(self) -> String {
        match self {
            Self::Say(sentence) => sentence.to_owned(),
            Self::Wait(seconds) => format!("Wait {seconds} seconds, then call the tool again."),
            Self::Correct(argument) => format!("Correct `{argument}` and call the tool again."),
            Self::AskOnlyFor(available) => ask_only_for(available),
            Self::RegisterWith(missing) => {
                let scopes: Vec<_> = missing.iter().map(ToString::to_string).collect();
                format!(
                    "If the task needs it, call register_agent with the scopes your key has (check_scope names them) and {}: the new key replaces it here.",
                    json!(scopes)
                )
            }
        }
    }
}

fn ask_only_for(available: &ScopeSet) -> String {
    format!("Ask only for scopes from this list: {available}.")
}
