//! The credential a request presents, read once and in one way.

use crate::{
    api::{error::Error, verification::RateLimit},
    domain::{
        pasted::{self, Said},
        secret::ApiKey,
        source::Source,
    },
    http::{error::HttpError, extract::client_address::source_of, openapi::describe, rate_limit_headers::LimitSlot},
    service::{
        caller::{Caller, Requirements},
        services::App,
    },
};
use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// The key a request presents, if any.
pub struct Presented {
    key: Option<ApiKey>,
    source: Source,
    slot: LimitSlot,
}

impl FromRequestParts<App> for Presented {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HttpError> {
        let slot = parts.extensions.get::<LimitSlot>().cloned().unwrap_or_default();
        Ok(Self { key: presented(&parts.headers, app.context.config.auth.extra_headers)?, source: source_of(parts, app), slot })
    }
}

impl OperationInput for Presented {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        operation.security.push([("bearer".to_owned(), Vec::new())].into_iter().collect());
        let full = RateLimit { limit: 10, remaining: 0, reset: 1_795_262_460, retry_after: Some(6) };
        describe::note(operation, &[Error::Unauthorized { presented: true }, Error::RateLimited(full), two_credentials()]);
    }
}

impl Presented {
    pub fn key(&self) -> Option<&ApiKey> {
        self.key.as_ref()
    }

    /// Lets the caller in, or says why not.
    pub async fn admit(&self, app: &App, need: &Requirements) -> Result<Caller, HttpError> {
        let answer = app.verifier.authenticate_from(self.key(), need, Some(self.source)).await;
        let standing = match (&answer, &self.key) {
            (Ok(caller), _) => caller.ratelimit,
            (Err(Error::RateLimited(limit)), _) => Some(*limit),
            (Err(Error::InsufficientScope { .. }), Some(key)) => app.verifier.rate_limit_status(key).await?,
            _ => None,
        };
        if let Some(standing) = standing {
            let _ = self.slot.0.set((standing, app.context.runtime.now().as_second()));
        }
        Ok(answer?)
    }
}

/// Who calls an OAuth endpoint: a key, presented as everywhere or, as OAuth's clients do, as the password of HTTP Basic.
pub struct Client {
    presented: Result<Presented, Error>,
    basic: bool,
}

impl FromRequestParts<App> for Client {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HttpError> {
        let found = presented(&parts.headers, app.context.config.auth.extra_headers);
        let (found, basic) = match (found, basic(&parts.headers)) {
            (Ok(None), Some(found)) => (found.map(Some), true),
            (found, _) => (found, false),
        };
        let slot = parts.extensions.get::<LimitSlot>().cloned().unwrap_or_default();
        Ok(Self { presented: found.map(|key| Presented { key, source: source_of(parts, app), slot }), basic })
    }
}

impl Client {
    /// Lets the caller in, or says how to come.
    pub async fn admit(self, app: &App, need: &Requirements) -> Result<Caller, HttpError> {
        let admitted = match &self.presented {
            Ok(presented) => presented.admit(app, need).await.map_err(|HttpError(error)| error),
            Err(error) => Err(error.clone()),
        };
        admitted.map_err(|error| match error {
            Error::Unauthorized { presented } => HttpError(Error::CallerUnauthorized { presented, basic: self.basic }),
            error => HttpError(error),
        })
    }
}

impl OperationInput for Client {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        Presented::operation_input(context, operation);
        operation.security.push([("basic".to_owned(), Vec::new())].into_iter().collect());
        describe::note(operation, &[Error::CallerUnauthorized { presented: true, basic: true }]);
    }
}

/// The same where nobody need be known: a wrong password is told, a key in another place is not looked at.
pub struct MaybeClient(Client);

impl FromRequestParts<App> for MaybeClient {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HttpError> {
        Client::from_request_parts(parts, app).await.map(Self)
    }
}

impl MaybeClient {
    pub async fn check(self, app: &App) -> Result<(), HttpError> {
        if self.0.basic { self.0.admit(app, &Requirements::default()).await.map(|_| ()) } else { Ok(()) }
    }
}

impl OperationInput for MaybeClient {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        operation.security.push(Default::default());
        operation.security.push([("basic".to_owned(), Vec::new())].into_iter().collect());
        describe::note(operation, &[Error::CallerUnauthorized { presented: true, basic: true }]);
    }
}

