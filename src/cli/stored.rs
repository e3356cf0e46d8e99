//! Which of the stored keys a command uses, and whether it still works.

use super::Failure;
use crate::{
    credentials::{Credential, Credentials},
    domain::id::KeyId,
    mcp::stdio::slug,
    owner::{Call, Reply, SocketClient},
    service::Error,
};
use std::{collections::HashSet, path::Path};

/// What the command line says of the key.
pub struct Wanted<'a> {
    pub id: Option<KeyId>,
    pub profile: Option<&'a str>,
    /// The origin the key is to be sent to, if it was named: it goes only where it was issued for.
    pub url: Option<&'a str>,
}

/// The newest key that is meant. Those that `here` issued go first, then those of its API; where nothing names an origin,
/// any other's. Keys of several clients or servers are left to the human: one client's work is not done with another's key.
pub fn chosen(store: &Credentials, wanted: &Wanted<'_>, here: &str) -> Result<Credential, Failure> {
    let meant = |credential: &Credential| {
        wanted.id.is_none_or(|id| id == credential.key_id)
            && wanted.profile.is_none_or(|profile| profile == credential.profile || slug(profile) == credential.profile)
    };
    let mut keys = store.list().map_err(Failure::failed)?;
    keys.retain(meant);
    let origin = wanted.url.unwrap_or(here);
    let ranks: [&dyn Fn(&Credential) -> bool; 3] =
        [&|key| key.origin == origin, &|key| key.api_origin == origin, &|_| wanted.url.is_none()];
    let ranked = ranks.iter().map(|rank| keys.iter().filter(|key| rank(key)).collect::<Vec<_>>());
    let found = ranked.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    let owners: HashSet<_> = found.iter().map(|key| (&key.origin, &key.profile)).collect();
    if owners.len() > 1 {
        let each =
            found.iter().map(|key| format!("\n  --key {}  {}…, --profile {}, of {}", key.key_id, key.prefix, key.profile, key.origin));
        return Err(Failure::Usage(format!("several clients keep keys here; say whose to use:{}", each.collect::<String>())));
    }
    match found.first() {
        Some(credential) => Ok((*credential).clone()),
        // A key exists, but not for there: say so rather than that there is none.
        None if !keys.is_empty() => {
            Err(Failure::NotAllowed(format!("no stored key was issued for {origin}, and a key goes only to the origin it was issued for")))
        }
        None => Err(no_key(origin)),
    }
}

/// Whether a stored key still works, asked of the server on this computer if that is the one that issued it.
/// A dead one is forgotten, so that the next call takes another or says what to do.
pub async fn still_works(store: &Credentials, data: &Path, credential: &Credential) -> Result<bool, Failure> {
    let Ok(owner) = SocketClient::of(data) else { return Ok(true) };
    match owner.ask(&Call::Status).await {
        Ok(Ok(Reply::Status(standing))) if standing.url == credential.origin => {}
        _ => return Ok(true),
    }
    let check = Call::CheckScope { credential: credential.key.clone(), scopes: Vec::new(), environment: None };
    if !matches!(owner.ask(&check).await, Ok(Err(Error::Unauthorized { .. }))) {
        return Ok(true);
    }
    eprintln!("countersign: {}… was revoked or has expired; forgetting it", credential.prefix);
    store.remove(&credential.origin, credential.key_id).map_err(Failure::failed)?;
    Ok(false)
}

/// What to say when nothing is stored.
pub fn no_key(origin: &str) -> Failure {
    Failure::NotAllowed(format!(
        "no key that works is stored on this computer. Ask for one: call register_agent and poll_claim over MCP \
         (`countersign connect claude`), or follow {origin}/auth.md"
    ))
}
