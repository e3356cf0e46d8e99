//! `/functions/v1/*`: an example of a protected resource that is called like a function, and keys managed the same way.
//! What it takes and answers is frozen: programs written for another service call it.

use crate::{
    api::{
        error::Error,
        keys::{Created, KeyList, KeyView},
        values::{Revealed, Time},
    },
    domain::{id::KeyId, key::Status, scope::Catalogue},
    http::{
        error::HttpError,
        extract::{body::FunctionBody, client_address::ClientSource, credential::Presented, members::Words, params::required},
        openapi::describe::Describe,
        response::Success,
        routes::{Routes, Verb::Post},
    },
    service::{
        caller::{Caller, Requirements},
        keys::{
            create::NewKey,
            edit::Edit,
            list::{KeyFilter, MAX_PAGE},
        },
        services::App,
    },
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of a key tells its owner which one it is.
const SHOWN_CHARS: usize = 8;

pub fn routes<R: Routes>() -> R {
    const MANAGE: [Error; 3] =
        [Error::NotFound { what: String::new() }, Error::Conflict { detail: String::new() }, Error::Forbidden { detail: String::new() }];
    R::new()
        .on(Post, "/functions/v1/list-agents", list_agents, |op| op.about("listAgents", "An example of a protected resource"))
        .on(Post, "/functions/v1/manage-api-keys", manage_api_keys, |op| {
            op.about("manageApiKeys", "Make, list, rename and revoke keys").fails(&MANAGE)
        })
        .tagged("Functions")
}

/// No argument counts.
#[derive(Default, Deserialize, JsonSchema)]
pub struct Nothing {}

/// None, in the shape of a list.
#[derive(Serialize, JsonSchema)]
pub struct Agents {
    agents: [AgentView; 0],
}

#[derive(Serialize, JsonSchema)]
struct AgentView {}

/// `POST /functions/v1/list-agents`: an example of a protected resource, where `environment` is enforced.
pub async fn list_agents(
    State(app): State<App>,
    presented: Presented,
    body: Result<FunctionBody<Nothing>, HttpError>,
) -> Result<Success<Agents>, HttpError> {
    presented.admit(&app, &Requirements::call().in_environment(app.context.config.environment)).await?;
    body?;
    Ok(Success::new(&app, Agents { agents: [] }))
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    Generate,
    List,
    Update,
    Revoke,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manage {
    #[schemars(required)]
    action: Option<Action>,
    /// Of the key to make, or its new one.
    name: Option<String>,
    /// Which key to rename or revoke.
    key_id: Option<String>,
    /// Of the key to make; all its maker may unless told, but for managing and verifying keys.
    scopes: Option<Words>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Manage {
    /// An argument that an action has no use for was meant to do something, which would not be done.
    fn fits(&self, action: Action) -> Result<(), Error> {
        let given = [
            ("name", self.name.is_some(), &[Action::Generate, Action::Update][..]),
            ("key_id", self.key_id.is_some(), &[Action::Update, Action::Revoke]),
            ("scopes", self.scopes.is_some(), &[Action::Generate]),
            ("cursor", self.cursor.is_some(), &[Action::List]),
        ];
        match given.iter().find(|(_, given, actions)| *given && !actions.contains(&action)) {
            Some((name, ..)) => Err(Error::invalid(*name, "has no meaning for this action")),
            None => Ok(()),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Managed {
    Generated {
        /// Only here, and never again.
        key: Revealed,
        id: KeyId,
        name: String,
        /// The first eight characters.
        key_prefix: String,
        created_at: Time,
    },
    Listed {
        keys: Vec<ListedKey>,
        /// Only where there are more than a page of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    },
    Done {
        success: bool,
    },
}

#[derive(Serialize, JsonSchema)]
pub struct ListedKey {
    id: KeyId,
    name: String,
    /// The first eight characters.
    key_prefix: String,
    is_active: bool,
    created_at: Time,
    last_used_at: Option<Time>,
}

fn short(prefix: &str) -> String {
    prefix.chars().take(SHOWN_CHARS).collect()
}

impl From<Created> for Managed {
    fn from(Created { key, view }: Created) -> Self {
        Self::Generated { key, id: view.id, key_prefix: short(&view.prefix), name: view.name, created_at: view.created_at }
    }
}

impl From<KeyList> for Managed {
    fn from(list: KeyList) -> Self {
        Self::Listed { keys: list.keys.into_iter().map(Into::into).collect(), next_cursor: list.next_cursor }
    }
}

impl From<KeyView> for ListedKey {
    fn from(key: KeyView) -> Self {
        Self {
            id: key.id,
            key_prefix: short(&key.prefix),
            name: key.name,
            is_active: key.status == Status::Active,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// A key that names no scopes may do what its maker may, but for managing and verifying keys.
fn ordinary_scopes(app: &App, caller: &Caller) -> Vec<String> {
    let all = app.context.catalogue.iter().map(|(scope, _)| scope);
    all.filter(|scope| !Catalogue::is_reserved(scope) && caller.has(scope.as_str())).map(ToString::to_string).collect()
}

/// An id no key can have is told like an unknown one.
fn key_id(text: Option<String>) -> Result<KeyId, Error> {
    required("key_id", text)?.parse().map_err(|_| Error::not_found("key"))
}

/// `POST /functions/v1/manage-api-keys`, with the rights of `/v1/keys`.
pub async fn manage_api_keys(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    presented: Presented,
    body: Result<FunctionBody<Manage>, HttpError>,
) -> Result<Success<Managed>, HttpError> {
    let caller = presented.admit(&app, &Requirements::call().in_environment(app.context.config.environment)).await?;
    let FunctionBody(asked) = body?;
    let account = caller.account.id;
    let action = required("action", asked.action)?;
    asked.fits(action)?;
    let answer = match action {
        Action::Generate => {
            let scopes = asked.scopes.map_or_else(|| ordinary_scopes(&app, &caller), |Words(words)| words);
            let new = NewKey { name: required("name", asked.name)?, scopes, ..NewKey::default() };
            app.keys.create_key(caller.actor(), account, new, source).await?.into()
        }
        Action::List => {
            let filter = KeyFilter { limit: Some(MAX_PAGE), cursor: asked.cursor, ..KeyFilter::default() };
            app.keys.list_keys(&caller.actor(), Some(account), &filter).await?.into()
        }
        Action::Update => {
            let edit = Edit { name: Some(required("name", asked.name)?), ..Edit::default() };
            app.keys.edit_key(&caller.actor(), key_id(asked.key_id)?, edit, source).await?;
            Managed::Done { success: true }
        }
        Action::Revoke => {
            app.keys.revoke_key(&caller.actor(), key_id(asked.key_id)?, None, source).await?;
            Managed::Done { success: true }
        }
    };
    Ok(Success::new(&app, answer).secret())
}
