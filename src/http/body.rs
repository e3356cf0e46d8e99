//! What requests say, strictly: one type, one size, no member twice, errors that name the field.

use crate::{
    http::{App, MAX_BODY, error::Failed, listen::TooLate, openapi},
    service::Error,
};
use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{Operation, ReferenceOr},
    operation::{ParamLocation, add_parameters, parameters_from_schema},
};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{header, request::Parts},
};
use schemars::{JsonSchema, json_schema};
use serde::{
    Deserialize,
    de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use std::{fmt, iter::successors, str::FromStr};

/// Fields that are ours to set. A caller that sends one gets 400 rather than a silent nothing (CVE-2025-61928 class).
const OURS: [&str; 10] =
    ["account_id", "user_id", "registration_id", "key_id", "status", "plan", "rate_limit", "expires_at", "approved_by", "operator"];

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A JSON object.
pub struct JsonBody<T>(pub T);
/// A function's arguments: a JSON object, or nothing at all. `key_id` is one of them, and not ours to set.
pub struct FunctionBody<T>(pub T);
/// A JSON object of an operator's service, which also says on what plan its user is.
pub struct OperatorBody<T>(pub T);
/// A JSON object or a form, as the OAuth endpoints take both.
pub struct AnyBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, _: &App) -> Result<Self, Failed> {
        Ok(Self(typed(members(request, false, &[]).await?)?))
    }
}

impl<T: DeserializeOwned + Default> FromRequest<App> for FunctionBody<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, _: &App) -> Result<Self, Failed> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let request = Request::from_parts(parts, bytes.into());
        Ok(Self(typed(members(request, false, &["key_id"]).await?)?))
    }
}

impl<T: DeserializeOwned> FromRequest<App> for OperatorBody<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, _: &App) -> Result<Self, Failed> {
        Ok(Self(typed(members(request, false, &["plan"]).await?)?))
    }
}

impl<T: DeserializeOwned> FromRequest<App> for AnyBody<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, _: &App) -> Result<Self, Failed> {
        Ok(Self(typed(members(request, true, &[]).await?)?))
    }
}

impl<T: JsonSchema> OperationInput for JsonBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        openapi::body::<T>(context, operation, &[JSON]);
    }
}

impl<T: JsonSchema> OperationInput for FunctionBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        openapi::body::<T>(context, operation, &[JSON]);
        // Of whom nothing is required, nothing need come.
        if let Some(ReferenceOr::Item(body)) = &mut operation.request_body {
            body.required = openapi::asked::<T>().get("required").is_some();
        }
    }
}

impl<T: JsonSchema> OperationInput for OperatorBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        openapi::body::<T>(context, operation, &[JSON]);
    }
}

impl<T: JsonSchema> OperationInput for AnyBody<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        openapi::body::<T>(context, operation, &[JSON, FORM]);
    }
}

/// A query as a type: no parameter twice, errors that name the field.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failed> {
        Ok(Self(typed(form_members(parts.uri.query().unwrap_or("").as_bytes())?)?))
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let parameters = parameters_from_schema(context, openapi::asked::<T>(), ParamLocation::Query);
        add_parameters(context, operation, parameters);
        openapi::note(operation, &[Error::invalid("cursor", "is not one of ours")]);
    }
}

/// The id in a path. What is no id names nothing.
pub struct PathId<T>(pub T);

impl<T: FromStr> FromRequestParts<App> for PathId<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failed> {
        let text = Path::<String>::from_request_parts(parts, app).await.map(|Path(text)| text).unwrap_or_default();
        text.parse().map(Self).map_err(|_| Failed(Error::not_found("key")))
    }
}

impl<T: JsonSchema> OperationInput for PathId<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let schema = json_schema!({"properties": {"id": openapi::asked::<T>()}, "required": ["id"]});
        let parameters = parameters_from_schema(context, schema, ParamLocation::Path);
        add_parameters(context, operation, parameters);
        openapi::note(operation, &[Error::not_found("key")]);
    }
}

/// A number where all is text: in a query or a form.
pub fn number<'de, D: Deserializer<'de>, T: FromStr>(d: D) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(d)?;
    text.map(|text| text.parse().map_err(|_| serde::de::Error::custom("must be a number"))).transpose()
}

/// A field that must be there.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::invalid(field, "is missing"))
}

/// The whole body, unless it is too large or late.
pub async fn whole(body: Body) -> Result<Bytes, Error> {
    to_bytes(body, MAX_BODY).await.map_err(|error| {
        let late = successors(Some(&error as &dyn std::error::Error), |error| error.source()).any(|error| error.is::<TooLate>());
        if late { Error::TooSlow } else { Error::PayloadTooLarge }
    })
}

async fn members(request: Request, form: bool, theirs: &[&str]) -> Result<Map<String, Value>, Error> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_form = match kind.as_str() {
        JSON => false,
        FORM if form => true,
        _ => {
            let expected = if form { format!("{JSON} or {FORM}") } else { JSON.to_owned() };
            return Err(Error::UnsupportedMediaType { expected });
        }
    };
    let bytes = whole(request.into_body()).await?;
    let members = if is_form { form_members(&bytes)? } else { json_members(&bytes)? };
    match OURS.iter().find(|name| members.contains_key(**name) && !theirs.contains(*name)) {
        Some(name) => Err(Error::invalid(*name, "is not yours to set")),
        None => Ok(members),
    }
}

fn json_members(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(members))) => Ok(members),
        Ok(_) => Err(Error::Malformed { detail: "the body must be a JSON object".to_owned() }),
        Err(error) => Err(Error::Malformed { detail: format!("the body is not valid JSON: {error}") }),
    }
}

fn form_members(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::Malformed { detail: "the form is not UTF-8".to_owned() })?;
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if members.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            return Err(Error::invalid(name, "is there twice"));
        }
    }
    Ok(members)
}

fn typed<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T, Error> {
    serde_path_to_error::deserialize(Value::Object(members)).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "body".to_owned() } else { path };
        Error::invalid(field, error.inner().to_string())
    })
}

/// Any JSON value in which no object has a member twice: two readers of such a body could disagree on what it says.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.contains_key(&name) {
                return Err(serde::de::Error::custom(format!("member `{name}` is there twice")));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}
