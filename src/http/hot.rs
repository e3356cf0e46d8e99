//! What services and agents call all the time: answered past the routes and layers of the rest, which would cost more
//! than the call itself.

use super::{
    App,
    authorize::{self, AUTHORIZE},
    body::JsonText,
    credential::Presented,
    envelope::Family,
    error, guard, keys, with_cors,
};
use crate::mcp::{self, Door, Tools};
use axum::{
    Router,
    body::Body,
    extract::{FromRequest, FromRequestParts, State},
    handler::Handler,
    http::{Method, Request},
    response::{IntoResponse, Response},
    routing::{any, future::RouteFuture, post},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Either},
};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

const MCP: &str = "/mcp";
const VERIFY: &str = "/v1/keys/verify";

/// Everything a deployment answers.
#[derive(Clone)]
pub struct Front {
    app: App,
    mcp: Arc<Door<Tools>>,
    pub router: Router,
}

impl Front {
    pub fn new(app: App) -> Self {
        let (mcp, mut routes) = mcp::ways_in(&app);
        if !app.config.http.cors_origins.is_empty() {
            let door = mcp.clone();
            routes = routes.route(MCP, any(async move |request| door.answer(request).await));
        }
        Self { router: super::router(app.clone(), routes), mcp, app }
    }
}

impl Service<Request<Body>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<BoxFuture<'static, Result<Response, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Other origins are a matter of a layer.
        let direct = self.app.config.http.cors_origins.is_empty();
        let app = self.app.clone();
        match (request.method(), request.uri().path()) {
            (&Method::POST, VERIFY) if direct => Either::Left(verified(app, request).map(Ok).boxed()),
            // Of whatever origin: a browser asks the service behind the proxy, and a preflight that was answered here would
            // be let through there.
            (_, path) if authorize::is_here(path) => Either::Left(authorized(app, request).map(Ok).boxed()),
            (_, MCP) if direct => {
                let mcp = self.mcp.clone();
                // Some kilobytes, so that they are moved once.
                let answering = Box::pin(async move { mcp.answer(request).await });
                Either::Left(guard::call_id(&app, answering).map(Ok).boxed())
            }
            _ => Either::Right(self.router.call(request)),
        }
    }
}

/// The handler without what axum would wrap it in.
async fn verified(app: App, request: Request<Body>) -> Response {
    let api = Family::Api(app.config.profile);
    guard::at_once(app, api, request, async |app, request| {
        let (mut parts, body) = request.into_parts();
        let presented = match Presented::from_request_parts(&mut parts, &app).await {
            Ok(presented) => presented,
            Err(refused) => return refused.into_response(),
        };
        let text = JsonText::from_request(Request::from_parts(parts, body), &app).await;
        keys::verify(State(app), presented, text).await.into_response()
    })
    .await
}

/// Forward-auth in words a proxy can pass on, whatever the method it asks with and whatever it appends to the path.
async fn authorized(app: App, request: Request<Body>) -> Response {
    let answering = async |app, request| Handler::call(authorize::authorize, request, app).await;
    authorize::status_only(request, |request| guard::at_once(app, Family::Bare, request, answering)).await
}

/// The same as routes, for methods that are not theirs and pages of other origins.
pub fn routes(app: &App) -> Router {
    let api = Family::Api(app.config.profile);
    let no_method = async |_, _| error::method_not_allowed().await.into_response();
    let verify = post(async |State(app), request| verified(app, request).await)
        .fallback(async move |State(app), request| guard::at_once(app, api, request, no_method).await);
    let authorize = any(async |State(app), request| authorized(app, request).await);
    with_cors(app, Router::new().route(VERIFY, verify)).route(AUTHORIZE, authorize).with_state(app.clone())
}
