//! What each error is on the wire: to OAuth's clients, in the API, in a tool's result. `tests/it/errors.json` has all of
//! them; `UPDATE_ERRORS=1` rewrites it. What travels beside the sentence is read, and the sentence is for humans.

use crate::{
    elsewhere::{client_of, listening},
    mcp_eras::{self, ERAS, started},
    support::{process::Home, *},
};
use countersign::{
    api::{error::Error, verification::RateLimit},
    config::settings::{Config, Profile},
    domain::scope::ScopeSet,
    http::envelope::ErrorFormat,
    mcp::error::{CODES, ToolError},
};
use rmcp::{handler::server::tool::IntoCallToolResult, model::CallToolResponse};
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf};

fn text(text: &str) -> String {
    text.to_owned()
}

/// The error after this one: a new one does not compile until it has its place, and then its row.
fn after(error: &Error) -> Option<Error> {
    let scopes = || ScopeSet::parse("audience:read email:send").unwrap();
    Some(match error {
        Error::Invalid { .. } => Error::Malformed { detail: text("the body is not valid JSON") },
        Error::Malformed { .. } => Error::invalid_scope("not available to agents here: x:y", scopes()),
        Error::InvalidScope { .. } => Error::InvalidLoginHint,
        Error::InvalidLoginHint => Error::UnsupportedGrantType,
        Error::UnsupportedGrantType => Error::UnsupportedType,
        Error::UnsupportedType => Error::InvalidGrant,
        Error::InvalidGrant => Error::AuthorizationPending { interval: 5 },
        Error::AuthorizationPending { .. } => Error::SlowDown { interval: 10 },
        Error::SlowDown { .. } => Error::ExpiredToken { register: false },
        Error::ExpiredToken { register: false } => Error::ExpiredToken { register: true },
        Error::ExpiredToken { register: true } => Error::AccessDenied,
        Error::AccessDenied => Error::InvalidClaimToken,
        Error::InvalidClaimToken => Error::ClaimedOrInFlight { already: false },
        Error::ClaimedOrInFlight { already: false } => Error::ClaimedOrInFlight { already: true },
        Error::ClaimedOrInFlight { already: true } => Error::ClaimExpired,
        Error::ClaimExpired => Error::TooManyAttempts { retry_after: Some(10) },
        Error::TooManyAttempts { retry_after: Some(_) } => Error::TooManyAttempts { retry_after: None },
        Error::TooManyAttempts { retry_after: None } => Error::Unauthorized { presented: false },
        Error::Unauthorized { presented: false } => Error::Unauthorized { presented: true },
        Error::Unauthorized { presented: true } => Error::CallerUnauthorized { presented: true, basic: false },
        Error::CallerUnauthorized { basic: false, .. } => Error::CallerUnauthorized { presented: true, basic: true },
        Error::CallerUnauthorized { basic: true, .. } => Error::InvalidRefreshToken,
        Error::InvalidRefreshToken => Error::InsufficientScope { missing: scopes() },
        Error::InsufficientScope { .. } => Error::Forbidden { detail: text("that is not yours") },
        Error::Forbidden { .. } => Error::not_found("key"),
        Error::NotFound { what } if what == "key" => Error::not_found("claim"),
        Error::NotFound { .. } => Error::Conflict { detail: text("the account has all its keys") },
        Error::Conflict { .. } => Error::IdempotencyKeyReused,
        Error::IdempotencyKeyReused => Error::TooMany { detail: text("too many registrations"), retry_after: 360 },
        Error::TooMany { .. } => Error::RateLimited(RateLimit { limit: 60, remaining: 0, reset: 1_800_000_000, retry_after: Some(7) }),
        Error::RateLimited(_) => Error::Busy,
        Error::Busy => Error::WrongCode,
        Error::WrongCode => Error::FreshCodeNeeded,
        Error::FreshCodeNeeded => Error::AlreadyDecided,
        Error::AlreadyDecided => Error::ReviewChanged,
        Error::ReviewChanged => Error::WrongPassword,
        Error::WrongPassword => Error::PasswordNeeded,
        Error::PasswordNeeded => Error::SignInNeeded,
        Error::SignInNeeded => Error::ForeignForm,
        Error::ForeignForm => Error::PayloadTooLarge,
        Error::PayloadTooLarge => Error::TooSlow,
        Error::TooSlow => Error::UnsupportedMediaType { expected: text("application/json") },
        Error::UnsupportedMediaType { .. } => Error::NoRoute,
        Error::NoRoute => Error::MethodNotAllowed,
        Error::MethodNotAllowed => Error::Misdirected,
        Error::Misdirected => Error::Unavailable,
        Error::Unavailable => Error::ReadOnly,
        Error::ReadOnly => Error::Unreachable { detail: text("https://x.example can't be reached") },
        Error::Unreachable { .. } => Error::Internal,
        Error::Internal => return None,
    })
}

