//! How each error is told to programs: one row an error with its status, its code in each of the three languages (OAuth,
//! the API, MCP), what to do next over HTTP and as a tool, and what of it a program reads instead of the sentence.
//!
//! Exhaustive: a new error does not compile until it says all of that. Words for humans are the pages' own.

use crate::{
    api::{
        error::Error,
        next_step::{Step, ToolStep},
    },
    domain::scope::ScopeSet,
};
use hyper::StatusCode;

/// One error, for programs.
#[derive(Debug)]
pub struct Row<'a> {
    /// Towards OAuth's clients: RFC 6749 §5.2, RFC 8628 §3.5 and the agent-auth convention.
    pub oauth: (StatusCode, &'static str),
    /// The same in the API.
    pub api: (StatusCode, &'static str),
    /// The code of a tool's result.
    pub mcp: &'static str,
    /// What the API says in place of the error's own words: the first message of the seeds' tables is letter for letter theirs.
    pub message: Option<&'static str>,
    /// What an agent that calls over HTTP does now.
    pub next: Step<'a>,
    /// What a model that called a tool does now.
    pub tool: ToolStep<'a>,
    /// Which argument was wrong, by the name the request has for it.
    pub field: Option<&'a str>,
    /// What agents may ask for instead.
    pub available_scopes: Option<&'a ScopeSet>,
    /// What the key lacks.
    pub missing_scopes: Option<&'a ScopeSet>,
}

/// A status and the codes of OAuth, the API and MCP.
const fn row<'a>(status: StatusCode, [oauth, api, mcp]: [&'static str; 3], next: Step<'a>, tool: ToolStep<'a>) -> Row<'a> {
    Row {
        oauth: (status, oauth),
        api: (status, api),
        mcp,
        message: None,
        next,
        tool,
        field: None,
        available_scopes: None,
        missing_scopes: None,
    }
}

