//! `POST /v1/keys/verify`: whether a key works now, and what it may do.

use crate::{
    api::{error::Error, verification::Verification},
    domain::{
        environment::Environment,
        scope::{KEYS_VERIFY, ScopeSet},
    },
    http::{
        error::HttpError,
        extract::{
            body::JsonText,
            credential::Presented,
            members::{Whole, Words},
            params::required,
        },
        openapi::describe::Describe,
        response::Success,
        routes::{Routes, Verb::Post},
    },
    service::{caller::Requirements, services::App},
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::LazyLock;

/// What services call for each call of theirs.
pub fn verify_routes<R: Routes>() -> R {
    let told = "Is this key valid, and may it do this?";
    R::new().on(Post, "/v1/keys/verify", verify, |op| op.about("verifyKey", told).needs(KEYS_VERIFY)).tagged("Keys")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    #[schemars(required)]
    key: Option<String>,
    /// All it must have.
    scope: Option<Words>,
    /// This deployment's unless told.
    environment: Option<Environment>,
    /// What the call costs of the key's limit; 1 unless told.
    cost: Option<Whole<u32>>,
}

/// [`Verify`] and nothing else, as most calls have it: read without a copy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    key: Option<&'a str>,
    scope: Option<&'a str>,
    environment: Option<Environment>,
    cost: Option<Whole<u32>>,
}

/// `POST /v1/keys/verify`: always 200 with the verdict; 401 and 403 concern the caller's own key.
pub async fn verify(
    State(app): State<App>,
    presented: Presented,
    text: Result<JsonText<Verify>, HttpError>,
) -> Result<Success<Verification>, HttpError> {
    static NEED: LazyLock<Requirements> = LazyLock::new(|| Requirements::default().scope(KEYS_VERIFY));
    let caller = presented.admit(&app, &NEED).await?;
    let text = text?;
    let owned;
    let asked = match text.exactly() {
        Some(asked) => asked,
        None => {
            let Verify { key, scope, environment, cost } = text.read()?;
            owned = (key, scope.map(|words| words.spaced()));
            Asked { key: owned.0.as_deref(), scope: owned.1.as_deref(), environment, cost }
        }
    };
    let key = required("key", asked.key)?;
    // A variable that was empty must not ask for less than was meant.
    if asked.scope.is_some_and(|scope| scope.trim().is_empty()) {
        return Err(Error::invalid("scope", "names nothing: leave it out to ask only whether the key is valid").into());
    }
    let scopes = ScopeSet::parse(asked.scope.unwrap_or("")).map_err(|error| Error::invalid("scope", error.to_string()))?;
    let environment = Some(asked.environment.unwrap_or(app.context.config.environment));
    let need = Requirements { scopes, environment, cost: asked.cost.map_or(1, |Whole(cost)| cost) };
    Ok(Success::new(&app, app.verifier.verify(&caller, key, need).await?).secret())
}
