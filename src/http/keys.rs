//! `/v1/*`: keys, their verification, and the example resource.

use super::{
    App,
    answer::Success,
    body::{JsonBody, PathId, Query, number, required},
    client::ClientSource,
    credential::Presented,
    error::Failed,
    openapi::Told,
};
use crate::{
    domain::{
        id::KeyId,
        key::{Environment, Status},
        scope::{KEYS_VERIFY, KEYS_WRITE, Scope, ScopeSet},
    },
    service::{
        Error,
        keys::{Filter, MAX_PAGE, NewKey},
        verify::Need,
        view::{Created, KeyList, KeyView, Revoked, UsageDays, Verdict, Whoami},
    },
};
use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route("/v1/whoami", get_with(whoami, |op| op.about("whoami", "What the presented key is and may do")))
        .api_route("/v1/projects", get_with(projects, |op| op.about("listProjects", "An example of a protected resource")))
        .api_route(
            "/v1/keys",
            get_with(list, |op| op.about("listKeys", "The keys this one may see, newest first"))
                .post_with(create, |op| op.about("createKey", "Make a key: no wider than the calling one").needs(KEYS_WRITE)),
        )
        .api_route(
            "/v1/keys/verify",
            post_with(verify, |op| op.about("verifyKey", "Is this key valid, and may it do this?").needs(KEYS_VERIFY)),
        )
        .api_route(
            "/v1/keys/{id}",
            get_with(get, |op| op.about("getKey", "One key, never its secret"))
                .delete_with(revoke, |op| op.about("revokeKey", "Revoke a key and all made by it")),
        )
        .api_route("/v1/keys/{id}/usage", get_with(usage, |op| op.about("keyUsage", "Accepted and refused calls per day")))
        .with_path_items(|item| item.tag("Keys"))
}

/// `GET /v1/whoami`
pub async fn whoami(State(app): State<App>, presented: Presented) -> Result<Success<Whoami>, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    Ok(Success::new(&app, app.whoami(&caller).await?))
}

/// Nothing, in the shape of a list.
#[derive(Serialize, JsonSchema)]
pub struct Projects {
    projects: [ProjectView; 0],
    total: u32,
}

#[derive(Serialize, JsonSchema)]
struct ProjectView {}

/// `GET /v1/projects`: an example of a protected resource, where `environment` is enforced.
pub async fn projects(State(app): State<App>, presented: Presented) -> Result<Success<Projects>, Failed> {
    presented.admit(&app, &Need::call().in_environment(app.config.environment)).await?;
    Ok(Success::new(&app, Projects { projects: [], total: 0 }))
}

#[derive(Deserialize, JsonSchema)]
pub struct ListQuery {
    /// How many; 20 unless told.
    #[serde(default, deserialize_with = "number")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    status: Option<Status>,
    environment: Option<Environment>,
}

/// `GET /v1/keys`
pub async fn list(
    State(app): State<App>,
    presented: Presented,
    asked: Result<Query<ListQuery>, Failed>,
) -> Result<Success<KeyList>, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    let Query(asked) = asked?;
    let filter = Filter { status: asked.status, environment: asked.environment, cursor: asked.cursor, limit: asked.limit };
    let account = caller.account.id;
    let keys = app.list_keys(&caller.actor(), Some(account), &filter).await?;
    Ok(Success::new(&app, keys))
}

#[derive(Deserialize, JsonSchema)]
pub struct Create {
    #[schemars(required)]
    name: Option<String>,
    #[schemars(required, with = "Vec<Scope>")]
    scopes: Option<Vec<String>>,
    environment: Option<Environment>,
    /// Seconds.
    expires_in: Option<i64>,
}

/// `POST /v1/keys`: a child of the calling key. The secret is in this reply only. Who calls is asked before what is
/// wanted: without a key it is 401, whatever the body.
pub async fn create(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    body: Result<JsonBody<Create>, Failed>,
) -> Result<Success<Created, 201>, Failed> {
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
    Ok(Success::new(&app, created).secret())
}

/// `GET /v1/keys/{id}`
pub async fn get(State(app): State<App>, presented: Presented, id: Result<PathId<KeyId>, Failed>) -> Result<Success<KeyView>, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    let PathId(id) = id?;
    Ok(Success::new(&app, app.get_key(&caller.actor(), id).await?))
}

#[derive(Deserialize, JsonSchema)]
pub struct UsageQuery {
    /// How many, today included; 30 unless told.
    #[serde(default, deserialize_with = "number")]
    #[schemars(range(min = 1, max = 366))]
    days: Option<u16>,
}

/// `GET /v1/keys/{id}/usage?days=30`
pub async fn usage(
    State(app): State<App>,
    presented: Presented,
    id: Result<PathId<KeyId>, Failed>,
    asked: Result<Query<UsageQuery>, Failed>,
) -> Result<Success<UsageDays>, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    let (PathId(id), Query(asked)) = (id?, asked?);
    Ok(Success::new(&app, app.key_usage(&caller.actor(), id, asked.days.unwrap_or(30)).await?))
}

/// `DELETE /v1/keys/{id}`: holds from the moment the reply leaves, for descendants too.
pub async fn revoke(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    id: Result<PathId<KeyId>, Failed>,
) -> Result<Success<Revoked>, Failed> {
    let caller = presented.admit(&app, &Need::call()).await?;
    let PathId(id) = id?;
    Ok(Success::new(&app, app.revoke_key(&caller.actor(), id, None, source).await?))
}

#[derive(Deserialize, JsonSchema)]
pub struct Verify {
    #[schemars(required)]
    key: Option<String>,
    /// All it must have, space-delimited.
    scope: Option<String>,
    /// This deployment's unless told.
    environment: Option<Environment>,
    /// What the call costs of the key's limit; 1 unless told.
    cost: Option<u32>,
}

/// `POST /v1/keys/verify`: always 200 with the verdict; 401 and 403 concern the caller's own key.
pub async fn verify(
    State(app): State<App>,
    presented: Presented,
    body: Result<JsonBody<Verify>, Failed>,
) -> Result<Success<Verdict>, Failed> {
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
    Ok(Success::new(&app, app.verify(&caller, &key, need).await?).secret())
}
