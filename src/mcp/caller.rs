//! Who calls a tool.

use crate::{
    api::values::Revealed,
    domain::{id::AccountId, source::Source},
    mcp::server::Tools,
    service::caller::Caller,
};
use axum::http::request::Parts;
use rmcp::{
    ErrorData,
    handler::server::{common::FromContextPart, tool::ToolCallContext},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A credential the HTTP layer let in with this request; on stdio the process's own is asked for instead.
#[derive(Clone)]
pub struct PresentedKey {
    pub key: Revealed,
    pub caller: Caller,
}

/// Who speaks over HTTP. Put into the request by the gate that verified it; shared, because the SDK copies what a request
/// carries.
#[derive(Clone)]
pub struct HttpCaller {
    pub credential: Option<PresentedKey>,
    pub source: Source,
    /// The session of a version before 2026-07-28, by a hash: its id is its proof. `None` beside a credential.
    pub session: Option<String>,
    /// Whether it sees what is said before the answer: it takes events.
    pub reads_along: bool,
    /// Cancelled when nobody reads the answer any more.
    pub gone: CancellationToken,
}

impl HttpCaller {
    pub fn caller(&self) -> Option<&Caller> {
        self.credential.as_ref().map(|credential| &credential.caller)
    }

    /// The credential's public name: whose session it is.
    pub fn credential_name(&self) -> Option<String> {
        self.caller().map(Caller::name)
    }

    pub fn account(&self) -> Option<AccountId> {
        self.caller().map(|caller| caller.account.id)
    }

    /// What identical calls are known by: the credential, else the session, else nothing. Not the account: a key must not
    /// collect what a wider key of the same human asked for.
    pub fn name(&self) -> Option<String> {
        self.credential_name().or_else(|| self.session.as_ref().map(|hash| format!("session {hash}")))
    }
}

/// `None` on stdio.
pub struct Http(pub Option<Arc<HttpCaller>>);

impl FromContextPart<ToolCallContext<'_, Tools>> for Http {
    fn from_context_part(context: &mut ToolCallContext<'_, Tools>) -> Result<Self, ErrorData> {
        let parts = context.request_context.extensions.get::<Parts>();
        Ok(Self(parts.and_then(|parts| parts.extensions.get()).cloned()))
    }
}
