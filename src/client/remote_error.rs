//! What a server elsewhere answered, read back: the errors behind its refusals, and its limits.

use crate::{
    api::{error::Error, verification::RateLimit},
    domain::{pasted, registration::poll, scope::ScopeSet},
};
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde_json::{Map, Value};

/// Seconds: nobody is told to wait longer than for tomorrow.
const MAX_WAIT_SECONDS: u64 = 24 * 60 * 60;

/// The limit as its headers tell it; none of them, no limit.
pub fn rate_limit(headers: &HeaderMap) -> Option<RateLimit> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse().ok();
    Some(RateLimit {
        limit: number("x-ratelimit-limit")?,
        remaining: number("x-ratelimit-remaining")?,
        reset: headers.get("x-ratelimit-reset")?.to_str().ok()?.parse().ok()?,
        retry_after: None,
    })
}

/// The error behind a refusal, in any envelope: OAuth's, flat, nested, or a problem.
pub fn refusal(status: StatusCode, headers: &HeaderMap, said: &Map<String, Value>) -> Error {
    let inner = said.get("error").and_then(Value::as_object).unwrap_or(said);
    let text = |name: &str| inner.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| inner.get(name).and_then(Value::as_u64);
    let interval = poll::told(number("interval"));
    let code = if text("code").is_empty() { text("error") } else { text("code") };
    let said = [text("error_description"), text("detail"), text("message"), text("error")];
    // Somebody else's words: as many as a refusal takes.
    let detail = said.into_iter().find(|text| !text.is_empty()).unwrap_or("refused");
    let detail: String = detail.chars().filter(|c| !c.is_control()).take(500).collect();
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(|wait: u64| wait.min(MAX_WAIT_SECONDS));
    match code {
        "invalid_grant" => Error::InvalidGrant,
        "authorization_pending" => Error::AuthorizationPending { interval },
        "slow_down" => Error::SlowDown { interval },
        "expired_token" => Error::ExpiredToken { register: text("retry") != "claim" },
        "access_denied" => Error::AccessDenied,
        "invalid_claim_token" => Error::InvalidClaimToken,
        "claimed_or_in_flight" | "already_claimed" => Error::ClaimedOrInFlight { already: code == "already_claimed" },
        "claim_expired" => Error::ClaimExpired,
        "too_many_attempts" => Error::TooManyAttempts { retry_after: wait },
        "invalid_login_hint" => Error::InvalidLoginHint,
        "unsupported_grant_type" => Error::UnsupportedGrantType,
        "unsupported_identity_type" => Error::UnsupportedType,
        "invalid_scope" => invalid_scope(inner, &detail),
        _ => match status {
            StatusCode::UNAUTHORIZED => Error::Unauthorized { presented: true },
            StatusCode::FORBIDDEN => match inner.get("missing_scopes").cloned().map(serde_json::from_value) {
                Some(Ok(missing)) => Error::InsufficientScope { missing },
                _ => Error::Forbidden { detail },
            },
            StatusCode::NOT_FOUND => Error::not_found("key"),
            StatusCode::CONFLICT => Error::Conflict { detail },
            StatusCode::TOO_MANY_REQUESTS => Error::TooMany { detail, retry_after: wait.unwrap_or(60) },
            StatusCode::MISDIRECTED_REQUEST => Error::Unreachable { detail },
            status if status.is_server_error() => Error::Unavailable,
            _ => match field(inner).or_else(|| field_said(&detail)) {
                Some(field) => {
                    let said = detail.strip_prefix(&format!("`{field}` ")).unwrap_or(&detail).to_owned();
                    Error::invalid(field, said)
                }
                None => Error::Malformed { detail },
            },
        },
    }
}

/// Which argument a refusal is about.
fn field(said: &Map<String, Value>) -> Option<String> {
    let field = said.get("field").and_then(Value::as_str).filter(|field| !field.is_empty() && !field.chars().any(char::is_control))?;
    Some(pasted::name(field).into_owned())
}

/// The same of a server of before there was such a member: it began its sentence with the name.
fn field_said(detail: &str) -> Option<String> {
    detail.strip_prefix('`').and_then(|rest| rest.split_once("` ")).map(|(field, _)| field.to_owned())
}

fn invalid_scope(said: &Map<String, Value>, detail: &str) -> Error {
    const LISTED: &str = "; agents may ask for: ";
    let (detail, listed) = detail.split_once(LISTED).unwrap_or((detail, ""));
    // A server of before there was such a member listed them in its sentence alone.
    let available = match said.get("available_scopes").cloned().map(serde_json::from_value) {
        Some(Ok(available)) => available,
        _ => ScopeSet::parse(listed).unwrap_or_default(),
    };
    Error::invalid_scope(detail, available)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_server_that_names_no_pause_is_asked_at_the_usual_one() {
        for code in ["slow_down", "authorization_pending"] {
            for (said, interval) in [
                (json!({"error": code, "interval": 0}), 5),
                (json!({"error": code}), 5),
                (json!({"error": code, "interval": -3}), 5),
                (json!({"error": code, "interval": "soon"}), 5),
                (json!({"error": code, "interval": 1_000_000}), 5),
                (json!({"error": code, "interval": 20}), 20),
            ] {
                let Value::Object(map) = &said else { continue };
                let error = refusal(StatusCode::BAD_REQUEST, &HeaderMap::new(), map);
                let told = match error {
                    Error::SlowDown { interval } | Error::AuthorizationPending { interval } => interval,
                    _ => 0,
                };
                assert_eq!(told, interval, "{said}");
            }
        }
    }
}