impl<'a> Row<'a> {
    const fn about(self, field: &'a str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// OAuth has a status of its own for it, the API has not.
    const fn api_status(self, status: StatusCode) -> Self {
        Self { api: (status, self.api.1), ..self }
    }

    const fn said(self, message: &'static str) -> Self {
        Self { message: Some(message), ..self }
    }

    /// The table.
    pub fn of(error: &'a Error) -> Self {
        use StatusCode as S;
        use Step as N;
        use ToolStep as T;
        const SEEDS_401: &str = "Invalid or missing API key";
        match error {
            Error::Invalid { field, .. } => {
                row(S::BAD_REQUEST, ["invalid_request", "invalid_request", "invalid_arguments"], N::Correct(field), T::Correct(field))
                    .about(field)
            }
            Error::Malformed { .. } => row(
                S::BAD_REQUEST,
                ["invalid_request", "invalid_request", "invalid_arguments"],
                N::ReadGuide,
                T::Say("Correct the arguments and call the tool again."),
            ),
            Error::InvalidScope { field, available, .. } => {
                let codes = ["invalid_scope", "invalid_scope", "invalid_scope"];
                let row = row(S::BAD_REQUEST, codes, N::AskOnlyFor(available), T::AskOnlyFor(available)).about(field);
                Row { available_scopes: Some(available), ..row }
            }
            Error::InvalidLoginHint => {
                row(S::BAD_REQUEST, ["invalid_login_hint", "invalid_request", "invalid_login_hint"], N::Say(LOGIN_HINT), T::Say(LOGIN_HINT))
                    .about("login_hint")
            }
            Error::UnsupportedGrantType => row(
                S::BAD_REQUEST,
                ["unsupported_grant_type", "invalid_request", "invalid_arguments"],
                N::ClaimGrant,
                T::Say("Correct the arguments and call the tool again."),
            )
            .about("grant_type"),
            Error::UnsupportedType => row(
                S::BAD_REQUEST,
                ["unsupported_identity_type", "invalid_request", "invalid_arguments"],
                N::Say("Send \"type\": \"service_auth\"."),
                T::Say("Correct the arguments and call the tool again."),
            )
            .about("type"),

            Error::InvalidGrant => row(S::BAD_REQUEST, ["invalid_grant", "invalid_grant", "claim_over"], N::Register, T::Say(REGISTER)),
            Error::AuthorizationPending { interval } => {
                row(S::BAD_REQUEST, ["authorization_pending", "invalid_grant", "pending"], N::Poll(*interval), T::Say(POLL))
            }
            Error::SlowDown { interval } => {
                row(S::BAD_REQUEST, ["slow_down", "invalid_grant", "pending"], N::Poll(*interval), T::Say(POLL))
            }
            Error::ExpiredToken { register } => {
                let next = if *register { N::Register } else { N::FreshCode };
                row(S::BAD_REQUEST, ["expired_token", "invalid_grant", "claim_over"], next, T::Say(REGISTER))
            }
            Error::AccessDenied => row(
                S::BAD_REQUEST,
                ["access_denied", "invalid_grant", "access_denied"],
                N::Say("Your human said no. Stop, tell them so, and register again only if they ask you to."),
                T::Say("Your human said no: stop, and register again only if they ask you to."),
            ),
            Error::InvalidClaimToken => {
                row(S::UNAUTHORIZED, ["invalid_claim_token", "invalid_grant", "claim_over"], N::Register, T::Say(REGISTER))
                    .api_status(S::BAD_REQUEST)
                    .about("claim_token")
            }
            Error::ClaimedOrInFlight { already } => row(
                S::CONFLICT,
                [if *already { "already_claimed" } else { "claimed_or_in_flight" }, "conflict", "claimed_or_in_flight"],
                N::Say("Your human has the page open or has decided: go on polling the token endpoint."),
                T::Say("Your human has the page open or has decided: call poll_claim."),
            ),
            Error::ClaimExpired => {
                row(S::GONE, ["claim_expired", "invalid_grant", "claim_over"], N::Register, T::Say(REGISTER)).api_status(S::BAD_REQUEST)
            }
            Error::TooManyAttempts { retry_after } => row(
                S::TOO_MANY_REQUESTS,
                ["too_many_attempts", "rate_limited", "rate_limit_exceeded"],
                retry_after.map_or(N::Register, N::Wait),
                T::wait(*retry_after),
            ),

            Error::Unauthorized { presented } => row(
                S::UNAUTHORIZED,
                ["invalid_token", "unauthorized", if *presented { "invalid_key" } else { "not_signed_in" }],
                N::Say("Leave the Authorization header out, or send a key that is valid."),
                T::Say(REGISTER),
            )
            .said(SEEDS_401),
            Error::CallerUnauthorized { basic, .. } => row(
                S::UNAUTHORIZED,
                [if *basic { "invalid_client" } else { "invalid_token" }, "unauthorized", "invalid_key"],
                N::Say("Send a valid key of your own as Authorization: Bearer, or as the password of HTTP Basic with any user name."),
                T::Say(REGISTER),
            )
            .said(SEEDS_401),
            Error::InvalidRefreshToken => {
                row(S::BAD_REQUEST, ["invalid_grant", "invalid_grant", "refused"], N::Say(TELL), T::Say(TELL)).about("refresh_token")
            }
            Error::InsufficientScope { missing } => {
                let codes = ["insufficient_scope", "forbidden", "insufficient_scope"];
                let row = row(S::FORBIDDEN, codes, N::SendKeyWith(missing), T::RegisterWith(missing)).said("Insufficient permissions");
                Row { missing_scopes: Some(missing), ..row }
            }
            Error::Forbidden { .. } => row(
                S::FORBIDDEN,
                ["forbidden", "forbidden", "forbidden"],
                N::Say(TELL),
                T::Say("Don't try again; tell your human what you wanted to do."),
            ),
            Error::NotFound { what } if what == "claim" => {
                row(S::NOT_FOUND, ["not_found", "not_found", "unknown_claim"], N::ReadGuide, T::Say(REGISTER))
            }
            Error::NotFound { .. } => row(S::NOT_FOUND, ["not_found", "not_found", "not_found"], N::ReadGuide, T::Say(LIST)),
            Error::Conflict { .. } => row(
                S::CONFLICT,
                ["conflict", "conflict", "conflict"],
                N::Say(TELL),
                T::Say("Do what it says and call the tool again; if you can't, tell your human."),
            ),
            Error::IdempotencyKeyReused => {
                row(S::UNPROCESSABLE_ENTITY, ["idempotency_key_reused", "idempotency_key_reused", "conflict"], N::Say(TELL), T::Say(TELL))
                    .about("Idempotency-Key")
            }

            Error::TooMany { retry_after, .. } => row(
                S::TOO_MANY_REQUESTS,
                ["rate_limit_exceeded", "rate_limited", "rate_limit_exceeded"],
                N::Wait(*retry_after),
                T::Wait(*retry_after),
            ),
            Error::RateLimited(limit) => row(
                S::TOO_MANY_REQUESTS,
                ["rate_limit_exceeded", "rate_limited", "rate_limit_exceeded"],
                N::Say(AGAIN),
                T::wait(limit.retry_after),
            )
            .said("Rate limit exceeded"),
            Error::Busy => row(S::SERVICE_UNAVAILABLE, UNAVAILABLE, N::Say(AGAIN), T::Say(LATER)),

            Error::WrongCode => {
                row(S::BAD_REQUEST, ["invalid_user_code", "invalid_grant", "refused"], N::Say(TELL), T::Say(TELL)).about("code")
            }
            Error::FreshCodeNeeded => row(S::CONFLICT, ["conflict", "conflict", "refused"], N::Say(TELL), T::Say(TELL)).about("code"),
            Error::AlreadyDecided => row(S::CONFLICT, ["conflict", "conflict", "conflict"], N::Say(TELL), T::Say(TELL)),
            Error::ReviewChanged => row(S::CONFLICT, ["conflict", "conflict", "conflict"], N::Say(TELL), T::Say(TELL)),
            Error::WrongPassword => {
                row(S::BAD_REQUEST, ["invalid_grant", "invalid_grant", "refused"], N::Say(TELL), T::Say(TELL)).about("password")
            }
            Error::PasswordNeeded => row(
                S::BAD_REQUEST,
                ["invalid_request", "invalid_request", "invalid_arguments"],
                N::Correct("password"),
                T::Correct("password"),
            )
            .about("password"),
            Error::SignInNeeded => {
                row(S::UNAUTHORIZED, ["login_required", "unauthorized", "refused"], N::Say(TELL), T::Say(TELL)).said(SEEDS_401)
            }
            Error::ForeignForm => row(S::FORBIDDEN, ["forbidden", "forbidden", "refused"], N::Say(TELL), T::Say(TELL)),

            Error::PayloadTooLarge => {
                row(S::PAYLOAD_TOO_LARGE, ["payload_too_large", "payload_too_large", "refused"], N::ReadGuide, T::Say(TELL))
            }
            Error::TooSlow => row(S::REQUEST_TIMEOUT, ["request_timeout", "request_timeout", "refused"], N::Say(AGAIN), T::Say(TELL)),
            Error::UnsupportedMediaType { .. } => {
                row(S::UNSUPPORTED_MEDIA_TYPE, ["unsupported_media_type", "unsupported_media_type", "refused"], N::ReadGuide, T::Say(TELL))
            }
            Error::NoRoute => row(S::NOT_FOUND, ["not_found", "not_found", "not_found"], N::ReadGuide, T::Say(LIST)),
            Error::MethodNotAllowed => {
                row(S::METHOD_NOT_ALLOWED, ["method_not_allowed", "method_not_allowed", "refused"], N::ReadGuide, T::Say(TELL))
            }
            Error::Misdirected => {
                row(S::MISDIRECTED_REQUEST, ["misdirected_request", "misdirected_request", "refused"], N::Say(TELL), T::Say(TELL))
            }
            Error::Unavailable => row(S::SERVICE_UNAVAILABLE, UNAVAILABLE, N::Say(AGAIN), T::Say(LATER)),
            Error::ReadOnly => row(S::SERVICE_UNAVAILABLE, UNAVAILABLE, N::Say(AGAIN), T::Say(LATER)),
            Error::Unreachable { .. } => row(
                S::SERVICE_UNAVAILABLE,
                UNAVAILABLE,
                N::Say(AGAIN),
                T::Say("Tell your human what happened; once the server answers, call the tool again."),
            ),
            Error::Internal => row(S::INTERNAL_SERVER_ERROR, ["server_error", "internal", "internal"], N::Say(TELL), T::Say(LATER)),
        }
    }
}

/// The next step of an agent without a good key or claim.
/// The way on for a model that has no key, or none that works.
pub const REGISTER: &str = "Call register_agent, show your human the link and code it returns, then call poll_claim.";

/// The next step where the fault is on this side.
/// The way on for a model where time helps.
pub const LATER: &str = "Wait a little, then call the tool again.";

const AGAIN: &str = "Wait a little, then send the same request again.";

const LIST: &str = "Call list_keys for the ids you can see.";

const LOGIN_HINT: &str = "Leave login_hint out, or give your human's e-mail address.";

const POLL: &str = "Call poll_claim again; your human has not decided.";

const TELL: &str = "Tell your human what happened.";

const UNAVAILABLE: [&str; 3] = ["temporarily_unavailable", "unavailable", "unavailable"];
