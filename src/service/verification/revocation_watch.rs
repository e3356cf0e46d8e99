//! Keys end while something is under way with them: streams and waits end with them, at once.

use crate::{
    api::error::Error,
    service::{
        caller::{Caller, Principal},
        verification::state::Verifier,
    },
    store::error::StoreError,
};
use std::{future::pending, pin::pin, time::Duration};

/// What ends by its own date is noticed this late; a revocation at once.
const RECHECK_INTERVAL: Duration = Duration::from_secs(15);

impl Verifier {
    /// Resolves once a caller's credential is good no more: revoked, expired, or disabled with its account. No
    /// caller: never.
    pub async fn until_ended(&self, caller: Option<&Caller>) {
        let Some(caller) = caller else { return pending().await };
        loop {
            // Listening before looking, so that no end is missed.
            let mut told = pin!(self.revocations.notified());
            told.as_mut().enable();
            // Fails closed: a store that can't say that the key lives ends what is open for it.
            if self.still_good(caller).await.is_err() {
                return;
            }
            tokio::select! {
                () = told => {}
                () = tokio::time::sleep(RECHECK_INTERVAL) => {}
            }
        }
    }

    /// Asks again for a caller that was let in a while ago. Charges nothing and counts as no use.
    ///
    /// # Errors
    /// [`Error::Unauthorized`]: it is good no more.
    pub async fn still_good(&self, caller: &Caller) -> Result<(), Error> {
        let now = self.context.runtime.now();
        let lives = self.context.store.read(|tx| {
            let lives = match &caller.who {
                Principal::Key(key) => tx.keys().get(key.id)?.is_some_and(|key| key.is_active(now)),
                Principal::Session(id) => tx.program_sessions().get(*id)?.is_some_and(|session| session.is_live(now)),
            };
            Ok::<_, StoreError>(lives && tx.accounts().get(caller.account.id)?.is_some_and(|account| account.disabled_at.is_none()))
        });
        if lives.await? { Ok(()) } else { Err(Error::Unauthorized { presented: true }) }
    }

    /// Resolves when the process is about to end.
    pub async fn until_draining(&self) {
        self.draining.cancelled().await;
    }
}
