//! What an agent that knows only our address can find: metadata and the page it reads.

use super::{App, auth_md, token::CLAIM_GRANT};
use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};

pub fn router() -> Router<App> {
    Router::new()
        .route("/auth.md", get(page))
        .route("/.well-known/auth.md", get(page))
        .route("/.well-known/oauth-authorization-server", get(authorization_server))
        .route("/.well-known/jwks.json", get(signing_keys))
        .route("/.well-known/oauth-protected-resource", get(protected_resource))
        .route("/.well-known/oauth-protected-resource/mcp", get(protected_mcp))
}

async fn page(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], auth_md::render(&app)).into_response()
}

/// RFC 8414. There is no authorization endpoint, so no response types; the agent-auth block names every endpoint by
/// each name in use, and lists only what is switched on.
async fn authorization_server(State(app): State<App>) -> Json<Value> {
    let base = &app.config.public_url;
    Json(json!({
        "issuer": base,
        "token_endpoint": format!("{base}/oauth2/token"),
        "revocation_endpoint": format!("{base}/oauth2/revoke"),
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": [CLAIM_GRANT],
        "response_types_supported": [],
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": app.catalogue().for_agents(),
        "service_documentation": format!("{base}/auth.md"),
        "agent_auth": {
            "skill": format!("{base}/auth.md"),
            "identity_endpoint": format!("{base}/agent/identity"),
            "register_uri": format!("{base}/agent/identity"),
            "claim_endpoint": format!("{base}/agent/identity/claim"),
            "claim_uri": format!("{base}/agent/identity/claim"),
            "identity_types_supported": ["service_auth"],
            "service_auth": {"credential_types_supported": ["api_key"]},
        },
    }))
}

/// RFC 7517: what session tokens are signed with; empty where there are none.
async fn signing_keys(State(app): State<App>) -> Json<Value> {
    Json(json!({"keys": app.signing_keys()}))
}

/// RFC 9728.
fn resource(app: &App, resource: &str, scopes: bool) -> Json<Value> {
    let mut document = Map::from_iter([
        ("resource".to_owned(), json!(resource)),
        ("resource_name".to_owned(), json!(app.config.service_name)),
        ("authorization_servers".to_owned(), json!([app.config.public_url])),
        ("bearer_methods_supported".to_owned(), json!(["header"])),
        ("resource_documentation".to_owned(), json!(format!("{}/auth.md", app.config.public_url))),
    ]);
    if scopes {
        document.insert("scopes_supported".to_owned(), json!(app.catalogue().for_agents()));
    }
    for (name, url) in [("resource_tos_uri", &app.config.brand.terms_url), ("resource_policy_uri", &app.config.brand.privacy_url)] {
        if !url.is_empty() {
            document.insert(name.to_owned(), json!(url));
        }
    }
    Json(Value::Object(document))
}

async fn protected_resource(State(app): State<App>) -> Json<Value> {
    resource(&app, app.config.resource(), true)
}

async fn protected_mcp(State(app): State<App>) -> Json<Value> {
    resource(&app, &format!("{}/mcp", app.config.public_url), true)
}
