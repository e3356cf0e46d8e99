//! Stored keys for `curl` and `exec`: which one is meant, whether it still works, and where it may go now.

use super::{Failure, print};
use crate::{
    config::is_loopback_url,
    credentials::{Credential, Credentials},
    domain::id::KeyId,
    owner::{Call, Reply, SocketClient, Standing},
    service::Error,
};
use std::path::Path;

/// The keys of a data directory, and who serves it.
pub struct Stored {
    keys: Credentials,
    /// Known by its user, as the kernel tells it over the socket; whoever listens on a port could be anybody.
    owner: Option<(SocketClient, Standing)>,
}

impl Stored {
    pub async fn open(data: &Path) -> Self {
        let asked = async {
            let client = SocketClient::of(data).ok()?;
            match client.ask(&Call::Status).await {
                Ok(Ok(Reply::Status(standing))) => Some((client, standing)),
                _ => None,
            }
        };
        Self { keys: Credentials::new(data), owner: asked.await }
    }

    /// The key of this id; without one the newest of a profile (`None`: any) that `fits`.
    pub fn find(
        &self,
        id: Option<KeyId>,
        profile: Option<&str>,
        fits: impl Fn(&Credential) -> bool,
    ) -> Result<Option<Credential>, Failure> {
        match id {
            Some(id) => self.keys.find(id),
            None => self.keys.list(None, profile).map(|keys| keys.into_iter().find(fits)),
        }
        .map_err(Failure::failed)
    }

    /// The newest key that this data directory's server issued, else the newest of all.
    pub fn usual(&self, id: Option<KeyId>, profile: Option<&str>) -> Result<Option<Credential>, Failure> {
        match self.find(id, profile, |key| !key.elsewhere)? {
            None if id.is_none() => self.find(None, profile, |_| true),
            found => Ok(found),
        }
    }

    /// Whether a key was issued for this origin, or by the server that has this origin now.
    pub fn is_for(&self, key: &Credential, origin: &str) -> bool {
        let now = self.owner.as_ref().filter(|_| key.goes_with_the_data());
        [&key.origin, &key.api_origin]
            .into_iter()
            .chain(now.into_iter().flat_map(|(_, now)| [&now.url, &now.api]))
            .any(|known| known == origin)
    }

    /// Whether a key still works, asked of the owner if it issued it. A dead one is forgotten, so that the next call
    /// takes another or says what to do.
    pub async fn works(&self, key: &Credential) -> Result<bool, Failure> {
        let Some((owner, standing)) = &self.owner else { return Ok(true) };
        if !key.goes_with_the_data() && key.origin != standing.url {
            return Ok(true);
        }
        let check = Call::CheckScope { credential: key.key.clone(), scopes: Vec::new(), environment: None };
        if !matches!(owner.ask(&check).await, Ok(Err(Error::Unauthorized { .. }))) {
            return Ok(true);
        }
        print::note(&format!("countersign: {}… was revoked or has expired; forgetting it", key.prefix));
        self.keys.remove(key.key_id).map_err(Failure::failed)?;
        Ok(false)
    }

    /// The key with the addresses it may be sent to now. Its server's address on this computer is what its owner says:
    /// anybody may have taken the port since.
    pub fn placed(&self, mut key: Credential) -> Result<Credential, Failure> {
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
