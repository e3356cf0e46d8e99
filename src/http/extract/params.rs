//! Parameters in an address.

use crate::{
    api::error::Error,
    domain::pasted,
    http::{error::HttpError, extract::members::known, openapi::describe},
    service::services::App,
};
use aide::{
    OperationInput,
    generate::GenContext,
    openapi::Operation,
    operation::{ParamLocation, add_parameters, parameters_from_schema},
};
use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use schemars::{JsonSchema, json_schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::str::FromStr;

/// A query as a type: no parameter twice, errors that name the field.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, HttpError> {
        let members = form_members(parts.uri.query().unwrap_or("").as_bytes())?;
        members.keys().try_for_each(|name| known::<T>(name))?;
        Ok(Self(typed(members)?))
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let parameters = parameters_from_schema(context, describe::asked::<T>(), ParamLocation::Query);
        add_parameters(context, operation, parameters);
        describe::note(operation, &[Error::invalid("cursor", "is not one of ours")]);
    }
}

/// The id in a path. What is no id names nothing.
pub struct PathId<T>(pub T);

impl<T: FromStr> FromRequestParts<App> for PathId<T> {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HttpError> {
        let text = Path::<String>::from_request_parts(parts, app).await.map(|Path(text)| text).unwrap_or_default();
        text.parse().map(Self).map_err(|_| HttpError(Error::not_found("key")))
    }
}

impl<T: JsonSchema> OperationInput for PathId<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let schema = json_schema!({"properties": {"id": describe::asked::<T>()}, "required": ["id"]});
        let parameters = parameters_from_schema(context, schema, ParamLocation::Path);
        add_parameters(context, operation, parameters);
        describe::note(operation, &[Error::not_found("key")]);
    }
}

/// A field that must be there.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::invalid(field, "is missing"))
}

pub fn form_members(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Malformed { detail: "the form is not UTF-8".to_owned() })?;
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if members.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            return Err(Error::invalid(pasted::name(&name), "is there twice"));
        }
    }
    Ok(members)
}

pub fn typed<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, Error> {
    serde_path_to_error::deserialize(Value::Object(members)).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "body".to_owned() } else { path };
        Error::invalid(field, error.inner().to_string())
    })
}
