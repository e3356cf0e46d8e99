//! `/functions/v1/*`: an example of a protected resource that is called like a function, and keys managed the same way.
//! What it takes and answers is frozen: programs written for another service call it.

use super::{
    App,
    answer::Success,
    body::{FunctionBody, required},
    client::ClientSource,
    credential::Presented,
    error::Failed,
    openapi::Told,
};
use crate::{
    domain::{
        id::KeyId,
        key::Status,
        scope::{Catalogue, KEYS_WRITE, Scope},
    },
    service::{
        Error,
        keys::{Edit, Filter, MAX_PAGE, NewKey},
        verify::{Caller, Need},
        view::{Created, KeyView, Revealed, Time},
    },
};
use aide::axum::{ApiRouter, routing::post_with};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route("/functions/v1/list-agents", post_with(list_agents, |op| op.about("listAgents", "An example of a protected function")))
        .api_route(
            "/functions/v1/manage-api-keys",
            post_with(manage_api_keys, |op| {
                let full = Error::Conflict { detail: "the account already has 10 active keys: revoke one first".to_owned() };
                op.about("manageApiKeys", "Generate, list, rename or revoke keys").fails(&[missing(), Error::not_found("key"), full])
            }),
        )
        .with_path_items(|item| item.tag("Functions"))
}

fn missing() -> Error {
    Error::InsufficientScope { missing: KEYS_WRITE.parse().into_iter().collect() }
}

/// How much of a key tells its owner which one it is.
const PREFIX_CHARS: usize = 8;

/// No argument counts; an empty body is as good as `{}`.
#[derive(Default, Deserialize, JsonSchema)]
pub struct Nothing {}

/// Nothing, in the shape of a list.
#[derive(Serialize, JsonSchema)]
pub struct Agents {
    agents: [Nobody; 0],
}

#[derive(Serialize, JsonSchema)]
struct Nobody {}

/// `POST /functions/v1/list-agents`: an example of a protected resource, where `environment` is enforced.
pub async fn list_agents(
    State(app): State<App>,
    presented: Presented,
    body: Result<FunctionBody<Nothing>, Failed>,
) -> Result<Success<Agents>, Failed> {
    presented.admit(&app, &Need::call().in_environment(app.config.environment)).await?;
    body?;
    Ok(Success::new(&app, Agents { agents: [] }))
}

#[derive(Default, Deserialize, JsonSchema)]
pub struct Manage {
    /// `generate`, `list`, `update` or `revoke`.
    #[schemars(required, with = "Action")]
    action: Option<String>,
    name: Option<String>,
    key_id: Option<String>,
    #[schemars(with = "Option<Vec<Scope>>")]
    scopes: Option<Vec<String>>,
    cursor: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "says in the document what `action` may be")]
enum Action {
    Generate,
    List,
    Update,
    Revoke,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Managed {
    Generated {
        key: Revealed,
        id: KeyId,
        name: String,
        key_prefix: String,
        created_at: Time,
    },
    Listed {
        keys: Vec<Listed>,
        /// Only when there is more.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    },
    Done {
        success: bool,
    },
}

#[derive(Serialize, JsonSchema)]
pub struct Listed {
    id: KeyId,
    name: String,
    key_prefix: String,
    is_active: bool,
    created_at: Time,
    last_used_at: Option<Time>,
}

fn short(prefix: &str) -> String {
    prefix.chars().take(PREFIX_CHARS).collect()
}

fn listed(key: KeyView) -> Listed {
    Listed {
        id: key.id,
        key_prefix: short(&key.prefix),
        is_active: key.status == Status::Active,
        name: key.name,
        created_at: key.created_at,
        last_used_at: key.last_used_at,
    }
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
) -> Result<Success<Managed>, Failed> {
    let caller = presented.admit(&app, &Need::call().in_environment(app.config.environment)).await?;
    let FunctionBody(body) = body?;
    let id = || required("key_id", body.key_id.as_deref())?.parse().map_err(|_| Error::not_found("key"));
    let answer = match required("action", body.action.as_deref())? {
        "generate" => {
            let scopes = body.scopes.clone().unwrap_or_else(|| ordinary_scopes(&app, &caller));
            let new = NewKey { name: required("name", body.name)?, scopes, ..NewKey::default() };
            let Created { key, view } = app.create_key(caller.actor(), caller.account.id, new, source).await?;
            Managed::Generated { key, id: view.id, key_prefix: short(&view.prefix), name: view.name, created_at: view.created_at }
        }
        "list" => {
            let filter = Filter { limit: Some(MAX_PAGE), cursor: body.cursor, ..Filter::default() };
            let page = app.list_keys(&caller.actor(), Some(caller.account.id), &filter).await?;
            Managed::Listed { keys: page.keys.into_iter().map(listed).collect(), next_cursor: page.next_cursor }
        }
        "update" => {
            let edit = Edit { name: Some(required("name", body.name.clone())?), ..Edit::default() };
            app.edit_key(&caller.actor(), id()?, edit, source).await?;
            Managed::Done { success: true }
        }
        "revoke" => {
            app.revoke_key(&caller.actor(), id()?, None, source).await?;
            Managed::Done { success: true }
        }
        _ => return Err(Error::invalid("action", "must be \"generate\", \"list\", \"update\" or \"revoke\"").into()),
    };
    Ok(Success::new(&app, answer).secret())
}
