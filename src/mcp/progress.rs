//! Calls that wait for a human: they tell the client that they are alive, and end with whoever waits.

use crate::{
    api::error::Error,
    domain::registration::poll::USUAL_INTERVAL_SECONDS,
    mcp::{
        caller::HttpCaller,
        error::ToolError,
        server::{Tools, Transport},
    },
};
use rmcp::{RoleServer, model::ProgressNotificationParam, service::RequestContext};
use std::{future::pending, time::Duration};

const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

impl Tools {
    /// Runs a waiting call. It ends when it is cancelled, when nobody reads its answer any more, and when the key it
    /// was made with does.
    pub(super) async fn waiting<T>(
        &self,
        work: impl Future<Output = Result<T, ToolError>>,
        http: Option<&HttpCaller>,
        context: &RequestContext<RoleServer>,
    ) -> Result<T, ToolError> {
        let unread = async {
            match http {
                Some(http) => http.gone.cancelled().await,
                None => pending().await,
            }
        };
        let key_ended = async {
            match &self.way {
                Transport::Http(service) => service.verifier.until_ended(http.and_then(HttpCaller::caller)).await,
                Transport::Stdio(_) => pending().await,
            }
        };
        tokio::select! {
            // First: what was done counts, whoever has left meanwhile.
            biased;
            done = work => done,
            () = unread => Err(Error::AuthorizationPending { interval: USUAL_INTERVAL_SECONDS }.into()),
            () = context.ct.cancelled() => Err(Error::AuthorizationPending { interval: USUAL_INTERVAL_SECONDS }.into()),
            () = key_ended => Err(Error::Unauthorized { presented: true }.into()),
            () = progress(context) => pending().await,
        }
    }
}

/// Progress for as long as it is awaited, if the client asked for it.
async fn progress(context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else { return pending().await };
    let (mut tick, mut told) = (tokio::time::interval(PROGRESS_INTERVAL), 0.0);
    loop {
        tick.tick().await;
        told += 1.0;
        let progress = ProgressNotificationParam::new(token.clone(), told).with_message("Waiting for your human to decide");
        if context.peer.notify_progress(progress).await.is_err() {
            return pending().await;
        }
    }
}
