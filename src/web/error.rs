//! What went wrong, in words for humans: the pages' table of [`Error`], and the page that shows it.

use crate::{
    http::App,
    service::Error,
    web::{
        field,
        layout::{Width, guarded},
        session::Visitor,
    },
};
use axum::{
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};

/// An error on its way out of a handler; the layer around all pages puts it into words.
#[derive(Debug, Clone)]
pub struct Failure(pub Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = explain(&self.0).status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What handlers answer.
pub type Answer = Result<Response, Failure>;

/// What a human is told: what happened, and what to do now.
#[derive(Debug)]
pub struct Explained {
    pub status: StatusCode,
    pub title: &'static str,
    pub advice: String,
    /// The field of the form it is about.
    pub field: Option<String>,
    next: Next,
}

/// Where the page of an error leads.
#[derive(Debug, Clone, Copy)]
enum Next {
    Start,
    SignIn,
    EnterCode,
    Decision,
}

impl Explained {
    fn about(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    fn then(self, next: Next) -> Self {
        Self { next, ..self }
    }
}

fn told(status: StatusCode, title: &'static str, advice: impl Into<String>) -> Explained {
    Explained { status, title, advice: advice.into(), field: None, next: Next::Start }
}

/// The table: every error there is, said on a page.
pub fn explain(error: &Error) -> Explained {
    use StatusCode as S;
    match error {
        Error::Invalid { field, detail } => {
            told(S::BAD_REQUEST, "Please check what you entered", sentence(field::label_of(field), detail)).about(field)
        }
        Error::Malformed { detail } => told(S::BAD_REQUEST, "That request was not readable", sentence("", detail)),
        Error::InvalidScope { detail, .. } => told(S::BAD_REQUEST, "Unknown permission", sentence("The request was refused:", detail)),
        Error::InvalidLoginHint => told(S::BAD_REQUEST, "That is not an e-mail address", "Write it like user@example.com."),
        Error::UnsupportedGrantType | Error::UnsupportedType => {
            told(S::BAD_REQUEST, "That is not supported here", "Programs find what is supported in /auth.md.")
        }
        Error::WrongCode => told(
            S::BAD_REQUEST,
            "That code is not valid",
            "It may be mistyped, expired or already used. Check it against what your agent shows, or ask your agent for a fresh one.",
        )
        .about("code")
        .then(Next::EnterCode),
        Error::FreshCodeNeeded => told(
            S::CONFLICT,
            "Now a fresh code, please",
            "Many wrong codes are being entered here at the moment, so one code is not enough. If yours was right, it is noted. Ask your agent \
             for a fresh code and enter that one, too.",
        )
        .about("code")
        .then(Next::EnterCode),
        Error::InvalidGrant | Error::InvalidRefreshToken | Error::InvalidClaimToken | Error::ClaimExpired | Error::ExpiredToken { .. } => {
            told(S::BAD_REQUEST, "This request is over", "Ask your agent to start again: it gets a fresh code.").then(Next::EnterCode)
        }
        Error::AuthorizationPending { .. } | Error::SlowDown { .. } => {
            told(S::BAD_REQUEST, "Nothing is decided yet", "Enter the code your agent shows, then approve or deny.").then(Next::EnterCode)
        }
        Error::AccessDenied => told(S::FORBIDDEN, "The request was denied", "If that was a mistake, ask your agent to start again."),
        Error::AlreadyDecided => told(
            S::CONFLICT,
            "This request is already decided",
            "The first decision counts and nothing changed now. To take an approval back, revoke the key.",
        )
        .then(Next::Decision),
        Error::ClaimedOrInFlight { .. } => {
            told(S::CONFLICT, "Somebody is deciding this request", "Wait a few minutes, or ask your agent for a fresh code.")
        }
        Error::ReviewChanged => told(
            S::CONFLICT,
            "The request changed while you were looking at it",
            "Nothing was decided. This is how it stands now: please look again before you decide.",
        ),
        Error::TooManyAttempts { .. } => {
            told(S::TOO_MANY_REQUESTS, "No further code for this request", "Ask your agent to start again in a moment.")
        }
        Error::Unauthorized { .. } | Error::CallerUnauthorized { .. } => {
            told(S::UNAUTHORIZED, "A key does not open this page", "Pages need you: sign in with your browser.").then(Next::SignIn)
        }
        Error::SignInNeeded => {
            told(S::UNAUTHORIZED, "Sign in to go on", "You are signed out, perhaps because of a long pause. Nothing was changed.")
                .then(Next::SignIn)
        }
        Error::WrongPassword => told(
            S::UNAUTHORIZED,
            "E-mail or password is wrong",
            "Check both and try again. Whoever runs this service can set a new password for you.",
        )
        .about("password"),
        Error::InsufficientScope { missing } => {
            told(S::FORBIDDEN, "That is not allowed", format!("It takes these permissions: {missing}."))
        }
        Error::Forbidden { detail } => told(S::FORBIDDEN, "That is not allowed", sentence("", detail)),
        Error::ForeignForm => told(
            S::FORBIDDEN,
            "This form can't be taken",
            "It is out of date, or it was sent from another site. Nothing was changed. Go back, reload the page and send it again.",
        ),
        Error::NotFound { what } => told(S::NOT_FOUND, "Not found", format!("There is no such {what}, or it is not yours.")),
        Error::NoRoute => told(S::NOT_FOUND, "Page not found", "The address may be mistyped, or the page has moved."),
        Error::MethodNotAllowed => told(S::METHOD_NOT_ALLOWED, "That does not work here", "Open the page with its link instead."),
        Error::Conflict { detail } => told(S::CONFLICT, "That can't be done now", sentence("", detail)),
        Error::IdempotencyKeyReused => told(S::CONFLICT, "That was sent already", "Open the page again and start over."),
        Error::TooMany { detail, .. } => told(S::TOO_MANY_REQUESTS, "Too many attempts", sentence("", detail)),
        Error::RateLimited(_) => told(S::TOO_MANY_REQUESTS, "Too many requests", "Wait a minute and try again."),
        Error::Busy => {
            told(S::SERVICE_UNAVAILABLE, "Busy right now", "Many people are signing in at this moment. Try again in a few seconds.")
        }
        Error::PayloadTooLarge => told(S::PAYLOAD_TOO_LARGE, "That is too long", "A form may hold at most 64 KiB."),
        Error::TooSlow => told(S::REQUEST_TIMEOUT, "That took too long", "The form did not arrive whole. Send it again."),
        Error::UnsupportedMediaType { expected } => {
            told(S::UNSUPPORTED_MEDIA_TYPE, "That form is not readable", format!("Forms are sent as {expected}."))
        }
        Error::Misdirected => told(S::MISDIRECTED_REQUEST, "Wrong address", "This server does not answer for that host name."),
        Error::Unavailable | Error::ReadOnly | Error::Unreachable { .. } => {
            told(S::SERVICE_UNAVAILABLE, "Not available right now", "Nothing was changed. Try again in a moment.")
        }
        Error::Internal => {
            told(S::INTERNAL_SERVER_ERROR, "Something went wrong on our side", "Try again. If it stays, tell whoever runs this service.")
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

/// `Retry-After`, where waiting helps.
pub fn with_retry_after(mut response: Response, error: &Error) -> Response {
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The page for an error no form can show.
pub fn show(visitor: &Visitor, error: &Error) -> Response {
    let Explained { status, title, advice, next, .. } = explain(error);
    let content = html! {
        section.panel {
            h1 { (title) }
            p { (advice) }
            (way_forward(visitor, next))
        }
    };
    with_retry_after(visitor.page(status, Width::Card, title, &content), error)
}

fn way_forward(visitor: &Visitor, next: Next) -> Markup {
    let (href, label) = match next {
        Next::SignIn => (visitor.sign_in_url(), "Sign in"),
        Next::EnterCode => ("/claim".to_owned(), "Enter a code"),
        Next::Decision => (format!("{}/done", visitor.path), "See what was decided"),
        Next::Start if visitor.signed_in.is_some() => ("/settings/keys".to_owned(), "Your keys"),
        Next::Start => ("/".to_owned(), "Start page"),
    };
    html! { p.actions { a.button href=(href) { (label) } } }
}

/// The same page for whatever is refused before a page is reached.
pub fn error_page(app: &App, parts: &Parts, error: &Error) -> Response {
    guarded(show(&Visitor::nobody(app, parts), error))
}
