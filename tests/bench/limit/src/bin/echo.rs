//! A bare rmcp server with one tool that says what it was told, over Streamable HTTP (`echo PORT`) or stdio (`echo`).

use axum::{Router, routing::get, serve::ListenerExt};
use rmcp::{
    Json, ServerHandler, ServiceExt,
    handler::server::wrapper::Parameters,
    tool, tool_handler, tool_router,
    transport::{StreamableHttpServerConfig, StreamableHttpService, stdio, streamable_http_server::session::local::LocalSessionManager},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Deserialize, Serialize, JsonSchema)]
struct Asked {
    scopes: Vec<String>,
}

#[derive(Clone)]
struct Echo;

#[tool_router]
impl Echo {
    #[tool(description = "Says what it was told")]
    async fn check_scope(&self, Parameters(asked): Parameters<Asked>) -> Json<Asked> {
        Json(asked)
    }
}

#[tool_handler]
impl ServerHandler for Echo {}

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let Some(port) = std::env::args().nth(1) else {
        return runtime.block_on(async {
            let running = Echo.serve(stdio()).await.map_err(std::io::Error::other)?;
            running.waiting().await.map(|_| ()).map_err(std::io::Error::other)
        });
    };
    let config = StreamableHttpServerConfig::default().disable_allowed_hosts();
    let service = StreamableHttpService::new(|| Ok(Echo), Arc::new(LocalSessionManager::default()), config);
    let app = Router::new().route("/healthz", get(|| async { "ok" })).route_service("/mcp", service);
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        axum::serve(listener.tap_io(|stream| drop(stream.set_nodelay(true))), app).await
    })
}
