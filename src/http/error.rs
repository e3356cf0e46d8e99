//! What went wrong, in the words of each family of endpoints. A handler returns [`Failed`]; the family's edge
//! gives it its envelope. Both tables are exhaustive: a new error does not compile until each says what it is.

use crate::{config::Profile, http::App, service::Error};
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// An error on its way to the edge.
pub struct Failed(pub Error);

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// Browsers get a page, programs the envelope.
pub async fn no_route(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if super::guard::wants_page(&parts.headers) {
        crate::web::error_page(&app, &parts, &Error::NoRoute)
    } else {
        Failed(Error::NoRoute).into_response()
    }
}

pub async fn method_not_allowed() -> Failed {
    Failed(Error::MethodNotAllowed)
}

/// Status and code of RFC 6749 §5.2, RFC 8628 §3.5 and the agent-auth convention.
fn oauth(error: &Error) -> (StatusCode, &'static str) {
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
        Error::Unauthorized { .. } => (S::UNAUTHORIZED, "invalid_token"),
        Error::InsufficientScope { .. } => (S::FORBIDDEN, "insufficient_scope"),
        Error::Forbidden { .. } | Error::ForeignForm => (S::FORBIDDEN, "forbidden"),
        Error::NotFound { .. } | Error::NoRoute => (S::NOT_FOUND, "not_found"),
        Error::Conflict { .. } | Error::AlreadyDecided | Error::ReviewChanged => (S::CONFLICT, "conflict"),
        Error::TooMany { .. } | Error::RateLimited(_) => (S::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
        Error::WrongCode => (S::BAD_REQUEST, "invalid_user_code"),
        Error::WrongPassword => (S::BAD_REQUEST, "invalid_grant"),
        Error::SignInNeeded => (S::UNAUTHORIZED, "login_required"),
        Error::PayloadTooLarge => (S::PAYLOAD_TOO_LARGE, "payload_too_large"),
        Error::UnsupportedMediaType { .. } => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        Error::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::Misdirected => (S::MISDIRECTED_REQUEST, "misdirected_request"),
        Error::Busy | Error::Unavailable | Error::Unreachable { .. } => (S::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
        Error::Internal => (S::INTERNAL_SERVER_ERROR, "server_error"),
    }
}

/// What the agent does now, one sentence.
fn next(error: &Error, app: &App) -> String {
    let register = || format!("Register again with POST {}/agent/identity and show your human the new code.", app.config.public_url);
    match error {
        Error::AuthorizationPending { interval } | Error::SlowDown { interval } => {
            format!("Wait {interval} seconds, then send the same request again; your human has not decided yet.")
        }
        Error::ExpiredToken { register: false } => {
            format!("The code is over: get a fresh one with POST {}/agent/identity/claim and show it to your human.", app.config.public_url)
        }
        Error::ExpiredToken { register: true } | Error::InvalidGrant | Error::InvalidClaimToken | Error::ClaimExpired => register(),
        Error::AccessDenied => "Your human said no. Stop, tell them so, and register again only if they ask you to.".to_owned(),
        Error::ClaimedOrInFlight { .. } => "Your human has the page open or has decided: go on polling the token endpoint.".to_owned(),
        Error::InvalidScope { available, .. } => format!("Ask only for scopes from this list: {available}."),
        Error::InvalidLoginHint => "Leave login_hint out, or give your human's e-mail address.".to_owned(),
        Error::UnsupportedType => "Send \"type\": \"service_auth\".".to_owned(),
        Error::UnsupportedGrantType => format!("Send grant_type={}.", super::token::CLAIM_GRANT),
        Error::TooManyAttempts { retry_after: Some(seconds) } | Error::TooMany { retry_after: seconds, .. } => {
            format!("Wait {seconds} seconds before you try again.")
        }
        Error::TooManyAttempts { retry_after: None } => register(),
        Error::RateLimited(_) | Error::Busy | Error::Unavailable | Error::Unreachable { .. } => {
            "Wait a little, then send the same request again.".to_owned()
        }
        Error::Invalid { field, .. } => {
            format!("Correct `{field}` and send the request again; {}/auth.md shows how.", app.config.public_url)
        }
        Error::Malformed { .. }
        | Error::PayloadTooLarge
        | Error::UnsupportedMediaType { .. }
        | Error::MethodNotAllowed
        | Error::NotFound { .. }
        | Error::NoRoute => format!("Read {}/auth.md and send the request as it shows.", app.config.public_url),
        Error::Unauthorized { .. } | Error::InsufficientScope { .. } => {
            "Leave the Authorization header out, or send a key that is valid.".to_owned()
        }
        Error::Forbidden { .. }
        | Error::Conflict { .. }
        | Error::WrongCode
        | Error::AlreadyDecided
        | Error::ReviewChanged
        | Error::WrongPassword
        | Error::SignInNeeded
        | Error::ForeignForm
        | Error::Misdirected
        | Error::Internal => "Tell your human what happened.".to_owned(),
    }
}

/// Status, machine code and message outside OAuth. The first message of the seeds' tables is letter for letter theirs.
fn api(error: &Error) -> (StatusCode, &'static str, String) {
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
        | Error::WrongPassword => said(S::BAD_REQUEST, "invalid_grant"),
        Error::Unauthorized { .. } | Error::SignInNeeded => (S::UNAUTHORIZED, "unauthorized", "Invalid or missing API key".to_owned()),
        Error::InsufficientScope { .. } => (S::FORBIDDEN, "forbidden", "Insufficient permissions".to_owned()),
        Error::Forbidden { .. } | Error::ForeignForm => said(S::FORBIDDEN, "forbidden"),
        Error::NotFound { .. } | Error::NoRoute => said(S::NOT_FOUND, "not_found"),
        Error::Conflict { .. } | Error::AlreadyDecided | Error::ReviewChanged | Error::ClaimedOrInFlight { .. } => {
            said(S::CONFLICT, "conflict")
        }
        Error::RateLimited(_) => (S::TOO_MANY_REQUESTS, "rate_limited", "Rate limit exceeded".to_owned()),
        Error::TooMany { .. } | Error::TooManyAttempts { .. } => said(S::TOO_MANY_REQUESTS, "rate_limited"),
        Error::PayloadTooLarge => said(S::PAYLOAD_TOO_LARGE, "payload_too_large"),
        Error::UnsupportedMediaType { .. } => said(S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        Error::MethodNotAllowed => said(S::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::Misdirected => said(S::MISDIRECTED_REQUEST, "misdirected_request"),
        Error::Busy | Error::Unavailable | Error::Unreachable { .. } => said(S::SERVICE_UNAVAILABLE, "unavailable"),
        Error::Internal => said(S::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// `{"error": …, "error_description": …, "next": …}` for `/agent/*` and `/oauth2/*`.
pub async fn oauth_envelope(State(app): State<App>, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(error) = parts.extensions.remove::<Error>() else { return Response::from_parts(parts, body) };
    let (status, code) = oauth(&error);
    let mut body = json!({"error": code, "error_description": description(&error), "next": next(&error, &app)});
    match &error {
        Error::ExpiredToken { register } => body["retry"] = json!(if *register { "register" } else { "claim" }),
        Error::AuthorizationPending { interval } | Error::SlowDown { interval } => body["interval"] = json!(interval),
        _ => {}
    }
    finish(status, "application/json", &body, &error, &app)
}

/// RFC 6749 §5.2 allows only some of ASCII in a description.
fn description(error: &Error) -> String {
    error.to_string().chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '\'' }).collect()
}

/// The configured profile's envelope, everywhere else.
pub async fn profile_envelope(State(app): State<App>, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(error) = parts.extensions.remove::<Error>() else { return Response::from_parts(parts, body) };
    let (status, code, message) = api(&error);
    let missing = match &error {
        Error::InsufficientScope { missing } => Some(missing),
        _ => None,
    };
    let mut more = Map::new();
    if let Some(missing) = missing {
        more.insert("missing_scopes".to_owned(), json!(missing));
    }
    let (kind, body) = match app.config.profile {
        Profile::Flat => {
            let mut body = Map::from_iter([
                ("success".to_owned(), json!(false)),
                ("error".to_owned(), json!(message)),
                ("code".to_owned(), json!(code)),
            ]);
            if let Some(wait) = error.retry_after().filter(|_| status == StatusCode::TOO_MANY_REQUESTS) {
                body.insert("retryAfter".to_owned(), json!(wait));
            }
            body.extend(more);
            ("application/json", Value::Object(body))
        }
        Profile::Nested if status == StatusCode::UNAUTHORIZED => {
            ("application/json", json!({"error": {"code": "unauthorized", "message": "Unauthorized"}}))
        }
        Profile::Nested => {
            let mut inner = Map::from_iter([("code".to_owned(), json!(code)), ("message".to_owned(), json!(message))]);
            if let Some(wait) = error.retry_after().filter(|_| status == StatusCode::TOO_MANY_REQUESTS) {
                inner.insert("retry_after".to_owned(), json!(wait));
            }
            inner.extend(more);
            ("application/json", json!({"error": inner}))
        }
        Profile::Problem => {
            let title = status.canonical_reason().unwrap_or("Error");
            let mut body = Map::from_iter([
                ("type".to_owned(), json!("about:blank")),
                ("title".to_owned(), json!(title)),
                ("status".to_owned(), json!(status.as_u16())),
                ("detail".to_owned(), json!(message)),
                ("code".to_owned(), json!(code)),
            ]);
            if let Some(wait) = error.retry_after().filter(|_| status == StatusCode::TOO_MANY_REQUESTS) {
                body.insert("retry_after".to_owned(), json!(wait));
            }
            body.extend(more);
            ("application/problem+json", Value::Object(body))
        }
    };
    let mut finished = finish(status, kind, &body, &error, &app);
    // What the layers inside had to say, such as the rate limit, still holds.
    for (name, value) in &parts.headers {
        if name.as_str().contains("ratelimit") {
            finished.headers_mut().append(name, value.clone());
        }
    }
    finished
}

fn finish(status: StatusCode, kind: &'static str, body: &Value, error: &Error, app: &App) -> Response {
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    if let Some(challenge) = challenge(error, &format!("{}/.well-known/oauth-protected-resource", app.config.public_url)) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// RFC 6750 §3 and RFC 9728 §5.1: where the metadata is, and `error` only where a credential came.
pub fn challenge(error: &Error, metadata: &str) -> Option<HeaderValue> {
    let text = match error {
        Error::Unauthorized { presented: false } => format!("Bearer resource_metadata=\"{metadata}\""),
        Error::Unauthorized { presented: true } => format!("Bearer error=\"invalid_token\", resource_metadata=\"{metadata}\""),
        Error::InsufficientScope { missing } => {
            format!("Bearer error=\"insufficient_scope\", scope=\"{missing}\", resource_metadata=\"{metadata}\"")
        }
        _ => return None,
    };
    HeaderValue::from_str(&text).ok()
}
