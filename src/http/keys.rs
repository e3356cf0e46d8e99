//! `/v1/*`: keys, their verification, and the example resource.

use super::{
    App, NO_STORE,
    body::{JsonBody, required},
    client::ClientSource,
    credential::Presented,
    error::Failed,
    success,
};
use crate::{
    domain::{
        id::KeyId,
        key::{Environment, Status},
        scope::{KEYS_VERIFY, KEYS_WRITE, ScopeSet},
    },
    service::{
        Error,
        keys::{Filter, NewKey},
        verify::Need,
    },
};
use axum::{
    extract::{Path, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// `GET /v1/whoami`
pub async fn whoami(State(app): State<App>, presented: Presented) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    Ok(success(&app, StatusCode::OK, app.whoami(&caller).await?))
}

/// `GET /v1/projects`: an example of a protected resource, where `environment` is enforced.
pub async fn projects(State(app): State<App>, presented: Presented) -> Result<Response, Failed> {
    presented.admit(&app, &Need::call().in_environment(app.config.environment)).await?;
    Ok(success(&app, StatusCode::OK, json!({"projects": [], "total": 0})))
}

#[derive(Deserialize)]
pub struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    status: Option<Status>,
    environment: Option<Environment>,
}

/// A query as a type: no parameter twice, errors that name the field.
fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Error> {
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()) {
        if members.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            return Err(Error::invalid(name, "is there twice"));
        }
    }
    serde_path_to_error::deserialize(Value::Object(members))
        .map_err(|error| Error::invalid(error.path().to_string(), error.inner().to_string()))
}

/// `GET /v1/keys`
pub async fn list(State(app): State<App>, presented: Presented, uri: Uri) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    let asked: ListQuery = query(&uri)?;
    let limit = asked.limit.map(|text| text.parse().map_err(|_| Error::invalid("limit", "must be a number"))).transpose()?;
    let filter = Filter { status: asked.status, environment: asked.environment, cursor: asked.cursor, limit };
    let account = caller.account.id;
    let keys = app.list_keys(&caller.actor(), Some(account), &filter).await?;
    Ok(success(&app, StatusCode::OK, keys))
}

#[derive(Deserialize)]
pub struct Create {
    name: Option<String>,
    scopes: Option<Vec<String>>,
    environment: Option<Environment>,
    expires_in: Option<i64>,
}

/// `POST /v1/keys`: a child of the calling key. The secret is in this reply only. Who calls is asked before what is
/// wanted: without a key it is 401, whatever the body.
pub async fn create(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    body: Result<JsonBody<Create>, Failed>,
) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::call().scope(KEYS_WRITE)).await?;
    let JsonBody(body) = body?;
    let new = NewKey {
        name: required("name", body.name)?,
        scopes: required("scopes", body.scopes)?,
        environment: body.environment,
        expires_in: body.expires_in,
    };
    let account = caller.account.id;
    let created = app.create_key(caller.actor(), account, new, source).await?;
    Ok((NO_STORE, success(&app, StatusCode::CREATED, created)).into_response())
}

fn key_id(text: &str) -> Result<KeyId, Error> {
    text.parse().map_err(|_| Error::not_found("key"))
}

/// `GET /v1/keys/{id}`
pub async fn get(State(app): State<App>, presented: Presented, Path(id): Path<String>) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    Ok(success(&app, StatusCode::OK, app.get_key(&caller.actor(), key_id(&id)?).await?))
}

#[derive(Deserialize)]
pub struct UsageQuery {
    days: Option<String>,
}

/// `GET /v1/keys/{id}/usage?days=30`
pub async fn usage(State(app): State<App>, presented: Presented, Path(id): Path<String>, uri: Uri) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    let asked: UsageQuery = query(&uri)?;
    let days = asked.days.map_or(Ok(30), |text| text.parse().map_err(|_| Error::invalid("days", "must be a number from 1 to 366")))?;
    Ok(success(&app, StatusCode::OK, app.key_usage(&caller.actor(), key_id(&id)?, days).await?))
}

/// `DELETE /v1/keys/{id}`: holds from the moment the reply leaves, for descendants too.
pub async fn revoke(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    Path(id): Path<String>,
) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    let revoked = app.revoke_key(&caller.actor(), key_id(&id)?, None, source).await?;
    Ok(success(&app, StatusCode::OK, revoked))
}

#[derive(Deserialize)]
pub struct Verify {
    key: Option<String>,
    scope: Option<String>,
    environment: Option<Environment>,
    cost: Option<u32>,
}

/// `POST /v1/keys/verify`: always 200 with the verdict; 401 and 403 concern the caller's own key.
pub async fn verify(State(app): State<App>, presented: Presented, body: Result<JsonBody<Verify>, Failed>) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::default().scope(KEYS_VERIFY)).await?;
    let JsonBody(body) = body?;
    let key = required("key", body.key)?;
    let scopes = ScopeSet::parse(body.scope.as_deref().unwrap_or("")).map_err(|error| Error::invalid("scope", error.to_string()))?;
    let need = Need {
        scopes,
        environment: Some(body.environment.unwrap_or(app.config.environment)),
        cost: body.cost.unwrap_or(1),
        ..Need::default()
    };
    let verdict = app.verify(&caller, &key, need).await?;
    Ok((NO_STORE, success(&app, StatusCode::OK, verdict)).into_response())
}
