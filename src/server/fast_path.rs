//! What services and agents call all the time: answered past the routes and layers of the rest, which would cost more
//! than the call itself.

use crate::{
    http::{
        envelope::ErrorFormat,
        extract::{body::JsonText, credential::Presented},
        v1::{
            forward_auth::{self, AUTHORIZE},
            verify,
        },
    },
    server::{cors::with_cors, fallback, guard},
    service::services::App,
};
use axum::{
    Router,
    body::Body,
    extract::{FromRequest, FromRequestParts, State},
    handler::Handler,
    http::Request,
    response::{IntoResponse, Response},
    routing::{any, post},
};

/// Taken past the router: a session has thousands of requests.
pub const MCP: &str = "/mcp";
/// Taken past the router: services call it for each request of their own.
pub const VERIFY: &str = "/v1/keys/verify";

/// The handler without what axum would wrap it in.
pub async fn verified(app: App, request: Request<Body>) -> Response {
    let api = ErrorFormat::Api(app.context.config.profile);
    guard::around_call(app, api, request, async |app, request| {
        let (mut parts, body) = request.into_parts();
        let presented = match Presented::from_request_parts(&mut parts, &app).await {
            Ok(presented) => presented,
            Err(refused) => return refused.into_response(),
        };
        let text = JsonText::from_request(Request::from_parts(parts, body), &app).await;
        verify::verify(State(app), presented, text).await.into_response()
    })
    .await
}

/// Forward-auth in words a proxy can pass on, whatever the method it asks with and whatever it appends to the path.
pub async fn authorized(app: App, request: Request<Body>) -> Response {
    let answering = async |app, request| Handler::call(forward_auth::authorize, request, app).await;
    forward_auth::status_only(request, |request| guard::around_call(app, ErrorFormat::Bare, request, answering)).await
}

/// The same as routes, for methods that are not theirs and pages of other origins.
pub fn routes(app: &App) -> Router {
    let api = ErrorFormat::Api(app.context.config.profile);
    let no_method = async |_, _| fallback::method_not_allowed().await.into_response();
    let verify = post(async |State(app), request| verified(app, request).await)
        .fallback(async move |State(app), request| guard::around_call(app, api, request, no_method).await);
    let authorize = any(async |State(app), request| authorized(app, request).await);
    with_cors(app, Router::new().route(VERIFY, verify)).route(AUTHORIZE, authorize).with_state(app.clone())
}
