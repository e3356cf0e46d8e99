//! MCP over stdio: one client on this computer, with a desk of its own for claims and keys.

use super::{
    claims::{Claims, Stored},
    elicit,
    error::ToolError,
    results::{ClaimStatus, KeyRef, PollResult},
    tools::{Tools, Way},
};
use crate::{
    config::Config,
    credentials::{Credential, Credentials},
    domain::id::KeyId,
    owner::{Backend, Call, Reply},
    service::{
        Error,
        view::{Delivered, Revealed, Time},
    },
    world::World,
};
use rmcp::{RoleServer, ServiceExt, model::ProtocolVersion, service::RequestContext, transport::stdio};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What this client keeps on this computer: open claims and keys, each in 0600 files of the data directory.
pub struct Desk {
    data: PathBuf,
    /// The server keys were issued by and for.
    origin: String,
    api_origin: String,
    try_path: String,
    /// How a shell starts this program on the same data: it need not be on the PATH.
    program: String,
    /// `--profile`; else the name the client gives itself, so that no client uses another's key.
    profile: Option<String>,
    /// `COUNTERSIGN_API_KEY`.
    given: Option<Revealed>,
    credentials: Credentials,
    claims: Mutex<HashMap<String, Arc<Claims>>>,
    world: World,
}

/// A client's name as a file name.
fn slug(name: &str) -> String {
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let slug: String = kept.take(40).collect();
    if slug.is_empty() { "default".to_owned() } else { slug }
}

impl Desk {
    fn profile(&self, context: &RequestContext<RoleServer>) -> String {
        match &self.profile {
            Some(profile) => slug(profile),
            None => context.client_info().map_or_else(|| "default".to_owned(), |client| slug(&client.name)),
        }
    }

    pub fn claims(&self, context: &RequestContext<RoleServer>) -> Arc<Claims> {
        let profile = self.profile(context);
        let mut open = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.data.join("claims").join(format!("{profile}.json"));
        open.entry(profile).or_insert_with(|| Arc::new(Claims::in_file(file))).clone()
    }

    /// The key from the environment, else the one this client's own claim stored for this server.
    pub fn credential(&self, context: &RequestContext<RoleServer>) -> Option<Revealed> {
        let stored = || self.credentials.latest(Some(&self.origin), Some(&self.profile(context))).ok().flatten();
        self.given.clone().or_else(|| stored().map(|credential| credential.key))
    }

    /// Whether a key could be stored: asked before one is taken.
    pub fn check_place(&self) -> Result<(), ToolError> {
        self.credentials
            .check_writable()
            .map_err(|error| ToolError(Error::Conflict { detail: format!("the key could not be stored, so it was not taken: {error}") }))
    }

    pub fn store(&self, context: &RequestContext<RoleServer>, key: &Delivered) -> Result<Stored, ToolError> {
        let credential = Credential {
            key_id: key.key_id,
            key: key.access_token.clone(),
            prefix: key.key_prefix.clone(),
            origin: self.origin.clone(),
            api_origin: self.api_origin.clone(),
            profile: self.profile(context),
            scopes: key.scope.clone(),
            environment: key.environment,
            expires_at: key.expires_at,
            stored_at: Time(self.world.now()),
        };
        let path = self.credentials.store(&credential).map_err(|error| {
            ToolError(Error::Conflict { detail: format!("the key could not be stored: {error}; call poll_claim again within a minute") })
        })?;
        Ok(Stored { key: KeyRef::from(key), approved_by: key.approved_by.clone(), stored_at: path.display().to_string() })
    }

    pub fn delivered(&self, stored: Stored, requested_scopes: Vec<String>) -> PollResult {
        let (id, program) = (&stored.key.id, &self.program);
        PollResult {
            status: ClaimStatus::Delivered,
            next: format!(
                "Tell your human the key belongs to {}. Use it without reading it: `{program} curl --key {id} {}`, or `{program} exec --key {id} --env NAME -- COMMAND`.",
                stored.approved_by, self.try_path
            ),
            key: Some(stored.key),
            requested_scopes,
            approved_by: Some(stored.approved_by),
            stored_at: Some(stored.stored_at),
            pickup: None,
        }
    }

    /// A revoked key is of no use: its file goes.
    pub fn forget_key(&self, id: KeyId) {
        if let Err(error) = self.credentials.remove(id) {
            tracing::warn!(%error, "could not remove the file of a revoked key");
        }
    }
}

/// What the command line says of the one client.
pub struct Client {
    /// Keeps its keys apart; `None`: by the name it gives itself.
    pub profile: Option<String>,
    /// How a shell starts this program on the same data.
    pub program: String,
}

/// Serves one client until it closes stdin. stdout carries JSON-RPC only.
pub async fn run(backend: Backend, data: &Path, config: &Config, client: Client, world: World) -> Result<(), Error> {
    let Reply::Status(standing) = backend.call(Call::Status).await? else {
        return Err(Error::internal("the backend answered something else"));
    };
    let api_origin = if config.api.url.is_empty() { standing.url.clone() } else { config.api.url.clone() };
    let desk = Desk {
        data: data.to_owned(),
        origin: standing.url,
        api_origin,
        try_path: config.api.r#try.clone(),
        profile: client.profile,
        program: client.program,
        given: std::env::var("COUNTERSIGN_API_KEY").ok().filter(|key| !key.is_empty()).map(|key| Revealed::new(&key)),
        credentials: Credentials::new(data),
        claims: Mutex::default(),
        world: world.clone(),
    };
    let tools = Tools {
        backend,
        way: Way::Stdio(Arc::new(desk)),
        seal: elicit::codec(world.bytes()),
        world,
        claims: Arc::new(Claims::in_memory()),
        versions: ProtocolVersion::KNOWN_VERSIONS,
    };
    match tools.serve(stdio()).await {
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
