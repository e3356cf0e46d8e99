//! RFC 7662: what a presented token is, in the words resource servers of OAuth know.

use crate::{
    api::{error::Error, verification::Introspection},
    domain::key::Origin,
    service::{
        caller::{Caller, Requirements},
        verification::state::Verifier,
    },
};

impl Verifier {
    /// What `token` is, for a caller with `keys:verify`; `None` for anything that is not valid here or not theirs to ask.
    ///
    /// It takes nothing from the key's allowance and does not speak of it: a key over its limit is active, and 401
    /// would be the wrong answer to it. Limits are for `POST /v1/keys/verify`.
    ///
    /// # Errors
    /// [`Error::InsufficientScope`]: the caller lacks `keys:verify`. [`Error::Invalid`]: the text holds a token and something else.
    pub async fn introspect(&self, caller: &Caller, token: &str) -> Result<Option<Introspection>, Error> {
        let need = Requirements { environment: Some(self.context.config.environment), ..Requirements::default() };
        let verdict = self.verify(caller, token, need).await.map_err(|error| match error {
            Error::Invalid { field, detail } if field == "key" => Error::invalid("token", detail),
            error => error,
        })?;
        let Some(id) = verdict.key_id.filter(|_| verdict.valid) else { return Ok(None) };
        let Some(key) = self.context.store.read(|tx| tx.keys().get(id)).await? else { return Ok(None) };
        Ok(Some(Introspection {
            active: true,
            scope: (*verdict.scopes).clone(),
            client_id: match key.origin {
                Origin::Agent { registration, .. } => Some(registration),
                Origin::Human | Origin::Key => None,
            },
            token_type: "Bearer".to_owned(),
            exp: key.expires_at.map(|at| at.as_second()),
            iat: key.created_at.as_second(),
            sub: key.account,
            aud: self.context.config.resource().to_owned(),
            iss: self.context.config.public_url.clone(),
            key_id: id,
            environment: key.environment,
            external_id: verdict.external_id,
        }))
    }
}
