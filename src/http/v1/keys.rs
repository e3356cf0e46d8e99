//! `/v1/*`: keys, their verification, and the example resource.

use crate::{
    api::{
        error::Error,
        keys::{Issued, KeyList, KeyView, Revoked},
        usage::UsageDays,
    },
    domain::{
        environment::Environment,
        id::KeyId,
        key::{CreatorKind, Status},
        scope::{KEYS_REVOKE, KEYS_WRITE},
    },
    http::{
        error::HttpError,
        extract::{
            body::{FunctionBody, JsonBody},
            client_address::ClientSource,
            credential::Presented,
            idempotency_key::RequestName,
            members::{Whole, Words, number},
            params::{PathId, Query, required},
        },
        openapi::describe::Describe,
        response::Success,
        routes::{
            Routes,
            Verb::{Delete, Get, Patch, Post},
        },
        v1::whoami::{projects, whoami},
    },
    service::{
        caller::Requirements,
        keys::{
            create::NewKey,
            edit::Edit,
            issue::{MAX_LIFETIME_SECONDS, MIN_LIFETIME_SECONDS},
            list::{KeyFilter, MAX_PAGE},
            rotate::Rotate,
        },
        services::App,
    },
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

pub fn routes<R: Routes>() -> R {
    R::new()
        .on(Get, "/v1/whoami", whoami, |op| op.about("whoami", "What the presented key is and may do"))
        .on(Get, "/v1/projects", projects, |op| op.about("listProjects", "An example of a protected resource"))
        .on(Get, "/v1/keys", list, |op| op.about("listKeys", "The keys this one may see, newest first"))
        .on(Post, "/v1/keys", create, |op| {
            op.about("createKey", "Make a key: no wider than the calling one").needs(KEYS_WRITE).fails(&[conflict()])
        })
        .on(Get, "/v1/keys/{id}", get, |op| op.about("getKey", "One key, never its secret"))
        .on(Patch, "/v1/keys/{id}", edit, |op| {
            op.about("editKey", "Rename, narrow or disable a key it made").needs(KEYS_WRITE).fails(&[conflict()])
        })
        .on(Delete, "/v1/keys/{id}", revoke, |op| {
            op.about("revokeKey", "Revoke a key, all made by it and those it was rotated from").may_need(KEYS_REVOKE)
        })
        .on(Post, "/v1/keys/{id}/rotate", rotate, |op| {
            op.about("rotateKey", "A new secret for a key it made").needs(KEYS_WRITE).fails(&[conflict()])
        })
        .on(Get, "/v1/keys/{id}/usage", usage, |op| op.about("keyUsage", "Accepted and refused calls per day"))
        .tagged("Keys")
}

/// What a key can't do in the state it is in, or its account is.
fn conflict() -> Error {
    Error::Conflict { detail: "the key is revoked".to_owned() }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// How many; 20 unless told.
    #[serde(default, deserialize_with = "number")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[schemars(with = "Option<KeyId>")]
    cursor: Option<String>,
    status: Option<Status>,
    environment: Option<Environment>,
    created_by: Option<CreatorKind>,
    /// Part of a name or of a shown head, or an id.
    q: Option<String>,
}

/// `GET /v1/keys`
pub async fn list(
    State(app): State<App>,
    presented: Presented,
    asked: Result<Query<ListQuery>, HttpError>,
) -> Result<Success<KeyList>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call()).await?;
    let Query(ListQuery { limit, cursor, status, environment, created_by, q }) = asked?;
    let filter = KeyFilter { status, environment, created_by, q, cursor, limit };
    let account = caller.account.id;
    let keys = app.keys.list_keys(&caller.actor(), Some(account), &filter).await?;
    Ok(Success::new(&app, keys))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    #[schemars(required, length(min = 1, max = 64), extend("examples" = ["Deploy bot"]))]
    name: Option<String>,
    #[schemars(required)]
    scopes: Option<Words>,
    environment: Option<Environment>,
    /// Seconds, from a minute to ten years.
    #[schemars(range(min = MIN_LIFETIME_SECONDS, max = MAX_LIFETIME_SECONDS))]
    expires_in: Option<Whole<i64>>,
    /// A limit of its own, at most the plan's and its parent's.
    requests_per_minute: Option<Whole<u32>>,
}

