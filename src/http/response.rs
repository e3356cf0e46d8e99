//! What a handler answers, as a type: what it sends and what the document says of it are the same.

use crate::{
    api::error::Error,
    config::settings::Profile,
    http::{
        error::HttpError,
        openapi::{describe, terms},
    },
    service::services::App,
};
use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described, StatusCode as Status},
};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use std::marker::PhantomData;

/// An answer of the shape `T`.
pub struct ApiResponse<T, const STATUS: u16, const ENVELOPE: bool>(Response, PhantomData<T>);

/// A success in the configured envelope: `{"success":true,"data":…}` in the flat profile, the bare object elsewhere.
pub type Success<T, const STATUS: u16 = 200> = ApiResponse<T, STATUS, true>;

/// A success as it is, whatever the profile.
pub type Plain<T> = ApiResponse<T, 200, false>;

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Room for most answers, so that they are written without growing.
    let mut body = Vec::with_capacity(512);
    if let Err(error) = serde_json::to_writer(&mut body, value) {
        return HttpError(Error::internal(error)).into_response();
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().reserve(8);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[derive(Serialize)]
struct Flat<T> {
    success: bool,
    data: T,
}

impl<T: Serialize, const STATUS: u16> Success<T, STATUS> {
    pub fn new(app: &App, value: T) -> Self {
        let status = StatusCode::from_u16(STATUS).unwrap_or_default();
        let response = match app.context.config.profile {
            Profile::Flat => json(status, &Flat { success: true, data: value }),
            Profile::Nested | Profile::Problem => json(status, &value),
        };
        Self(response, PhantomData)
    }
}

impl<T: Serialize> Plain<T> {
    pub fn new(value: T) -> Self {
        Self(json(StatusCode::OK, &value), PhantomData)
    }
}

impl<T> Plain<T> {
    /// What was written before.
    pub fn made(response: Response) -> Self {
        Self(response, PhantomData)
    }
}

impl<T, const STATUS: u16, const ENVELOPE: bool> ApiResponse<T, STATUS, ENVELOPE> {
    /// With these headers.
    pub fn with(mut self, headers: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        for (name, value) in headers {
            if let Ok(value) = value.parse() {
                self.0.headers_mut().insert(name, value);
            }
        }
        self
    }

    /// A reply that carries a secret is kept nowhere (RFC 6749 §5.1).
    pub fn secret(mut self) -> Self {
        no_store().into_iter().for_each(|(name, value)| drop(self.0.headers_mut().insert(name, value)));
        self
    }
}

impl<T, const STATUS: u16, const ENVELOPE: bool> IntoResponse for ApiResponse<T, STATUS, ENVELOPE> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<T: JsonSchema, const STATUS: u16, const ENVELOPE: bool> OperationOutput for ApiResponse<T, STATUS, ENVELOPE> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        let content = [("application/json".to_owned(), describe::media(describe::answered::<T>(context)))].into_iter().collect();
        let mut response = described(STATUS);
        response.content = content;
        if ENVELOPE {
            response.extensions.insert(terms::ENVELOPE.to_owned(), true.into());
        }
        vec![(Some(Status::Code(STATUS)), response)]
    }
}

/// What the document says of a status, to be filled in.
pub fn described(status: u16) -> Described {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    Described { description: reason.to_owned(), ..Described::default() }
}

/// A reply that carries a secret is kept nowhere (RFC 6749 §5.1).
pub fn no_store() -> [(HeaderName, HeaderValue); 2] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store")), (header::PRAGMA, HeaderValue::from_static("no-cache"))]
}
