//! `/settings/keys`: what opens the API in this human's name: see, make, change, replace and end it.

pub(crate) mod create;
pub(crate) mod edit;
pub(crate) mod list;
pub mod parts;
pub(crate) mod reveal;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod show;

use crate::service::services::App;
use axum::{
    Router,
    routing::{get, post},
};

pub fn router() -> Router<App> {
    Router::new()
        .route("/settings/keys", get(list::show))
        .route("/settings/keys/new", get(create::show).post(create::create))
        .route("/settings/keys/{key}", get(show::show))
        .route("/settings/keys/{key}/edit", get(edit::show).post(edit::edit))
        .route("/settings/keys/{key}/disable", post(edit::disable))
        .route("/settings/keys/{key}/enable", post(edit::enable))
        .route("/settings/keys/{key}/rotate", get(rotate::show).post(rotate::rotate))
        .route("/settings/keys/{key}/revoke", get(revoke::show).post(revoke::revoke))
}
