//! What a page says of each error, and what to do next.

use crate::api::{error::Error, error_catalogue::Row};
use axum::http::StatusCode;

/// What a human is told: what happened, and what to do now.
#[derive(Debug)]
pub struct ErrorText {
    pub status: StatusCode,
    pub title: &'static str,
    pub advice: String,
    /// The field of the form it is about.
    pub field: Option<String>,
    pub(crate) next: NextLink,
}

/// Where the page of an error leads.
#[derive(Debug, Clone, Copy)]
pub enum NextLink {
    Start,
    SignIn,
    EnterCode,
    Decision,
}

impl ErrorText {
    fn then(self, next: NextLink) -> Self {
        Self { next, ..self }
    }
}

fn error_text(status: StatusCode, title: &'static str, advice: impl Into<String>) -> ErrorText {
    ErrorText { status, title, advice: advice.into(), field: None, next: NextLink::Start }
}

/// An error, said on a page.
pub fn explain(error: &Error) -> ErrorText {
    ErrorText { field: Row::of(error).field.map(str::to_owned), ..words(error) }
}

/// The table: every error there is.
fn words(error: &Error) -> ErrorText {
    use StatusCode as S;
    match error {
        Error::Invalid { field, detail } => {
            error_text(S::BAD_REQUEST, "Please check what you entered", sentence(label_of(field), detail))
        }
        Error::Malformed { detail } => error_text(S::BAD_REQUEST, "That request was not readable", sentence("", detail)),
        Error::InvalidScope { detail, .. } => error_text(S::BAD_REQUEST, "Unknown permission", sentence("The request was refused:", detail)),
        Error::InvalidLoginHint => error_text(S::BAD_REQUEST, "That is not an e-mail address", "Write it like user@example.com."),
        Error::UnsupportedGrantType | Error::UnsupportedType => {
            error_text(S::BAD_REQUEST, "That is not supported here", "Programs find what is supported in /auth.md.")
        }
        Error::WrongCode => error_text(
            S::BAD_REQUEST,
            "That code is not valid",
            "It may be mistyped, expired or already used. Check it against what your agent shows, or ask your agent for a fresh one.",
        )
        .then(NextLink::EnterCode),
        Error::FreshCodeNeeded => error_text(
            S::CONFLICT,
            "Now a fresh code, please",
            "Many wrong codes are being entered here at the moment, so one code is not enough. If yours was right, it is noted. Ask your agent \
             for a fresh code and enter that one, too.",
        )
        .then(NextLink::EnterCode),
        Error::InvalidGrant | Error::InvalidRefreshToken | Error::InvalidClaimToken | Error::ClaimExpired | Error::ExpiredToken { .. } => {
            error_text(S::BAD_REQUEST, "This request is over", "Ask your agent to start again: it gets a fresh code.").then(NextLink::EnterCode)
        }
        Error::AuthorizationPending { .. } | Error::SlowDown { .. } => {
            error_text(S::BAD_REQUEST, "Nothing is decided yet", "Enter the code your agent shows, then approve or deny.").then(NextLink::EnterCode)
        }
        Error::AccessDenied => error_text(S::FORBIDDEN, "The request was denied", "If that was a mistake, ask your agent to start again."),
        Error::AlreadyDecided => error_text(
            S::CONFLICT,
            "This request is already decided",
            "The first decision counts and nothing changed now. To take an approval back, revoke the key.",
        )
        .then(NextLink::Decision),
        Error::ClaimedOrInFlight { .. } => {
            error_text(S::CONFLICT, "Somebody is deciding this request", "Wait a few minutes, or ask your agent for a fresh code.")
        }
        Error::ReviewChanged => error_text(
            S::CONFLICT,
            "The request changed while you were looking at it",
            "Nothing was decided. This is how it stands now: please look again before you decide.",
        ),
        Error::TooManyAttempts { .. } => {
            error_text(S::TOO_MANY_REQUESTS, "No further code for this request", "Ask your agent to start again in a moment.")
        }
        Error::Unauthorized { .. } | Error::CallerUnauthorized { .. } => {
            error_text(S::UNAUTHORIZED, "A key does not open this page", "Pages need you: sign in with your browser.").then(NextLink::SignIn)
        }
        Error::SignInNeeded => {
            error_text(S::UNAUTHORIZED, "Sign in to go on", "You are signed out, perhaps because of a long pause. Nothing was changed.")
                .then(NextLink::SignIn)
        }
        Error::PasswordNeeded => error_text(
            S::BAD_REQUEST,
            "Please check what you entered",
            "The password is needed again: you signed in more than five minutes ago.",
        ),
        Error::WrongPassword => error_text(
            S::UNAUTHORIZED,
            "E-mail or password is wrong",
            "Check both and try again. Whoever runs this service can set a new password for you.",
        ),
        Error::InsufficientScope { missing } => {
            error_text(S::FORBIDDEN, "That is not allowed", format!("It takes these permissions: {missing}."))
        }
        Error::Forbidden { detail } => error_text(S::FORBIDDEN, "That is not allowed", sentence("", detail)),
        Error::ForeignForm => error_text(
            S::FORBIDDEN,
            "This form can't be taken",
            "It is out of date, or it was sent from another site. Nothing was changed. Go back, reload the page and send it again.",
        ),
        Error::NotFound { what } => error_text(S::NOT_FOUND, "Not found", format!("There is no such {what}, or it is not yours.")),
        Error::NoRoute => error_text(S::NOT_FOUND, "Page not found", "The address may be mistyped, or the page has moved."),
        Error::MethodNotAllowed => error_text(S::METHOD_NOT_ALLOWED, "That does not work here", "Open the page with its link instead."),
        Error::Conflict { detail } => error_text(S::CONFLICT, "That can't be done now", sentence("", detail)),
        Error::IdempotencyKeyReused => error_text(S::CONFLICT, "That was sent already", "Open the page again and start over."),
        Error::TooMany { detail, .. } => error_text(S::TOO_MANY_REQUESTS, "Too many attempts", sentence("", detail)),
        Error::RateLimited(_) => error_text(S::TOO_MANY_REQUESTS, "Too many requests", "Wait a minute and try again."),
        Error::Busy => {
            error_text(S::SERVICE_UNAVAILABLE, "Busy right now", "Many people are signing in at this moment. Try again in a few seconds.")
        }
        Error::PayloadTooLarge => error_text(S::PAYLOAD_TOO_LARGE, "That is too long", "A form may hold at most 64 KiB."),
        Error::TooSlow => error_text(S::REQUEST_TIMEOUT, "That took too long", "The form did not arrive whole. Send it again."),
        Error::UnsupportedMediaType { expected } => {
            error_text(S::UNSUPPORTED_MEDIA_TYPE, "That form is not readable", format!("Forms are sent as {expected}."))
        }
        Error::Misdirected => error_text(S::MISDIRECTED_REQUEST, "Wrong address", "This server does not answer for that host name."),
        Error::Unavailable | Error::ReadOnly | Error::Unreachable { .. } => {
            error_text(S::SERVICE_UNAVAILABLE, "Not available right now", "Nothing was changed. Try again in a moment.")
        }
        Error::Internal => {
            error_text(S::INTERNAL_SERVER_ERROR, "Something went wrong on our side", "Try again. If it stays, tell whoever runs this service.")
        }
    }
}

/// `subject detail.`, starting with a capital and ending with a stop.
fn sentence(subject: &str, detail: &str) -> String {
    let text = format!("{subject} {detail}");
    let mut letters = text.trim().chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

/// The fields of all forms, as a sentence about them begins.
pub fn label_of(field: &str) -> &str {
    match field {
        "email" => "The e-mail",
        "password" => "The password",
        "current_password" => "The present password",
        "name" => "The name",
        "confirm" => "What you typed",
        "expires_in" => "The expiry",
        "requests_per_minute" => "The limit",
        "grace_seconds" => "How long the old key goes on",
        "code" => "The code",
        "scopes" => "Your choice of permissions",
        "lifetime" => "The lifetime",
        "environment" => "The environment",
        "same_code" => "The box",
        other => other,
    }
}
