//! Where a request comes in: past the guard, and then on the fast path for verifications and MCP calls, the router for the
//! rest.

use crate::{
    http::v1::forward_auth,
    mcp::{
        server::Tools,
        streamable_http::{self, Endpoint},
    },
    server::{
        cors::with_cors,
        fallback,
        fast_path::{authorized, verified},
        guard::{Guard, RequestKind},
    },
    service::services::App,
};
use axum::{
    Router,
    body::Body,
    http::{Method, Request, header},
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, Map},
};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// On its way to be answered.
type Answering = Map<BoxFuture<'static, Response>, fn(Response) -> Result<Response, Infallible>>;

/// Everything a deployment answers.
#[derive(Clone)]
pub struct Front {
    app: App,
    mcp: Arc<Endpoint<Tools>>,
    pub router: Router,
    /// What pages of other origins may call, where the configuration names some.
    cors: Option<Router>,
}

impl Front {
    /// Builds the routes once, and with them the tools over HTTP.
    pub fn new(app: App) -> Self {
        let (mcp, sse) = streamable_http::endpoints(&app);
        let front = Self { router: crate::server::router::router(app.clone(), sse), mcp, app, cors: None };
        let for_others = with_cors(&front.app, || Router::new().fallback_service(Entered(front.clone())));
        Self { cors: for_others, ..front }
    }

    fn answered(&self, guard: Guard, request: Request<Body>) -> BoxFuture<'static, Response> {
        match guard.kind {
            RequestKind::Verify if request.method() == Method::POST => {
                let app = self.app.clone();
                guard.pass(request, |request| verified(app, request)).boxed()
            }
            RequestKind::Verify => {
                let refused = |answered| ([(header::ALLOW, "POST")], answered).into_response();
                guard.pass(request, move |_| fallback::method_not_allowed().map(refused)).boxed()
            }
            // Of whatever origin: a browser asks the service behind the proxy, and a preflight that was answered here would
            // be let through there.
            RequestKind::ForwardAuth => {
                let app = self.app.clone();
                forward_auth::status_only(request, |request| guard.pass(request, |request| authorized(app, request))).boxed()
            }
            RequestKind::Mcp => {
                let mcp = self.mcp.clone();
                // Some kilobytes, so that they are moved once.
                guard.pass(request, |request| Box::pin(async move { mcp.answer(request).await })).boxed()
            }
            RequestKind::McpEvents
            | RequestKind::Probe
            | RequestKind::Password
            | RequestKind::Basic
            | RequestKind::Program
            | RequestKind::Page => {
                let mut router = self.router.clone();
                guard.pass(request, move |request| router.call(request).unwrap_or_else(|never| match never {})).boxed()
            }
        }
    }
}

impl Service<Request<Body>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = Guard::of(&self.app, &request);
        let answering = match &self.cors {
            Some(cors) if guard.kind.is_for_other_origins() => {
                let mut cors = cors.clone();
                guard.enter(request, move |request| cors.call(request).unwrap_or_else(|never| match never {})).boxed()
            }
            _ => self.answered(guard, request),
        };
        answering.map(Ok as fn(_) -> _)
    }
}

/// What is behind the words to other origins.
#[derive(Clone)]
struct Entered(Front);

impl Service<Request<Body>> for Entered {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = Guard::of(&self.0.app, &request).entered();
        self.0.answered(guard, request).map(Ok as fn(_) -> _)
    }
}
