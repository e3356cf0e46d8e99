//! Where a request comes in: the fast path for verifications and MCP calls, the router for the rest.

use crate::{
    http::v1::forward_auth,
    mcp::{
        server::Tools,
        streamable_http::{self, Endpoint},
    },
    server::{
        fast_path::{MCP, VERIFY, authorized, verified},
        guard,
    },
    service::services::App,
};
use axum::{
    Router,
    body::Body,
    http::{Method, Request},
    response::Response,
    routing::{any, future::RouteFuture},
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

/// Everything a deployment answers.
#[derive(Clone)]
pub struct Front {
    app: App,
    mcp: Arc<Endpoint<Tools>>,
    pub router: Router,
}

impl Front {
    /// Builds the routes once, and with them the tools over HTTP.
    pub fn new(app: App) -> Self {
        let (mcp, mut routes) = streamable_http::endpoints(&app);
        if !app.context.config.http.cors_origins.is_empty() {
            let endpoint = mcp.clone();
            routes = routes.route(MCP, any(async move |request| endpoint.answer(request).await));
        }
        Self { router: crate::server::router::router(app.clone(), routes), mcp, app }
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
        let direct = self.app.context.config.http.cors_origins.is_empty();
        let app = self.app.clone();
        match (request.method(), request.uri().path()) {
            (&Method::POST, VERIFY) if direct => Either::Left(verified(app, request).map(Ok).boxed()),
            // Of whatever origin: a browser asks the service behind the proxy, and a preflight that was answered here would
            // be let through there.
            (_, path) if forward_auth::is_here(path) => Either::Left(authorized(app, request).map(Ok).boxed()),
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
