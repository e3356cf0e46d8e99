//! What went wrong, as a tool result a model can act on: a code, what it means, and the one thing to do next.

use crate::service::Error;
use rmcp::{
    ErrorData,
    handler::server::tool::IntoCallToolResult,
    model::{CallToolResponse, CallToolResult, ContentBlock},
};
use serde_json::json;

/// An error on its way into an `isError` result.
pub struct ToolError {
    pub error: Error,
    /// What to do, where the tool knows better than the error.
    next: Option<String>,
}

impl<E: Into<Error>> From<E> for ToolError {
    fn from(error: E) -> Self {
        Self { error: error.into(), next: None }
    }
}

impl ToolError {
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

const REGISTER: &str = "Call register_agent, show your human the link and code it returns, then call poll_claim.";
const LATER: &str = "Wait a little, then call the tool again.";

/// Code and next step. Exhaustive: a new error does not compile until it says what an agent should do.
fn words(error: &Error) -> (&'static str, String) {
    let told = |code, next: &str| (code, next.to_owned());
    match error {
        Error::Invalid { field, .. } => ("invalid_arguments", format!("Correct `{field}` and call the tool again.")),
        Error::Malformed { .. } | Error::UnsupportedGrantType | Error::UnsupportedType => {
            told("invalid_arguments", "Correct the arguments and call the tool again.")
        }
        Error::InvalidScope { available, .. } => ("invalid_scope", format!("Ask only for scopes from this list: {available}.")),
        Error::InvalidLoginHint => told("invalid_login_hint", "Leave login_hint out, or give your human's e-mail address."),
        Error::InvalidGrant | Error::InvalidClaimToken | Error::ClaimExpired | Error::ExpiredToken { .. } => told("claim_over", REGISTER),
        Error::AuthorizationPending { .. } | Error::SlowDown { .. } => {
            told("pending", "Call poll_claim again; your human has not decided.")
        }
        Error::AccessDenied => told("access_denied", "Your human said no: stop, and register again only if they ask you to."),
        Error::ClaimedOrInFlight { .. } => told("claimed_or_in_flight", "Your human has the page open or has decided: call poll_claim."),
        Error::TooManyAttempts { .. } | Error::TooMany { .. } | Error::RateLimited(_) => {
            let wait = error.retry_after().unwrap_or(60);
            ("rate_limit_exceeded", format!("Wait {wait} seconds, then call the tool again."))
        }
        Error::Unauthorized { presented: false } => told("not_signed_in", REGISTER),
        Error::Unauthorized { presented: true } | Error::CallerUnauthorized { .. } => told("invalid_key", REGISTER),
        Error::InsufficientScope { missing } => {
            let scopes: Vec<_> = missing.iter().map(ToString::to_string).collect();
            let next = format!(
                "If the task needs it, call register_agent with the scopes your key has (check_scope names them) and {}: the new key replaces it here.",
                json!(scopes)
            );
            ("insufficient_scope", next)
        }
        Error::NotFound { what } if what == "claim" => told("unknown_claim", REGISTER),
        Error::NotFound { .. } | Error::NoRoute => told("not_found", "Call list_keys for the ids you can see."),
        Error::Forbidden { .. } => told("forbidden", "Don't try again; tell your human what you wanted to do."),
        Error::Conflict { .. } => told("conflict", "Do what it says and call the tool again; if you can't, tell your human."),
        Error::AlreadyDecided | Error::ReviewChanged | Error::IdempotencyKeyReused => told("conflict", "Tell your human what happened."),
        Error::Busy | Error::Unavailable | Error::ReadOnly => told("unavailable", LATER),
        Error::Unreachable { .. } => told("unavailable", "Tell your human what happened; once the server answers, call the tool again."),
        Error::WrongCode
        | Error::FreshCodeNeeded
        | Error::WrongPassword
        | Error::InvalidRefreshToken
        | Error::SignInNeeded
        | Error::ForeignForm
        | Error::PayloadTooLarge
        | Error::TooSlow
        | Error::UnsupportedMediaType { .. }
        | Error::MethodNotAllowed
        | Error::Misdirected => told("refused", "Tell your human what happened."),
        Error::Internal => told("internal", LATER),
    }
}

/// Every code a tool can answer, for the contract test.
pub const CODES: [&str; 18] = [
    "invalid_arguments",
    "invalid_scope",
    "invalid_login_hint",
    "claim_over",
    "pending",
    "access_denied",
    "claimed_or_in_flight",
    "rate_limit_exceeded",
    "not_signed_in",
    "invalid_key",
    "insufficient_scope",
    "unknown_claim",
    "not_found",
    "forbidden",
    "conflict",
    "unavailable",
    "refused",
    "internal",
];

impl IntoCallToolResult for ToolError {
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        let (code, next) = words(&self.error);
        let body = json!({"error": code, "error_description": self.error.to_string(), "next": self.next.unwrap_or(next)});
        // Text only: structured content that misses the output schema makes the TypeScript SDK throw.
        Ok(CallToolResult::error(vec![ContentBlock::text(body.to_string())]).into())
    }
}
