//! `/functions/v1/*`: an example of a protected resource that is called like a function, and keys managed the same way.
//! What it takes and answers is frozen: programs written for another service call it.

use super::{
    App, NO_STORE,
    body::{FunctionBody, required},
    client::ClientSource,
    credential::Presented,
    error::Failed,
    keys::key_id,
    success,
};
use crate::{
    domain::{key::Status, scope::Catalogue},
    service::{
        Error,
        keys::{Filter, MAX_PAGE, NewKey},
        verify::{Caller, Need},
        view::KeyView,
    },
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// How much of a key tells its owner which one it is.
const PREFIX_CHARS: usize = 8;

/// No argument counts; an empty body is as good as `{}`.
#[derive(Default, Deserialize)]
pub struct Nothing {}

/// `POST /functions/v1/list-agents`: an example of a protected resource, where `environment` is enforced.
pub async fn list_agents(
    State(app): State<App>,
    presented: Presented,
    body: Result<FunctionBody<Nothing>, Failed>,
) -> Result<Response, Failed> {
    presented.admit(&app, &Need::call().in_environment(app.config.environment)).await?;
    body?;
    Ok(success(&app, StatusCode::OK, json!({"agents": []})))
}

#[derive(Default, Deserialize)]
pub struct Manage {
    action: Option<String>,
    name: Option<String>,
    key_id: Option<String>,
    scopes: Option<Vec<String>>,
    cursor: Option<String>,
}

fn short(prefix: &str) -> String {
    prefix.chars().take(PREFIX_CHARS).collect()
}

fn listed(key: &KeyView) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "key_prefix": short(&key.prefix),
        "is_active": key.status == Status::Active,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
    })
}

/// A key that names no scopes may do what its maker may, but for managing and verifying keys.
fn ordinary_scopes(app: &App, caller: &Caller) -> Vec<String> {
    let all = app.catalogue().iter().map(|(scope, _)| scope);
    all.filter(|scope| !Catalogue::is_reserved(scope) && caller.has(scope.as_str())).map(ToString::to_string).collect()
}

/// `POST /functions/v1/manage-api-keys`: `generate`, `list`, `update`, `revoke`, with the rights of `/v1/keys`.
pub async fn manage_api_keys(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    body: Result<FunctionBody<Manage>, Failed>,
) -> Result<Response, Failed> {
    let caller = presented.admit(&app, &Need::call().in_environment(app.config.environment)).await?;
    let FunctionBody(body) = body?;
    let id = || required("key_id", body.key_id.as_deref()).and_then(key_id);
    let done = json!({"success": true});
    let answer = match required("action", body.action.as_deref())? {
        "generate" => {
            let scopes = body.scopes.clone().unwrap_or_else(|| ordinary_scopes(&app, &caller));
            let new = NewKey { name: required("name", body.name)?, scopes, ..NewKey::default() };
            let created = app.create_key(caller.actor(), caller.account.id, new, source).await?;
            json!({
                "key": created.key,
                "id": created.view.id,
                "name": created.view.name,
                "key_prefix": short(&created.view.prefix),
                "created_at": created.view.created_at,
            })
        }
        "list" => {
            let filter = Filter { limit: Some(MAX_PAGE), cursor: body.cursor, ..Filter::default() };
            let page = app.list_keys(&caller.actor(), Some(caller.account.id), &filter).await?;
            let mut answer = json!({"keys": page.keys.iter().map(listed).collect::<Vec<_>>()});
            // More than a page: only then there is something to say about it.
            if let Some(cursor) = page.next_cursor {
                answer["next_cursor"] = json!(cursor);
            }
            answer
        }
        "revoke" => {
            app.revoke_key(&caller.actor(), id()?, None, source).await?;
            done
        }
        _ => return Err(Error::invalid("action", "must be \"generate\", \"list\", \"update\" or \"revoke\"").into()),
    };
    Ok((NO_STORE, success(&app, StatusCode::OK, answer)).into_response())
}
