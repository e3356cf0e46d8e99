//! How each error is told: status, codes and next step, for OAuth, the API and MCP.

use crate::{api::error::Error, config::settings::Config, domain::grant_type::CLAIM_GRANT};
use hyper::StatusCode;
use serde_json::json;

/// Status and code of RFC 6749 §5.2, RFC 8628 §3.5 and the agent-auth convention.
pub fn oauth(error: &Error) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        Error::Invalid { .. } | Error::Malformed { .. } => (S::BAD_REQUEST, "invalid_request"),
        Error::InvalidScope { .. } => (S::BAD_REQUEST, "invalid_scope"),
        Error::InvalidLoginHint => (S::BAD_REQUEST, "invalid_login_hint"),
        Error::UnsupportedGrantType => (S::BAD_REQUEST, "unsupported_grant_type"),
        Error::UnsupportedType => (S::BAD_REQUEST, "unsupported_identity_type"),
        Error::InvalidGrant => (S::BAD_REQUEST, "invalid_grant"),
        Error::AuthorizationPending { .. } => (S::BAD_REQUEST, "authorization_pending"),
        Error::SlowDown { .. } => (S::BAD_REQUEST, "slow_down"),
        Error::ExpiredToken { .. } => (S::BAD_REQUEST, "expired_token"),
        Error::AccessDenied => (S::BAD_REQUEST, "access_denied"),
        Error::InvalidClaimToken => (S::UNAUTHORIZED, "invalid_claim_token"),
        Error::ClaimedOrInFlight { already: true } => (S::CONFLICT, "already_claimed"),
        Error::ClaimedOrInFlight { already: false } => (S::CONFLICT, "claimed_or_in_flight"),
        Error::ClaimExpired => (S::GONE, "claim_expired"),
        Error::TooManyAttempts { .. } => (S::TOO_MANY_REQUESTS, "too_many_attempts"),
        Error::Unauthorized { .. } | Error::CallerUnauthorized { basic: false, .. } => (S::UNAUTHORIZED, "invalid_token"),
        Error::CallerUnauthorized { basic: true, .. } => (S::UNAUTHORIZED, "invalid_client"),
        Error::InsufficientScope { .. } => (S::FORBIDDEN, "insufficient_scope"),
        Error::Forbidden { .. } | Error::ForeignForm => (S::FORBIDDEN, "forbidden"),
        Error::NotFound { .. } | Error::NoRoute => (S::NOT_FOUND, "not_found"),
        Error::Conflict { .. } | Error::AlreadyDecided | Error::ReviewChanged | Error::FreshCodeNeeded => (S::CONFLICT, "conflict"),
        Error::IdempotencyKeyReused => (S::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
        Error::TooMany { .. } | Error::RateLimited(_) => (S::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
        Error::WrongCode => (S::BAD_REQUEST, "invalid_user_code"),
        Error::WrongPassword | Error::InvalidRefreshToken => (S::BAD_REQUEST, "invalid_grant"),
        Error::SignInNeeded => (S::UNAUTHORIZED, "login_required"),
        Error::PayloadTooLarge => (S::PAYLOAD_TOO_LARGE, "payload_too_large"),
        Error::TooSlow => (S::REQUEST_TIMEOUT, "request_timeout"),
        Error::UnsupportedMediaType { .. } => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        Error::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::Misdirected => (S::MISDIRECTED_REQUEST, "misdirected_request"),
        Error::Busy | Error::Unavailable | Error::ReadOnly | Error::Unreachable { .. } => {
            (S::SERVICE_UNAVAILABLE, "temporarily_unavailable")
        }
        Error::Internal => (S::INTERNAL_SERVER_ERROR, "server_error"),
    }
}

