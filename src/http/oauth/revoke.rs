//! `POST /oauth2/revoke`: a key gives itself up, or one that it may revoke (RFC 7009).

use crate::{
    http::{
        error::HttpError,
        extract::{body::AnyBody, client_address::ClientSource, credential::MaybeClient, params::required},
        response::Plain,
    },
    service::services::App,
};
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
pub struct Revoke {
    #[schemars(required)]
    token: Option<String>,
}

/// Nothing more to say.
#[derive(Serialize, JsonSchema)]
pub struct RevokeResponse {}

/// `POST /oauth2/revoke`, RFC 7009: 200 for unknown tokens too, 400 for what is not one token.
pub async fn revoke(
    State(app): State<App>,
    ClientSource(source): ClientSource,
    caller: MaybeClient,
    AnyBody(body): AnyBody<Revoke>,
) -> Result<Plain<RevokeResponse>, HttpError> {
    caller.check(&app).await?;
    let text = required("token", body.token)?;
    app.keys.revoke_presented(app.keys.to_revoke(&text)?, source).await?;
    Ok(Plain::new(RevokeResponse {}).secret())
}
