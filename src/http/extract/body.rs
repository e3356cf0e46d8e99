//! What requests say, strictly: one type, one size, no member twice, errors that name the field.

use crate::{
    api::error::Error,
    http::{
        error::HttpError,
        extract::{
            members::{known, nothing_in_the_address},
            params::{form_members, typed},
            strict_json::{Name, Strict},
        },
        openapi::describe,
    },
    service::services::App,
};
use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{Operation, ReferenceOr},
};
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use schemars::JsonSchema;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use std::{future::poll_fn, iter::successors, marker::PhantomData, pin::Pin};

/// Fields that are ours to set. A caller that sends one gets 400 rather than a silent nothing (CVE-2025-61928 class).
const OURS: [&str; 10] =
    ["account_id", "user_id", "registration_id", "key_id", "status", "plan", "rate_limit", "expires_at", "approved_by", "operator"];

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A JSON object.
pub struct JsonBody<T>(pub T);

/// The same, still to be read.
pub struct JsonText<T>(Bytes, PhantomData<T>);

/// A function's arguments: a JSON object, or nothing at all. `key_id` is one of them, and not ours to set.
pub struct FunctionBody<T>(pub T);

/// A JSON object of an operator's service, which also says on what plan its user is.
pub struct OperatorBody<T>(pub T);

/// A JSON object or a form, as the OAuth endpoints take both.
pub struct AnyBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &App) -> Result<Self, HttpError> {
        Ok(Self(read(request, false, &[]).await?))
    }
}

impl<T: DeserializeOwned + Send> FromRequest<App> for JsonText<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &App) -> Result<Self, HttpError> {
        kind(request.headers(), false)?;
        nothing_in_the_address::<T>(request.uri().query())?;
        Ok(Self(whole(request.into_body()).await?, PhantomData))
    }
}

impl<T: DeserializeOwned> JsonText<T> {
    /// What `T` says, by a type that may borrow and has to deny members it does not know (`deny_unknown_fields`): then no
    /// member is there twice and none is ours to set, in one look. `None`: it takes [`Self::read`].
    pub fn exactly<'a, E: Deserialize<'a>>(&'a self) -> Option<E> {
        // A list is no object, whatever serde makes of it.
        let object = self.0.trim_ascii_start().starts_with(b"{");
        object.then(|| serde_json::from_slice(&self.0).ok()).flatten()
    }

    pub fn read(&self) -> Result<T, Error> {
        json(&self.0, &[])
    }
}

impl<T: DeserializeOwned + Default> FromRequest<App> for FunctionBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &App) -> Result<Self, HttpError> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        nothing_in_the_address::<T>(parts.uri.query())?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let request = Request::from_parts(parts, bytes.into());
        Ok(Self(read(request, false, &["key_id"]).await?))
    }
}

impl<T: DeserializeOwned> FromRequest<App> for OperatorBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &App) -> Result<Self, HttpError> {
        Ok(Self(read(request, false, &["plan"]).await?))
    }
}

impl<T: DeserializeOwned> FromRequest<App> for AnyBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &App) -> Result<Self, HttpError> {
        Ok(Self(read(request, true, &[]).await?))
    }
}

impl<T: JsonSchema> OperationInput for JsonBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        describe::body::<T>(context, operation, &[JSON]);
    }
}

impl<T: JsonSchema> OperationInput for JsonText<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        describe::body::<T>(context, operation, &[JSON]);
    }
}

impl<T: JsonSchema> OperationInput for FunctionBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        describe::body::<T>(context, operation, &[JSON]);
        // Of whom nothing is required, nothing need come.
        if let Some(ReferenceOr::Item(body)) = &mut operation.request_body {
            body.required = describe::asked::<T>().get("required").is_some();
        }
    }
}

impl<T: JsonSchema> OperationInput for OperatorBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        describe::body::<T>(context, operation, &[JSON]);
    }
}

impl<T: JsonSchema> OperationInput for AnyBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        describe::body::<T>(context, operation, &[JSON, FORM]);
    }
}

/// The whole body, unless it is too large or late. Nearly always it comes in one piece, which is handed on as it is. A
/// byte order mark, as editors and .NET write one, is no part of what it says (RFC 8259 §8.1).
pub async fn whole(mut body: Body) -> Result<Bytes, Error> {
    let (mut first, mut rest) = (Bytes::new(), Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| {
            let late = successors(Some(&error as &dyn std::error::Error), |error| error.source()).any(|error| error.is::<TooLate>());
            if late { Error::TooSlow } else { Error::PayloadTooLarge }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > MAX_BODY_BYTES {
            return Err(Error::PayloadTooLarge);
        }
        if first.is_empty() { first = data } else { rest.extend_from_slice(&data) }
    }
    let whole: Bytes = if rest.is_empty() { first } else { [&*first, &rest].concat().into() };
    Ok(if whole.starts_with(BYTE_ORDER_MARK) { whole.slice(BYTE_ORDER_MARK.len()..) } else { whole })
}

async fn read<T: DeserializeOwned>(request: Request, form: bool, theirs: &[&str]) -> Result<T, Error> {
    let is_form = kind(request.headers(), form)? == FORM;
    nothing_in_the_address::<T>(request.uri().query())?;
    let bytes = whole(request.into_body()).await?;
    if !is_form {
        return json(&bytes, theirs);
    }
    let members = form_members(&bytes)?;
    members.keys().try_for_each(|name| not_ours(name, theirs).and_then(|()| known::<T>(name)))?;
    typed(members)
}

/// The type of a body: JSON, or a form where those are taken.
fn kind(headers: &HeaderMap, form: bool) -> Result<&'static str, Error> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    match [JSON, FORM].into_iter().find(|known| kind.eq_ignore_ascii_case(known)) {
        Some(known) if form || known == JSON => Ok(known),
        _ => Err(Error::UnsupportedMediaType { expected: if form { format!("{JSON} or {FORM}") } else { JSON.to_owned() } }),
    }
}

/// A member that is ours to set is refused, unless it is one of `theirs`.
fn not_ours(name: &str, theirs: &[&str]) -> Result<(), Error> {
    if OURS.contains(&name) && !theirs.contains(&name) { Err(Error::invalid(name, "is not yours to set")) } else { Ok(()) }
}

fn json<T: DeserializeOwned>(bytes: &[u8], theirs: &[&str]) -> Result<T, Error> {
    let malformed = |error| Error::Malformed { detail: format!("the body is not valid JSON: {error}") };
    let Strict(names) = serde_json::from_slice(bytes).map_err(malformed)?;
    let names = names.ok_or_else(|| Error::Malformed { detail: "the body must be a JSON object".to_owned() })?;
    names.iter().try_for_each(|Name(name)| not_ours(name, theirs))?;
    // Only the slower way by a value knows which field is wrong.
    serde_json::from_slice(bytes).or_else(|_| {
        names.iter().try_for_each(|Name(name)| known::<T>(name))?;
        typed(serde_json::from_slice(bytes).map_err(malformed)?)
    })
}

/// Whether a JSON text has a member twice somewhere.
pub fn has_member_twice(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Strict>(bytes).is_err() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// The body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
pub struct TooLate;

/// No request body is larger.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
