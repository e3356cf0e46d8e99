//! What an agent that knows only our address can find: metadata and the page it reads.

use super::{
    App,
    answer::{Plain, described},
    auth_md,
    openapi::{self, Document, Told},
    token::CLAIM_GRANT,
};
use aide::{
    OperationOutput,
    axum::{ApiRouter, routing::get_with},
    generate::GenContext,
    openapi::{Operation, Response as Described, StatusCode as Status},
};
use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub fn routes() -> ApiRouter<App> {
    const RESOURCE: &str = "/.well-known/oauth-protected-resource";
    ApiRouter::new()
        .api_route("/auth.md", get_with(page, |op| op.about("authMd", "The page agents read")))
        .api_route("/.well-known/auth.md", get_with(page, |op| op.about("wellKnownAuthMd", "The same page by its other name")))
        .api_route(
            "/.well-known/oauth-authorization-server",
            get_with(authorization_server, |op| op.about("authorizationServer", "Authorization server metadata (RFC 8414)")),
        )
        .api_route(RESOURCE, get_with(protected_resource, |op| op.about("protectedResource", "Protected resource metadata (RFC 9728)")))
        .api_route(&format!("{RESOURCE}/mcp"), get_with(protected_mcp, |op| op.about("protectedMcp", "The same of the MCP endpoint")))
        .api_route("/openapi.json", get_with(document, |op| op.about("openapi", "This document")))
        .with_path_items(|item| item.tag("Discovery"))
}

struct Markdown(String);

impl IntoResponse for Markdown {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], self.0).into_response()
    }
}

impl OperationOutput for Markdown {
    type Inner = String;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        let mut response = described(200);
        response.content.insert("text/markdown".to_owned(), openapi::media(openapi::answered::<String>(context)));
        vec![(Some(Status::Code(200)), response)]
    }
}

async fn page(State(app): State<App>) -> Markdown {
    Markdown(auth_md::render(&app))
}

type Metadata = Plain<Map<String, Value>>;

async fn document(Extension(document): Extension<Document>) -> Plain<Arc<Value>> {
    Plain::new(document.0)
}

fn metadata(value: Value) -> Metadata {
    match value {
        Value::Object(members) => Plain::new(members),
        _ => Plain::new(Map::new()),
    }
}

/// RFC 8414. There is no authorization endpoint, so no response types; the agent-auth block names every endpoint by
/// each name in use, and lists only what is switched on.
async fn authorization_server(State(app): State<App>) -> Metadata {
    let base = &app.config.public_url;
    metadata(json!({
        "issuer": base,
        "token_endpoint": format!("{base}/oauth2/token"),
        "revocation_endpoint": format!("{base}/oauth2/revoke"),
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "grant_types_supported": [CLAIM_GRANT],
        "response_types_supported": [],
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

/// RFC 9728.
fn resource(app: &App, resource: &str, scopes: bool) -> Metadata {
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
    Plain::new(document)
}

async fn protected_resource(State(app): State<App>) -> Metadata {
    resource(&app, app.config.resource(), true)
}

async fn protected_mcp(State(app): State<App>) -> Metadata {
    resource(&app, &format!("{}/mcp", app.config.public_url), true)
}