/// The key that is the password of HTTP Basic (RFC 7617), both halves form-encoded (RFC 6749 §2.3.1). `None`: there is no
/// such header, or the password stands for nothing, as that of a client without one.
pub fn basic(headers: &HeaderMap) -> Option<Result<ApiKey, Error>> {
    const WRONG: Error = Error::Unauthorized { presented: true };
    let values = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    let mut pairs = values.filter_map(|value| value.trim_matches(pasted::came_along).split_once(pasted::came_along));
    let (_, encoded) = pairs.find(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))?;
    let Ok(decoded) = LENIENT.decode(encoded.trim_matches(pasted::came_along)).map(Zeroizing::new) else { return Some(Err(WRONG)) };
    let Some((_, password)) = std::str::from_utf8(&decoded).ok().and_then(|pair| pair.split_once(':')) else { return Some(Err(WRONG)) };
    // As the one value of a form without names; a key holds none of its separators.
    let form = Zeroizing::new(format!("={password}"));
    let value = Zeroizing::new(form_urlencoded::parse(form.as_bytes()).map(|(_, value)| value).collect::<Vec<_>>().join("&"));
    match pasted::said(&value) {
        Said::Token(token) => Some(ApiKey::presented(token).ok_or(WRONG)),
        Said::Nothing | Said::Reference => None,
    }
}

/// With or without the padding that some leave out.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Reads `Authorization: Bearer`, and with `extra` also `ApiKey` and `X-API-Key`. Two credentials at once are
/// ambiguous: 400 (RFC 6750 §2). A credential in a form no key has is presented all the same, and invalid. What stands
/// for no value ([`pasted::said`]) is none, and neither is another scheme, which a proxy on the way may have put there.
pub fn presented(headers: &HeaderMap, extra: bool) -> Result<Option<ApiKey>, Error> {
    let (mut found, mut foreign) = (None, 0);
    let find = |found: &mut Option<_>, token| if found.replace(token).is_some() { Err(two_credentials()) } else { Ok(()) };
    for value in headers.get_all(header::AUTHORIZATION) {
        match authorization(text(value)?, extra)? {
            Authorization::Nothing => {}
            Authorization::Foreign => foreign += 1,
            Authorization::Ours(token) => find(&mut found, token)?,
        }
    }
    // A proxy has one `Authorization` of its own. Two are a client's, who may mean either.
    if foreign > usize::from(found.is_none()) {
        return Err(two_credentials());
    }
    if extra {
        static NAME: HeaderName = HeaderName::from_static("x-api-key");
        for value in headers.get_all(&NAME) {
            if let Said::Token(token) = pasted::said(text(value)?) {
                find(&mut found, token)?;
            }
        }
    }
    found.map(|token| ApiKey::presented(token).ok_or(Error::Unauthorized { presented: true })).transpose()
}

/// What is pasted into a header need not be ASCII.
fn text(value: &HeaderValue) -> Result<&str, Error> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| Error::Unauthorized { presented: true })
}

/// What one `Authorization` header holds.
enum Authorization<'a> {
    Nothing,
    Ours(&'a str),
    /// Another scheme.
    Foreign,
}

fn authorization(value: &str, extra: bool) -> Result<Authorization<'_>, Error> {
    let value = value.trim_matches(pasted::came_along);
    let (scheme, rest) = value.split_once(pasted::came_along).unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") || (extra && scheme.eq_ignore_ascii_case("apikey")) {
        return Ok(match pasted::said(rest) {
            Said::Token(token) => Authorization::Ours(token),
            Said::Nothing | Said::Reference => Authorization::Nothing,
        });
    }
    // The whole header may be the placeholder.
    if !matches!(pasted::said(value), Said::Token(_)) {
        return Ok(Authorization::Nothing);
    }
    // No scheme is so long or has such characters: it is a key that was sent without one.
    if rest.is_empty() && (scheme.len() > 24 || scheme.contains(['_', '.'])) {
        return Err(Error::Unauthorized { presented: true });
    }
    Ok(Authorization::Foreign)
}

fn two_credentials() -> Error {
    Error::Malformed { detail: "two credentials in one request: send one".to_owned() }
}