/// What the agent does now, one sentence.
pub fn next(error: &Error, config: &Config) -> String {
    let register = || format!("Register again with POST {}/agent/identity and show your human the new code.", config.public_url);
    match error {
        Error::AuthorizationPending { interval } | Error::SlowDown { interval } => {
            format!("Wait {interval} seconds, then send the same request again; your human has not decided yet.")
        }
        Error::ExpiredToken { register: false } => {
            format!("The code is over: get a fresh one with POST {}/agent/identity/claim and show it to your human.", config.public_url)
        }
        Error::ExpiredToken { register: true } | Error::InvalidGrant | Error::InvalidClaimToken | Error::ClaimExpired => register(),
        Error::AccessDenied => "Your human said no. Stop, tell them so, and register again only if they ask you to.".to_owned(),
        Error::ClaimedOrInFlight { .. } => "Your human has the page open or has decided: go on polling the token endpoint.".to_owned(),
        Error::InvalidScope { available, .. } => format!("Ask only for scopes from this list: {available}."),
        Error::InvalidLoginHint => "Leave login_hint out, or give your human's e-mail address.".to_owned(),
        Error::UnsupportedType => "Send \"type\": \"service_auth\".".to_owned(),
        Error::UnsupportedGrantType => format!("Send grant_type={}.", CLAIM_GRANT),
        Error::TooManyAttempts { retry_after: Some(seconds) } | Error::TooMany { retry_after: seconds, .. } => {
            format!("Wait {seconds} seconds before you try again.")
        }
        Error::TooManyAttempts { retry_after: None } => register(),
        Error::RateLimited(_) | Error::TooSlow | Error::Busy | Error::Unavailable | Error::ReadOnly | Error::Unreachable { .. } => {
            "Wait a little, then send the same request again.".to_owned()
        }
        Error::Invalid { field, .. } => {
            format!("Correct `{field}` and send the request again; {}/auth.md shows how.", config.public_url)
        }
        Error::Malformed { .. }
        | Error::PayloadTooLarge
        | Error::UnsupportedMediaType { .. }
        | Error::MethodNotAllowed
        | Error::NotFound { .. }
        | Error::NoRoute => format!("Read {}/auth.md and send the request as it shows.", config.public_url),
        Error::CallerUnauthorized { .. } => {
            "Send a valid key of your own as Authorization: Bearer, or as the password of HTTP Basic with any user name.".to_owned()
        }
        Error::InsufficientScope { missing } => {
            format!("Send a key that has {missing}: `countersign keys create --scope …` makes one, and an agent asks its human for one.")
        }
        Error::Unauthorized { .. } => "Leave the Authorization header out, or send a key that is valid.".to_owned(),
        Error::Forbidden { .. }
        | Error::Conflict { .. }
        | Error::IdempotencyKeyReused
        | Error::WrongCode
        | Error::FreshCodeNeeded
        | Error::AlreadyDecided
        | Error::ReviewChanged
        | Error::WrongPassword
        | Error::InvalidRefreshToken
        | Error::SignInNeeded
        | Error::ForeignForm
        | Error::Misdirected
        | Error::Internal => "Tell your human what happened.".to_owned(),
    }
}

/// Status, machine code and message outside OAuth. The first message of the seeds' tables is letter for letter theirs.
pub fn api(error: &Error) -> (StatusCode, &'static str, String) {
    use StatusCode as S;
    let said = |status, code| (status, code, error.to_string());
    match error {
        Error::Invalid { .. }
        | Error::Malformed { .. }
        | Error::InvalidLoginHint
        | Error::UnsupportedGrantType
        | Error::UnsupportedType => said(S::BAD_REQUEST, "invalid_request"),
        Error::InvalidScope { .. } => said(S::BAD_REQUEST, "invalid_scope"),
        Error::InvalidGrant
        | Error::AuthorizationPending { .. }
        | Error::SlowDown { .. }
        | Error::ExpiredToken { .. }
        | Error::AccessDenied
        | Error::InvalidClaimToken
        | Error::ClaimExpired
        | Error::WrongCode
        | Error::WrongPassword
        | Error::InvalidRefreshToken => said(S::BAD_REQUEST, "invalid_grant"),
        Error::Unauthorized { .. } | Error::CallerUnauthorized { .. } | Error::SignInNeeded => {
            (S::UNAUTHORIZED, "unauthorized", "Invalid or missing API key".to_owned())
        }
        Error::InsufficientScope { .. } => (S::FORBIDDEN, "forbidden", "Insufficient permissions".to_owned()),
        Error::Forbidden { .. } | Error::ForeignForm => said(S::FORBIDDEN, "forbidden"),
        Error::NotFound { .. } | Error::NoRoute => said(S::NOT_FOUND, "not_found"),
        Error::Conflict { .. }
        | Error::AlreadyDecided
        | Error::ReviewChanged
        | Error::FreshCodeNeeded
        | Error::ClaimedOrInFlight { .. } => said(S::CONFLICT, "conflict"),
        Error::IdempotencyKeyReused => said(S::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
        Error::RateLimited(_) => (S::TOO_MANY_REQUESTS, "rate_limited", "Rate limit exceeded".to_owned()),
        Error::TooMany { .. } | Error::TooManyAttempts { .. } => said(S::TOO_MANY_REQUESTS, "rate_limited"),
        Error::PayloadTooLarge => said(S::PAYLOAD_TOO_LARGE, "payload_too_large"),
        Error::TooSlow => said(S::REQUEST_TIMEOUT, "request_timeout"),
        Error::UnsupportedMediaType { .. } => said(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        Error::MethodNotAllowed => said(S::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::Misdirected => said(S::MISDIRECTED_REQUEST, "misdirected_request"),
        Error::Busy | Error::Unavailable | Error::ReadOnly | Error::Unreachable { .. } => said(S::SERVICE_UNAVAILABLE, "unavailable"),
        Error::Internal => said(S::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// Code and next step. Exhaustive: a new error does not compile until it says what an agent should do.
pub fn words(error: &Error) -> (&'static str, String) {
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

/// The next step of an agent without a good key or claim.
pub const REGISTER: &str = "Call register_agent, show your human the link and code it returns, then call poll_claim.";

/// The next step where the fault is on this side.
pub const LATER: &str = "Wait a little, then call the tool again.";
