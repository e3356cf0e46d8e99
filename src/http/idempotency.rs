//! `Idempotency-Key`: the caller's own name of its request (draft-ietf-httpapi-idempotency-key-header).

use super::{App, error::Failed, openapi};
use crate::{
    domain::idempotency::IdempotencyKey,
    service::{Error, keys::Once, verify::Caller},
};
use aide::{
    OperationInput,
    generate::GenContext,
    openapi::Operation,
    operation::{ParamLocation, add_parameters, parameters_from_schema},
};
use axum::{extract::FromRequestParts, http::request::Parts};
use schemars::json_schema;

/// The request's name, if it has one.
pub struct Named(pub Option<IdempotencyKey>);

impl Named {
    pub fn of(self, caller: &Caller) -> Option<Once> {
        self.0.map(|key| Once { caller: caller.name(), key })
    }
}

impl FromRequestParts<App> for Named {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failed> {
        let wrong = |detail: &str| Failed::from(Error::invalid("Idempotency-Key", detail));
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(wrong("is there twice"));
        }
        match value.to_str().unwrap_or_default().parse::<IdempotencyKey>() {
            Ok(name) => Ok(Self(Some(name))),
            Err(error) => Err(wrong(&error.to_string())),
        }
    }
}

impl OperationInput for Named {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let name = json_schema!({
            "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*[!-~][ -~]*$",
            "description": "Your own name of this request: sent again within a day, it does nothing twice and shows no secret twice.",
        });
        let schema = json_schema!({"properties": {"Idempotency-Key": name}});
        let parameters = parameters_from_schema(context, schema, ParamLocation::Header);
        add_parameters(context, operation, parameters);
        openapi::note(operation, &[Error::invalid("Idempotency-Key", "is there twice"), Error::IdempotencyKeyReused]);
    }
}
