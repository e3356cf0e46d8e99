//! Stored keys for `curl` and `exec`: which one is meant, whether it still works, and where it may go now.

use crate::{
    api::error::Error,
    cli::{failure::Failure, print},
    config::url::is_loopback_url,
    domain::id::KeyId,
    instance::control::{
        client::SocketClient,
        request::{ControlRequest, ControlResponse},
        status::InstanceStatus,
    },
    local_keys::{
        keys::{StoredKey, StoredKeys},
        profile::slug,
    },
};
use std::{collections::HashSet, path::Path};

/// What the command line says of the key.
pub struct Wanted<'a> {
    pub id: Option<KeyId>,
    pub profile: Option<&'a str>,
    /// The origin the key is to be sent to, if it was named: it goes only where it was issued for.
    pub url: Option<&'a str>,
}

/// The keys of a data directory, and who serves it.
pub struct Stored {
    keys: StoredKeys,
    /// Known by its user, as the kernel tells it over the socket; whoever listens on a port could be anybody.
    owner: Option<(SocketClient, InstanceStatus)>,
}

impl Stored {
    pub async fn open(data: &Path) -> Self {
        let asked = async {
            let client = SocketClient::of(data).ok()?;
            match client.ask(&ControlRequest::Status).await {
                Ok(Ok(ControlResponse::Status(standing))) => Some((client, standing)),
                _ => None,
            }
        };
        Self { keys: StoredKeys::new(data), owner: asked.await }
    }

    /// The newest key that is meant; without an origin those that this data directory's server issued go first. Keys of
    /// several clients or servers are left to the human: one client's work is not done with another's key.
    pub fn chosen(&self, wanted: &Wanted<'_>, here: &str) -> Result<StoredKey, Failure> {
        let meant = |key: &StoredKey| {
            wanted.id.is_none_or(|id| id == key.key_id)
                && wanted.profile.is_none_or(|profile| profile == key.profile || slug(profile) == key.profile)
        };
        let mut keys = self.keys.list().map_err(Failure::failed)?;
        keys.retain(meant);
        let found: Vec<_> = match wanted.url {
            Some(url) => keys.iter().filter(|key| self.is_for(key, url)).collect(),
            None if keys.iter().any(|key| !key.elsewhere) => keys.iter().filter(|key| !key.elsewhere).collect(),
            None => keys.iter().collect(),
        };
        let owners: HashSet<_> = found.iter().map(|key| (key.elsewhere.then_some(&key.origin), &key.profile)).collect();
        if owners.len() > 1 {
            let each =
                found.iter().map(|key| format!("\n  --key {}  {}…, --profile {}, of {}", key.key_id, key.prefix, key.profile, key.origin));
            return Err(Failure::Usage(format!("several clients keep keys here; say whose to use:{}", each.collect::<String>())));
        }
        let origin = wanted.url.unwrap_or(here);
        match found.first() {
            Some(key) => Ok((*key).clone()),
            // A key exists, but not for there: say so rather than that there is none.
            None if !keys.is_empty() => Err(Failure::NotAllowed(format!(
                "no stored key was issued for {origin}, and a key goes only to the origin it was issued for"
            ))),
            None => Err(no_key(origin)),
        }
    }

    /// Whether a key was issued for this origin, or by the server that has this origin now.
    pub fn is_for(&self, key: &StoredKey, origin: &str) -> bool {
        let now = self.owner.as_ref().filter(|_| key.goes_with_the_data());
        [&key.origin, &key.api_origin]
            .into_iter()
            .chain(now.into_iter().flat_map(|(_, now)| [&now.url, &now.api]))
            .any(|known| known == origin)
    }

    /// Whether a key still works, asked of the owner if it issued it. A dead one is forgotten, so that the next call
    /// takes another or says what to do.
    pub async fn works(&self, key: &StoredKey) -> Result<bool, Failure> {
        let Some((owner, standing)) = &self.owner else { return Ok(true) };
        if !key.goes_with_the_data() && key.origin != standing.url {
            return Ok(true);
        }
        let check = ControlRequest::CheckScope { credential: key.key.clone(), scopes: Vec::new(), environment: None };
        if !matches!(owner.ask(&check).await, Ok(Err(Error::Unauthorized { .. }))) {
            return Ok(true);
        }
        print::note(&format!("countersign: {}… was revoked or has expired; forgetting it", key.prefix));
        self.keys.remove(&key.origin, key.key_id).map_err(Failure::failed)?;
        Ok(false)
    }

    /// The key with the addresses it may be sent to now. Its server's address on this computer is what its owner says:
    /// anybody may have taken the port since.
    pub fn placed(&self, mut key: StoredKey) -> Result<StoredKey, Failure> {
        match &self.owner {
            _ if !key.goes_with_the_data() => {}
            Some((_, now)) => (key.origin, key.api_origin) = (now.url.clone(), now.api.clone()),
            None if is_loopback_url(&key.api_origin) => {
                return Err(Failure::Failed(format!(
                    "{}… was not sent to {}: its server does not run, and another program could listen there. Start it with `countersign` \
                     on the same data and try again",
                    key.prefix, key.api_origin
                )));
            }
            None => key.origin.clone_from(&key.api_origin),
        }
        Ok(key)
    }
}

/// What to say when nothing is stored.
pub fn no_key(origin: &str) -> Failure {
    Failure::NotAllowed(format!(
        "no key that works is stored on this computer. Ask for one: call register_agent and poll_claim over MCP \
         (`countersign connect claude`), or follow {origin}/auth.md"
    ))
}
