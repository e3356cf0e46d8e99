//! MCP over stdio: one client on this computer, which has a custody of its own for claims and keys.

use crate::{
    api::error::Error,
    client::backend::Backend,
    config::settings::Config,
    local_keys::{
        keys::{self, StoredKeys},
        profile::slug,
    },
    mcp::{
        client_claims::Claims,
        custody::KeyCustody,
        elicitation,
        json_rpc::Lines,
        server::{Tools, Transport},
        tools::schema_of,
    },
    platform::runtime::Runtime,
};
use rmcp::{ServiceExt, model::ProtocolVersion, transport::stdio};
use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};
use tokio::{io::BufReader, sync::OnceCell};

/// What the command line says of the one client.
pub struct Client {
    /// Keeps its keys apart; `None`: by the name it gives itself.
    pub profile: Option<String>,
    /// How a shell starts this program on the same data.
    pub program: String,
    /// The server elsewhere it asks, if it does.
    pub server: Option<String>,
}

/// Serves one client until it closes stdin. stdout carries JSON-RPC only.
pub async fn run(backend: Backend, data: &Path, config: &Arc<Config>, client: Client, runtime: Runtime) -> Result<(), Error> {
    let open_claims = data.join("claims");
    let custody = KeyCustody {
        backend: backend.clone(),
        origins: OnceCell::new(),
        config: config.clone(),
        open_claims: match &client.server {
            Some(server) => open_claims.join(&blake3::hash(server.as_bytes()).to_hex()[..16]),
            None => open_claims,
        },
        folder: std::env::current_dir().map_err(Error::internal)?,
        profile: client.profile.map_or_else(OnceLock::new, |profile| slug(&profile).into()),
        program: client.program,
        env_key: keys::env_key(),
        credentials: StoredKeys::new(data),
        claims: OnceLock::new(),
        revoked: Mutex::default(),
        runtime: runtime.clone(),
    };
    let tools = Tools {
        schema_of,
        backend,
        way: Transport::Stdio(Arc::new(custody)),
        seal: elicitation::codec(runtime.bytes()),
        runtime,
        claims: Arc::new(Claims::in_memory()),
        versions: ProtocolVersion::KNOWN_VERSIONS,
    };
    let (from, to) = stdio();
    match tools.serve((Lines::new(BufReader::new(from)), to)).await {
        Ok(running) => {
            let _ = running.waiting().await;
            Ok(())
        }
        // An empty stdin: the client changed its mind.
        Err(error) => {
            tracing::debug!(%error, "no client spoke");
            Ok(())
        }
    }
}