fn every() -> impl Iterator<Item = Error> {
    std::iter::successors(Some(Error::invalid("limit", "must be 1 to 100")), after)
}

fn tool_result(error: Error) -> Value {
    let Ok(CallToolResponse::Complete(result)) = ToolError::from(error).into_call_tool_result() else { panic!("no result") };
    let result = serde_json::to_value(result).unwrap();
    assert_eq!(result["isError"], true, "{result}");
    serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap()
}

fn wire(error: &Error, config: &Config) -> Value {
    let over_http = |format: ErrorFormat| {
        let (status, code, body) = format.body(error, config);
        let body = serde_json::to_value(body).unwrap();
        assert!(body.to_string().contains(code), "{body}");
        json!({"status": status.as_u16(), "body": body})
    };
    let profiles = [("flat", Profile::Flat), ("nested", Profile::Nested), ("problem", Profile::Problem)];
    let api: Map<String, Value> =
        profiles.map(|(name, profile)| (name.to_owned(), over_http(ErrorFormat::Api(profile)))).into_iter().collect();
    let tool = tool_result(error.clone());
    assert!(CODES.contains(&tool["error"].as_str().unwrap()), "{tool}");
    json!({"error": error, "oauth": over_http(ErrorFormat::OAuth), "api": api, "mcp": tool})
}

#[test]
fn every_error_is_on_the_wire_as_its_file_says() {
    let config = Config { public_url: "https://x.example".to_owned(), ..Config::default() };
    let all: Vec<Value> = every().map(|error| wire(&error, &config)).collect();
    let found = serde_json::to_string_pretty(&all).unwrap() + "\n";
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/errors.json");
    if std::env::var_os("UPDATE_ERRORS").is_some() {
        fs::write(&file, &found).unwrap();
    }
    assert!(fs::read_to_string(&file).unwrap_or_default() == found, "an error changed: UPDATE_ERRORS=1, and look at the difference");
}

#[tokio::test]
async fn oauths_errors_name_the_field_as_the_request_did_and_list_the_scopes() {
    let app = app().await;
    for name in ["scope", "scopes"] {
        let body = app.http().register(json!({"type": "service_auth", "agent_name": "Claude", name: "no:such"})).await;
        let body = body.oauth_error(400, "invalid_scope");
        assert_eq!(body["field"], name, "{body}");
        assert!(body["available_scopes"].as_array().unwrap().contains(&json!("audience:read")), "{body}");
    }
    let both = json!({"type": "service_auth", "agent_name": "Claude", "scope": "audience:read", "scopes": ["audience:read"]});
    assert_eq!(app.http().register(both).await.oauth_error(400, "invalid_request")["field"], "scopes");
    for (body, code, field) in [
        (json!({"type": "service_auth"}), "invalid_request", "agent_name"),
        (json!({"type": "other", "agent_name": "Claude"}), "unsupported_identity_type", "type"),
        (json!({"type": "service_auth", "agent_name": "Claude", "login_hint": "nobody"}), "invalid_login_hint", "login_hint"),
        (json!({"type": "service_auth", "agent_name": "Claude", "environment": 5}), "invalid_request", "environment"),
    ] {
        let body = app.http().register(body).await.oauth_error(400, code);
        assert_eq!((&body["field"], body.get("available_scopes")), (&json!(field), None), "{body}");
    }
    let grant = app.http().post("/oauth2/token").form(&[("grant_type", "password")]).send().await;
    assert_eq!(grant.oauth_error(400, "unsupported_grant_type")["field"], "grant_type");
    assert_eq!(app.http().poll("clm_unknown").await.oauth_error(400, "invalid_grant").get("field"), None);
}

