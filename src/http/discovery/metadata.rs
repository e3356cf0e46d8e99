//! What an agent that knows only our address can find: metadata and the page it reads.

use crate::{
    domain::grant_type::CLAIM_GRANT,
    http::{
        discovery::auth_md,
        openapi::{
            describe::{self, Describe},
            document::Document,
        },
        response::{Plain, described},
        routes::{Routes, Verb::Get},
        shared_body::Shared,
    },
    service::services::App,
};
use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described, StatusCode as Status},
};
use axum::{
    Extension,
    body::Bytes,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

pub fn routes<R: Routes>() -> R {
    const RESOURCE: &str = "/.well-known/oauth-protected-resource";
    R::new()
        .on(Get, "/auth.md", page, |op| op.about("authMd", "The page agents read"))
        .on(Get, "/.well-known/auth.md", page, |op| op.about("wellKnownAuthMd", "The same page by its other name"))
        .on(Get, "/.well-known/oauth-authorization-server", authorization_server, |op| {
            op.about("authorizationServer", "Authorization server metadata (RFC 8414)")
        })
        .on(Get, "/.well-known/jwks.json", signing_keys, |op| op.about("jwks", "What session tokens are signed with (RFC 7517)"))
        .on(Get, RESOURCE, protected_resource, |op| op.about("protectedResource", "Protected resource metadata (RFC 9728)"))
        .on(Get, &format!("{RESOURCE}/mcp"), protected_mcp, |op| op.about("protectedMcp", "The same of the MCP endpoint"))
        .on(Get, "/openapi.json", document, |op| op.about("openapi", "This document"))
        .tagged("Discovery")
}

/// An answer that is in memory once, whoever asks.
fn cacheable(content_type: &'static str, bytes: Bytes) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type)];
    (headers, Extension(Shared(bytes.len())), bytes).into_response()
}

struct Markdown(Bytes);

impl IntoResponse for Markdown {
    fn into_response(self) -> Response {
        cacheable("text/markdown; charset=utf-8", self.0)
    }
}

impl OperationOutput for Markdown {
    type Inner = String;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        let mut response = described(200);
        response.content.insert("text/markdown".to_owned(), describe::media(describe::answered::<String>(context)));
        vec![(Some(Status::Code(200)), response)]
    }
}

async fn page(State(app): State<App>, Extension(document): Extension<Document>) -> Markdown {
    Markdown(document.guide(|| auth_md::render(&app)))
}

type Metadata = Plain<Map<String, Value>>;

async fn document(State(app): State<App>, Extension(document): Extension<Document>) -> Plain<Value> {
    Plain::made(cacheable("application/json", document.json(&app.context.config)))
}

fn metadata(value: Value) -> Metadata {
    match value {
        Value::Object(members) => Plain::new(members),
        _ => Plain::new(Map::new()),
    }
}

/// RFC 8414. No grant uses an authorization endpoint, so there are no response types. What stands for one is a page that
/// says what to do, because the MCP SDKs read no metadata without, and their users would never learn why a key was
/// refused; what they ask next, the registration endpoint, tells them. The agent-auth block names every endpoint by each
/// name in use, and lists only what is switched on.
async fn authorization_server(State(app): State<App>) -> Metadata {
    let base = &app.context.config.public_url;
    let mut document = json!({
        "issuer": base,
        "authorization_endpoint": format!("{}/connect", app.context.config.pages_url),
        "registration_endpoint": format!("{base}/oauth2/register"),
        "token_endpoint": format!("{base}/oauth2/token"),
        "revocation_endpoint": format!("{base}/oauth2/revoke"),
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "introspection_endpoint": format!("{base}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": ["Bearer", "client_secret_basic"],
        "grant_types_supported": [CLAIM_GRANT],
        "response_types_supported": [],
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": app.context.catalogue.for_agents(),
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
    });
    for (name, url) in [("op_tos_uri", &app.context.config.brand.terms_url), ("op_policy_uri", &app.context.config.brand.privacy_url)] {
        if !url.is_empty() {
            document[name] = json!(url);
        }
    }
    metadata(document)
}

/// RFC 7517: what session tokens are signed with; empty where there are none.
async fn signing_keys(State(app): State<App>) -> Metadata {
    metadata(json!({"keys": app.accounts.signing_keys()}))
}

/// RFC 9728.
fn resource(app: &App, resource: &str, scopes: bool) -> Metadata {
    let mut document = Map::from_iter([
        ("resource".to_owned(), json!(resource)),
        ("resource_name".to_owned(), json!(app.context.config.service_name)),
        ("authorization_servers".to_owned(), json!([app.context.config.public_url])),
        ("bearer_methods_supported".to_owned(), json!(["header"])),
        ("resource_documentation".to_owned(), json!(format!("{}/auth.md", app.context.config.public_url))),
    ]);
    if scopes {
        document.insert("scopes_supported".to_owned(), json!(app.context.catalogue.for_agents()));
    }
    for (name, url) in
        [("resource_tos_uri", &app.context.config.brand.terms_url), ("resource_policy_uri", &app.context.config.brand.privacy_url)]
    {
        if !url.is_empty() {
            document.insert(name.to_owned(), json!(url));
        }
    }
    Plain::new(document)
}

async fn protected_resource(State(app): State<App>) -> Metadata {
    resource(&app, app.context.config.resource(), true)
}

async fn protected_mcp(State(app): State<App>) -> Metadata {
    resource(&app, &format!("{}/mcp", app.context.config.public_url), true)
}
