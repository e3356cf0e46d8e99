//! `POST /oauth2/introspect` (RFC 7662), for resource servers.

use crate::{
    api::verification::Introspection,
    domain::scope::KEYS_VERIFY,
    http::{
        error::HttpError,
        extract::{body::AnyBody, credential::Client, params::required},
        openapi::describe::Describe,
        response::Plain,
        routes::{Routes, Verb::Post},
    },
    service::{caller::Requirements, services::App},
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub fn routes<R: Routes>() -> R {
    R::new()
        .on(Post, "/oauth2/introspect", introspect, |op| op.about("introspect", "What is this token? (RFC 7662)").needs(KEYS_VERIFY))
        .tagged("Operators")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    #[schemars(required)]
    token: Option<String>,
    /// May be there (RFC 7662 §2.1). A token is found without it.
    #[serde(rename = "token_type_hint")]
    _token_type_hint: Option<String>,
    /// May be there, as OAuth's clients send it. It names nobody: the key that is presented does.
    #[serde(rename = "client_id")]
    _client_id: Option<String>,
}

/// Everything there is to say, or that there is nothing to say.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Introspected {
    Active(Box<Introspection>),
    Inactive {
        #[schemars(extend("const" = false))]
        active: bool,
    },
}

/// `POST /oauth2/introspect`
pub async fn introspect(
    State(app): State<App>,
    caller: Client,
    body: Result<AnyBody<Ask>, HttpError>,
) -> Result<Plain<Introspected>, HttpError> {
    let caller = caller.admit(&app, &Requirements::default().scope(KEYS_VERIFY)).await?;
    let AnyBody(body) = body?;
    let found = app.verifier.introspect(&caller, &required("token", body.token)?).await?;
    let answer = found.map_or(Introspected::Inactive { active: false }, |found| Introspected::Active(Box::new(found)));
    Ok(Plain::new(answer).secret())
}