#[tokio::test]
async fn the_apis_errors_name_the_field_in_every_envelope() {
    for (profile, at) in [("flat", "/field"), ("nested", "/error/field"), ("problem", "/field")] {
        let app = build().set("profile", profile).start().await;
        let human = app.human("alice@example.com").await;
        let key = app.key(&human, &["keys:read", "keys:write"]).await.key;
        let refused = app.http().get("/v1/keys?limit=0").bearer(key.expose()).send().await;
        assert_eq!((refused.status, refused.json().pointer(at)), (400, Some(&json!("limit"))), "{}", refused.text());
        let made = app.http().post("/v1/keys").bearer(key.expose()).json(&json!({"name": "x", "scopes": ["no:such"]})).send().await;
        assert_eq!((made.status, made.json().pointer(at)), (400, Some(&json!("scopes"))), "{}", made.text());
    }
}

#[tokio::test]
async fn a_tools_errors_name_the_argument_and_list_the_scopes() {
    let (_app, http) = started().await;
    for era in ERAS {
        let mcp = mcp_eras::Client::new(&http, era, None).await;
        let refused = mcp.refused("register_agent", json!({"agent_name": "Claude", "scopes": ["no:such"]})).await;
        assert_eq!((&refused["error"], &refused["field"]), (&json!("invalid_scope"), &json!("scopes")), "{era}: {refused}");
        assert!(refused["available_scopes"].as_array().unwrap().contains(&json!("audience:read")), "{era}: {refused}");
        for (tool, arguments, field) in [
            ("register_agent", json!({}), "agent_name"),
            ("register_agent", json!({"agent_name": "Claude", "scopes": vec!["a:b"; 65]}), "scopes"),
            ("register_agent", json!({"agent_name": "Claude", "login_hint": "nobody"}), "login_hint"),
            ("poll_claim", json!({"claim_id": "x", "wait_seconds": "soon"}), "wait_seconds"),
            ("poll_claim", json!({"wait_seconds": 1}), "claim_id"),
        ] {
            let refused = mcp.refused(tool, arguments).await;
            assert_eq!(refused["field"], field, "{era}: {refused}");
        }
    }
}

/// What a model is told of a refusal that a server elsewhere said so.
async fn told(status: &str, body: Value) -> Value {
    let body = body.to_string();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let (url, _) = listening(head + &body).await;
    client_of(&Home::new(), &url, &[]).await.tool("register_agent", json!({"agent_name": "Claude"})).await
}

#[tokio::test]
async fn a_server_of_before_that_said_it_in_its_sentence_alone_is_understood() {
    let listed = json!(["audience:read", "email:send"]);
    let said = "not available to agents here: x:y; agents may ask for: audience:read email:send";
    let before = told("400 Bad Request", json!({"error": "invalid_scope", "error_description": said})).await;
    let now = json!({"error": "invalid_scope", "error_description": said, "field": "scope", "available_scopes": listed});
    for refused in [before, told("400 Bad Request", now).await] {
        assert_eq!((&refused["error_description"], &refused["available_scopes"]), (&json!(said), &listed), "{refused}");
    }
    let said = "`environment` must be one of: live";
    for body in [
        json!({"error": "invalid_request", "error_description": said}),
        json!({"error": {"code": "invalid_request", "message": said, "field": "environment"}}),
    ] {
        let refused = told("400 Bad Request", body).await;
        assert_eq!((&refused["field"], &refused["error_description"]), (&json!("environment"), &json!(said)), "{refused}");
    }
}
