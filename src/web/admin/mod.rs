//! `/admin`: the deployment, for operator accounts. For everybody else there is no such page.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod download;
pub mod operator;
pub(crate) mod overview;

use crate::service::services::App;
use axum::{
    Router,
    routing::{get, post},
};

pub fn router() -> Router<App> {
    Router::new()
        .route("/admin", get(overview::show))
        .route("/admin/days.csv", get(overview::download))
        .route("/admin/accounts", get(accounts::list))
        .route("/admin/accounts.csv", get(accounts::download))
        .route("/admin/accounts/{id}", get(accounts::show))
        .route("/admin/accounts/{id}/plan", post(accounts::set_plan))
        .route("/admin/accounts/{id}/verify-email", post(accounts::verify_email))
        .route("/admin/accounts/{id}/disable", get(accounts::confirm_disable).post(accounts::disable))
        .route("/admin/accounts/{id}/enable", post(accounts::enable))
        .route("/admin/agents", get(agents::list))
        .route("/admin/agents.csv", get(agents::download))
}
