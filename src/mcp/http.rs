//! Streamable HTTP at `/mcp`, beside the HTTP+SSE of 2024-11-05 ([`super::sse`]): the same gate, the same tools, one
//! limit of sessions.

use super::{
    args::HttpCaller,
    claims::Claims,
    elicit,
    gate::{gate, rpc_error},
    sessions::{Sessions, hashed},
    sse,
    tools::{Tools, Way},
};
use crate::{
    http::App,
    owner::{Backend, Local, Role},
};
use axum::{
    Extension, Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use futures::StreamExt;
use rmcp::{
    ServerHandler,
    model::ProtocolVersion,
    transport::{StreamableHttpServerConfig, StreamableHttpService, streamable_http_server::session::local::LocalSessionManager},
};
use std::{path::PathBuf, sync::Arc};

/// The tools, over every way in that HTTP has.
pub fn router(app: &App) -> Router {
    let tools = Tools {
        backend: Backend::Local(Local::new(app.clone(), Role::Serve, PathBuf::new())),
        way: Way::Http(app.clone()),
        world: app.world.clone(),
        claims: Arc::new(Claims::in_memory()),
        versions: ProtocolVersion::KNOWN_VERSIONS,
        seal: elicit::codec(app.world.bytes()),
    };
    let legacy = Tools { versions: ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25), ..tools.clone() };
    serving(app, tools, legacy)
}

/// Any handler behind our doors; `legacy` is the one that HTTP+SSE speaks to.
pub fn serving<H: ServerHandler + Clone>(app: &App, handler: H, legacy: H) -> Router {
    // Hosts and origins are checked by the gate, which knows the configured addresses.
    let config = StreamableHttpServerConfig::default().disable_allowed_hosts();
    let manager = Arc::new(LocalSessionManager::default());
    let sessions = Arc::new(Sessions::new(manager.clone()));
    let service = StreamableHttpService::new(move || Ok(handler.clone()), manager, config);
    let mut router =
        Router::new().route_service("/mcp", service).layer(from_fn_with_state((app.clone(), sessions.clone()), in_its_session));
    if app.config.mcp.legacy_sse {
        router = router.merge(sse::router(app, sessions, legacy));
    }
    router.layer(from_fn_with_state(app.clone(), gate))
}

/// Sessions belong to the credential that opened them; what streams for a credential ends with it.
async fn in_its_session(
    State((app, sessions)): State<(App, Arc<Sessions>)>,
    Extension(mut caller): Extension<HttpCaller>,
    mut request: Request,
    next: Next,
) -> Response {
    let (by, source) = (caller.credential_name(), caller.source);
    let session = session_of(request.headers());
    if session.as_ref().is_some_and(|id| !sessions.admits(id, by.as_deref())) {
        // As if it were not there: who has only its id learns nothing.
        return rpc_error(StatusCode::NOT_FOUND, -32001, "no such session: initialize again");
    }
    caller.session = session.as_deref().map(hashed);
    request.extensions_mut().insert(caller.clone());
    let method = request.method().clone();
    let response = next.run(request).await;
    match (session, session_of(response.headers())) {
        (None, Some(id)) => sessions.opened(&id, by, source, None).await,
        // Forgotten only once it is really gone: the SDK may refuse to end it.
        (Some(id), _) if (method == Method::DELETE && response.status().is_success()) || response.status() == StatusCode::NOT_FOUND => {
            sessions.ended(&id);
        }
        _ => {}
    }
    while_wanted(app, caller, method, response)
}

/// A stream of the server's own ends with the key it is for, and with the process. An answer to a call does so by
/// itself, and says why; the call is told when nobody reads its answer any more.
fn while_wanted(app: App, caller: HttpCaller, method: Method, response: Response) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let HttpCaller { credential, gone, .. } = caller;
    let unread = gone.drop_guard();
    let read = move |body: Body| body.into_data_stream().inspect(move |_| _ = &unread);
    if method != Method::GET {
        return response.map(|body| Body::from_stream(read(body)));
    }
    let over = async move {
        tokio::select! {
            () = app.until_ended(credential.as_ref().map(|it| &it.caller)) => {}
            () = app.until_draining() => {}
        }
    };
    response.map(|body| Body::from_stream(read(body).take_until(Box::pin(over))))
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}
