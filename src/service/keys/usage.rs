//! What a key was used for.

use crate::{
    api::{error::Error, usage::UsageDays},
    domain::{id::KeyId, rate_limit::RateLimitKey, usage::date},
    service::{caller::Actor, keys::state::Keys, usage_days::last_days, usage_log::pending_days, verification::usage_report::shown},
    store::access::Read,
};

impl Keys {
    /// What a key was used for on each of the last `days` days, oldest first, today last. For whoever may see the key.
    ///
    /// # Errors
    /// [`Error::Invalid`]: not 1 to 366 days. As [`Keys::get_key`].
    pub async fn key_usage(&self, actor: &Actor, id: KeyId, days: u16) -> Result<UsageDays, Error> {
        if !(1..=366).contains(&days) {
            return Err(Error::invalid("days", "must be 1 to 366"));
        }
        self.get_key(actor, id).await?;
        let today = date(self.context.runtime.now());
        let read = |tx: &dyn Read| Ok::<_, Error>((last_days(tx, &id.to_string(), today, days)?, tx.usage().of_key(id)?.day));
        let (stored, last) = self.context.store.read(read).await?;
        let pending = self.verifier.meters.find(RateLimitKey::Key(id)).map(|meter| pending_days(&meter)).unwrap_or_default();
        Ok(shown(stored, last.into_iter().chain(pending)))
    }
}
