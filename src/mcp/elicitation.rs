//! Showing the human the page by the best means the client declared: it opens the link itself (URL-mode elicitation),
//! else the agent shows link and code. A mode that was not declared is never sent.
//!
//! Sessions of versions before 2026-07-28 are asked while the call waits. 2026-07-28 has no requests of a server:
//! the call ends with what is to be shown, and the client makes it again with the answer and our sealed state.

use crate::{
    api::error::Error,
    domain::registration::poll::MAX_WAIT_SECONDS,
    mcp::{
        caller::HttpCaller,
        client_claims::{Asked, Claim},
        error::ToolError,
        results::RegisterResult,
        server::Tools,
    },
};
use jiff::Timestamp;
use rmcp::{
    ErrorData, Json, RoleServer,
    handler::server::tool::IntoCallToolResult,
    model::{
        CallToolResponse, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, InputRequest, InputRequiredResult,
        InputResponses, RequestStateCodec, SealOptions,
    },
    service::RequestContext,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The name of our one question.
const PAGE: &str = "page";

/// What register_agent answers.
pub enum Registering {
    Done(RegisterResult),
    /// The client shows the page first, and calls again.
    Show(InputRequiredResult),
}

impl IntoCallToolResult for Registering {
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        match self {
            Self::Done(result) => Json(result).into_call_tool_result(),
            Self::Show(page) => Ok(page.into()),
        }
    }
}

/// What the client carries from the first call to the second. Sealed to the caller and its arguments: a registration
/// that somebody else opened can't be taken over with it.
#[derive(Serialize, Deserialize)]
struct State {
    until: Timestamp,
    registered: RegisterResult,
}

/// The key that seals states: this process's own, so what it sealed ends with it.
pub fn codec(key: [u8; 32]) -> RequestStateCodec {
    RequestStateCodec::new_unchecked(key)
}

impl Tools {
    /// The first call: shows the page, or says that the agent has to.
    pub(super) async fn show(
        &self,
        claim: &Claim,
        registered: RegisterResult,
        http: Option<&HttpCaller>,
        context: &RequestContext<RoleServer>,
    ) -> Result<Registering, ToolError> {
        let declared = context.client_capabilities().and_then(|client| client.elicitation);
        if declared.is_none_or(|modes| modes.url.is_none()) {
            return Ok(Registering::Done(registered));
        }
        let message = format!(
            "\"{}\" asks for an API key of its own. Sign in on the page and compare the code: {}",
            claim.asked.agent_name, registered.user_code
        );
        let link = registered.verification_uri_complete.clone();
        if context.protocol_version().is_some_and(|version| !version.has_initialize()) {
            return self.ask_again(claim, registered, message, link).map(Registering::Show);
        }
        // A client that takes the answer alone would never see the question.
        let asks = http.is_none_or(|http| http.reads_along);
        let Some(url) = url::Url::parse(&link).ok().filter(|_| asks) else { return Ok(Registering::Done(registered)) };
        let timeout = Some(Duration::from_secs(MAX_WAIT_SECONDS));
        let asking = async {
            // A client that can't after all, or a human who takes longer: link and code are in the result.
            Ok(context.peer.elicit_url_with_timeout(message, url, claim.registration_id.clone(), timeout).await.ok())
        };
        let action = self.waiting(asking, http, context).await?;
        Ok(Registering::Done(after(registered, action)))
    }

    fn ask_again(&self, claim: &Claim, registered: RegisterResult, message: String, url: String) -> Result<InputRequiredResult, ToolError> {
        let state = State { until: claim.code_expires_at, registered };
        let bound = bound(&claim.asked)?;
        let sealed = self.seal.seal_json_with(&state, &SealOptions::new().associated_data(&bound)).map_err(Error::internal)?;
        // 2026-07-28 took the elicitation's id away.
        let params = ElicitRequestParams::UrlElicitationParams { meta: None, message, url, elicitation_id: String::new() };
        let page = BTreeMap::from([(PAGE.to_owned(), InputRequest::Elicitation(ElicitRequest::new(params)))]);
        Ok(InputRequiredResult::new(Some(page), Some(sealed)))
    }

    /// The second call: what the first one opened, and what the human did with the page.
    pub(super) fn shown(&self, sealed: &str, answers: Option<InputResponses>, asked: &Asked) -> Result<Registering, ToolError> {
        let state = self.seal.open_json_with::<State>(sealed, &bound(asked)?).ok();
        let state = state.filter(|state| self.runtime.now() < state.until).ok_or_else(|| {
            Error::invalid("requestState", "is over, or was not given for these arguments: call register_agent again without it")
        })?;
        let answer = answers.and_then(|mut answers| answers.remove(PAGE));
        let action = answer.and_then(|answer| serde_json::from_value::<ElicitResult>(answer).ok()).map(|answer| answer.action);
        Ok(Registering::Done(after(state.registered, action)))
    }
}

/// Whom a state is bound to: the caller, and everything it asked for.
fn bound(asked: &Asked) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(asked).map_err(Error::internal)
}

/// The result, with a next step that fits what the human did.
fn after(registered: RegisterResult, action: Option<ElicitationAction>) -> RegisterResult {
    let RegisterResult { verification_uri, user_code, .. } = &registered;
    let next = match action {
        Some(ElicitationAction::Accept) => {
            format!(
                "The page was shown to your human. Tell them your code is {user_code} and why you ask, then call poll_claim with this claim_id."
            )
        }
        Some(ElicitationAction::Decline | ElicitationAction::Cancel) => format!(
            "Your human closed the prompt. Ask them whether they want to go on: the link is {verification_uri}, the code {user_code}. If so, call poll_claim with this claim_id."
        ),
        _ => return registered,
    };
    RegisterResult { next, ..registered }
}