/// A key that was just made, or by an earlier request of the same name: then without its secret.
fn issued(app: &App, issued: Issued) -> Success<Issued, 201> {
    let place = format!("{}/v1/keys/{}", app.context.config.public_url, issued.view.id);
    let replayed = issued.is_replay().then(|| ("idempotent-replayed", "true".to_owned()));
    let headers = [("location", place)].into_iter().chain(replayed);
    Success::new(app, issued).secret().with(headers)
}

/// `POST /v1/keys`: a child of the calling key. The secret is in this reply only. Who calls is asked before what is
/// wanted: without a key it is 401, whatever the body.
pub async fn create(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    name: Result<RequestName, HttpError>,
    body: Result<JsonBody<Create>, HttpError>,
) -> Result<Success<Issued, 201>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call().scope(KEYS_WRITE)).await?;
    let JsonBody(body) = body?;
    let new = NewKey {
        name: required("name", body.name)?,
        scopes: required("scopes", body.scopes)?.0,
        environment: body.environment,
        expires_in: body.expires_in.map(|Whole(seconds)| seconds),
        requests_per_minute: body.requests_per_minute.map(|Whole(most)| most),
    };
    let (account, once) = (caller.account.id, name?.of(&caller));
    let created = app.keys.create_key_once(caller.actor(), account, new, source, once.as_ref()).await?;
    Ok(issued(&app, created))
}

/// `GET /v1/keys/{id}`
pub async fn get(
    State(app): State<App>,
    presented: Presented,
    id: Result<PathId<KeyId>, HttpError>,
) -> Result<Success<KeyView>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call()).await?;
    let PathId(id) = id?;
    Ok(Success::new(&app, app.keys.get_key(&caller.actor(), id).await?))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    name: Option<String>,
    /// All it may do from now on.
    scopes: Option<Words>,
    /// Off, with all it made, until it is enabled again.
    disabled: Option<bool>,
}

/// `PATCH /v1/keys/{id}`: a key takes scopes away from what it made; a session gives and takes.
pub async fn edit(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    id: Result<PathId<KeyId>, HttpError>,
    body: Result<JsonBody<Change>, HttpError>,
) -> Result<Success<KeyView>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call()).await?;
    let (PathId(id), JsonBody(Change { name, scopes, disabled })) = (id?, body?);
    Ok(Success::new(
        &app,
        app.keys.edit_key(&caller.actor(), id, Edit { name, scopes: scopes.map(|Words(words)| words), disabled }, source).await?,
    ))
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old key works on, never past its own end; a day unless told.
    #[schemars(range(min = 0, max = 604_800))]
    grace_seconds: Option<Whole<i64>>,
    /// Seconds the new key lives; as long as the old one was made for unless told.
    expires_in: Option<Whole<i64>>,
}

/// `POST /v1/keys/{id}/rotate`: a new secret; the old one works on for its grace.
pub async fn rotate(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    id: Result<PathId<KeyId>, HttpError>,
    name: Result<RequestName, HttpError>,
    body: Result<FunctionBody<Rotation>, HttpError>,
) -> Result<Success<Issued, 201>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call()).await?;
    let (PathId(id), FunctionBody(Rotation { grace_seconds, expires_in })) = (id?, body?);
    let [grace_seconds, expires_in] = [grace_seconds, expires_in].map(|given| given.map(|Whole(seconds)| seconds));
    let (rotate, once) = (Rotate { grace_seconds, expires_in }, name?.of(&caller));
    let rotated = app.keys.rotate_key(&caller.actor(), id, rotate, source, once.as_ref()).await?;
    Ok(issued(&app, rotated))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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
    id: Result<PathId<KeyId>, HttpError>,
    asked: Result<Query<UsageQuery>, HttpError>,
) -> Result<Success<UsageDays>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call()).await?;
    let (PathId(id), Query(asked)) = (id?, asked?);
    Ok(Success::new(&app, app.keys.key_usage(&caller.actor(), id, asked.days.unwrap_or(30)).await?))
}

/// `DELETE /v1/keys/{id}`: holds from the moment the reply leaves, for descendants too.
pub async fn revoke(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    id: Result<PathId<KeyId>, HttpError>,
) -> Result<Success<Revoked>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call()).await?;
    let PathId(id) = id?;
    Ok(Success::new(&app, app.keys.revoke_key(&caller.actor(), id, None, source).await?))
}
