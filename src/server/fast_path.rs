//! What services and proxies call all the time: answered past the routes and extractors of the rest, which would cost more
//! than the call itself.

use crate::{
    http::{
        extract::{body::JsonText, credential::Presented},
        v1::{forward_auth, verify},
    },
    service::services::App,
};
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, State},
    handler::Handler,
    http::Request,
    response::{IntoResponse, Response},
};

/// The handler without what axum would wrap it in.
pub async fn verified(app: App, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let presented = match Presented::from_request_parts(&mut parts, &app).await {
        Ok(presented) => presented,
        Err(refused) => return refused.into_response(),
    };
    let text = JsonText::from_request(Request::from_parts(parts, body), &app).await;
    verify::verify(State(app), presented, text).await.into_response()
}

/// Forward-auth, whatever the method a proxy asks with and whatever it appends to the path.
pub async fn authorized(app: App, request: Request<Body>) -> Response {
    Handler::call(forward_auth::authorize, request, app).await
}
