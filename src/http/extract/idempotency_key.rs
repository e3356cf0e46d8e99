//! `Idempotency-Key`: a caller's own name of its request (draft-ietf-httpapi-idempotency-key-header).

use crate::{
    api::error::Error,
    domain::idempotency::{IdempotencyKey, InvalidIdempotencyKey},
    http::{error::HttpError, openapi::describe},
    service::{caller::Caller, idempotency::Once, services::App},
};
use aide::{
    OperationInput,
    generate::GenContext,
    openapi::Operation,
    operation::{ParamLocation, add_parameters, parameters_from_schema},
};
use axum::{extract::FromRequestParts, http::request::Parts};
use schemars::json_schema;

const HEADER: &str = "Idempotency-Key";

/// What a caller calls its request, if it named it.
pub struct RequestName(Option<IdempotencyKey>);

impl RequestName {
    /// Names are each caller's own.
    pub fn of(self, caller: &Caller) -> Option<Once> {
        self.0.map(|key| Once { caller: caller.name(), key })
    }
}

impl FromRequestParts<App> for RequestName {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, HttpError> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(HttpError(Error::invalid(HEADER, "is there twice")));
        }
        let read = value.to_str().unwrap_or("").parse();
        read.map(|key| Self(Some(key))).map_err(|error: InvalidIdempotencyKey| HttpError(Error::invalid(HEADER, error.to_string())))
    }
}

impl OperationInput for RequestName {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let said = "Your own name of this request: within a day a retry under it makes nothing, and answers without the secret.";
        let schema = json_schema!({"properties": {HEADER: {"type": "string", "minLength": 1, "maxLength": 255, "description": said}}});
        let parameters = parameters_from_schema(context, schema, ParamLocation::Header);
        add_parameters(context, operation, parameters);
        describe::note(operation, &[Error::invalid(HEADER, InvalidIdempotencyKey.to_string()), Error::IdempotencyKeyReused]);
    }
}
