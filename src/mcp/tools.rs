//! The five tools. Each is a few lines: who calls, one service call, and what to say next.

use crate::{
    api::{error::Error, values::Revealed},
    client::backend::Backend,
    domain::{
        id::KeyId,
        pasted,
        registration::poll::{MAX_WAIT_SECONDS, USUAL_WAIT_SECONDS},
        scope::{KEYS_REVOKE, ScopeSet},
    },
    instance::control::request::{ControlRequest, ControlResponse},
    mcp::{
        arguments::{CheckArgs, ListArgs, PollArgs, RegisterArgs, RevokeArgs},
        caller::{Http, HttpCaller},
        claim_flow::registered_result,
        client_claims::{Asked, Claims},
        elicitation::Registering,
        error::ToolError,
        extract_arguments::Args,
        results::{CheckResult, KeyRef, ListResult, PollResult, RegisterResult, RevokeResult, strings, unexpected},
        server::{Tools, Transport},
        tool_schema,
    },
};
use rmcp::{
    ErrorData, Json, RoleServer, ServerHandler,
    handler::server::{
        router::tool::ToolRouter,
        tool::{InputResponses, RequestState, schema_for_input, schema_for_output},
    },
    model::{
        CacheScope, CompleteRequestParams, CompleteResult, ErrorCode, Implementation, JsonObject, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities,
        ServerConfig, Tool,
    },
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

/// Registering again would not help.
const ENV_KEY_GOES_FIRST: &str = "This client was given its key in COUNTERSIGN_API_KEY, which goes before any key you register for: ask your human to \
                     replace or remove it and to start this client again.";

/// How long a client may keep the list of tools, in milliseconds.
const TOOLS_TTL_MS: u64 = 5 * 60 * 1000;

#[tool_router]
impl Tools {
    #[doc = include_str!("../../tools/register_agent.md")]
    #[tool(
        title = "Ask a human for an API key",
        input_schema = schema_for_input::<RegisterArgs>().unwrap_or_default(),
        output_schema = schema_for_output::<RegisterResult>(),
        annotations(title = "Ask a human for an API key", read_only_hint = false, destructive_hint = false, idempotent_hint = true, open_world_hint = true)
    )]
    async fn register_agent(
        &self,
        Args(args): Args<RegisterArgs>,
        Http(http): Http,
        RequestState(state): RequestState,
        InputResponses(answers): InputResponses,
        context: RequestContext<RoleServer>,
    ) -> Result<Registering, ToolError> {
        let args = args?;
        let (claims, caller) = self.claims_of(http.as_deref(), &context);
        let asked = Asked {
            agent_name: args.agent_name.trim().to_owned(),
            scopes: args.scopes.clone(),
            login_hint: args.login_hint.clone(),
            environment: args.environment,
            caller: caller.clone().unwrap_or_default(),
        };
        if let Some(state) = state {
            return self.shown(&state, answers, &asked);
        }
        // A caller without a name can't be recognised by an identical call: its handle is all there is.
        let known = caller.as_ref().and_then(|_| claims.same(&asked, self.runtime.now()));
        let open = match known {
            Some(known) => self.still_open(&claims, known).await?,
            None => None,
        };
        let claim = match (open, &self.way) {
            (Some(claim), _) => claim,
            (None, Transport::Stdio(_)) => self.register_here(args, asked).await?,
            (None, Transport::Http(service)) => self.register_for(service, args, asked, http.as_deref()).await?,
        };
        if !claim.asked.caller.is_empty() {
            claims.remember(claim.clone(), self.runtime.now())?;
        }
        self.show(&claim, registered_result(&claim), http.as_deref(), &context).await
    }

    #[doc = include_str!("../../tools/poll_claim.md")]
    #[tool(
        title = "Wait for the human and collect the key",
        input_schema = schema_for_input::<PollArgs>().unwrap_or_default(),
        annotations(title = "Wait for the human and collect the key", read_only_hint = false, destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
    async fn poll_claim(
        &self,
        Args(args): Args<PollArgs>,
        Http(http): Http,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<PollResult>, ToolError> {
        let args = args?;
        let wait = args.wait_seconds.unwrap_or(USUAL_WAIT_SECONDS);
        if wait > MAX_WAIT_SECONDS {
            return Err(Error::invalid("wait_seconds", format!("must be 0 to {MAX_WAIT_SECONDS}")).into());
        }
        let wait = Duration::from_secs(wait);
        let polled = match &self.way {
            Transport::Stdio(custody) => self.poll_here(custody, &context, &args, wait).await,
            Transport::Http(service) => {
                let caller = http.as_deref().ok_or_else(unexpected)?;
                self.waiting(self.poll_for(service, &args, caller, wait), Some(caller), &context).await
            }
        };
        polled.map(Json)
    }

    #[doc = include_str!("../../tools/list_keys.md")]
    #[tool(
        title = "List API keys",
        input_schema = schema_for_input::<ListArgs>().unwrap_or_default(),
        annotations(title = "List API keys", read_only_hint = true, destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
    async fn list_keys(
        &self,
        Args(args): Args<ListArgs>,
        Http(http): Http,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<ListResult>, ToolError> {
        let args = args?;
        let (backend, credential) = self.signed_in(http.as_deref(), &context).await?;
        let ListArgs { status, environment, cursor, limit } = args;
        let listed = backend.call(ControlRequest::ListKeys { credential, status, environment, cursor, limit }).await;
        match listed.map_err(|error| self.refused(error))? {
            ControlResponse::Keys(list) => {
                Ok(Json(ListResult { keys: list.keys.into_iter().map(Into::into).collect(), next_cursor: list.next_cursor }))
            }
            _ => Err(unexpected()),
        }
    }

    #[doc = include_str!("../../tools/revoke_key.md")]
    #[tool(
        title = "Revoke an API key",
        input_schema = schema_for_input::<RevokeArgs>().unwrap_or_default(),
        annotations(title = "Revoke an API key", read_only_hint = false, destructive_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn revoke_key(
        &self,
        Args(args): Args<RevokeArgs>,
        Http(http): Http,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<RevokeResult>, ToolError> {
        let args = args?;
        let id: KeyId = pasted::bare(&args.key_id)
            .parse()
            .map_err(|_| Error::invalid("key_id", "is not a key's id, key_…: list_keys has it; never the key itself"))?;
        if let Transport::Stdio(custody) = &self.way
            && let Some(revoked) = custody.revoked(id)
        {
            return Ok(Json(revoked));
        }
        let (backend, credential) = self.signed_in(http.as_deref(), &context).await?;
        let call = ControlRequest::RevokeKey { credential: credential.clone(), key_id: id.to_string(), reason: args.reason };
        let answer = match backend.call(call).await {
            // What a key can't see looks unknown to it; say which scope would help.
            Err(error @ Error::NotFound { .. }) => {
                return Err(self.refused(unless_it_lacks(&backend, KEYS_REVOKE, credential, error).await));
            }
            answer => answer.map_err(|error| self.refused(error))?,
        };
        let ControlResponse::Revoked(revoked) = answer else { return Err(unexpected()) };
        let others = match revoked.descendants {
            0 => String::new(),
            n => format!(" and {n} that it made or was rotated from"),
        };
        let mut result = RevokeResult {
            key_id: revoked.id.to_string(),
            status: revoked.status,
            revoked_at: revoked.revoked_at.to_string(),
            next: format!("Nothing more to do: the key{others} stopped working at once."),
        };
        if let Transport::Stdio(custody) = &self.way {
            custody.forget_key(revoked.id, &result).await;
            if let Some(other) = custody.stored(&context).await? {
                result.next.push_str(&format!(" These tools use {} from now on, the key stored before.", other.key_id));
            }
        }
        Ok(Json(result))
    }

    #[doc = include_str!("../../tools/check_scope.md")]
    #[tool(
        title = "Check what the API key may do",
        input_schema = schema_for_input::<CheckArgs>().unwrap_or_default(),
        annotations(title = "Check what the API key may do", read_only_hint = true, destructive_hint = false, idempotent_hint = true, open_world_hint = false)
    )]
    async fn check_scope(
        &self,
        Args(args): Args<CheckArgs>,
        Http(http): Http,
        context: RequestContext<RoleServer>,
    ) -> Result<Json<CheckResult>, ToolError> {
        let args = args?;
        let (backend, credential) = self.signed_in(http.as_deref(), &context).await?;
        let asked_nothing = args.scopes.is_empty();
        let call = ControlRequest::CheckScope { credential, scopes: args.scopes, environment: args.environment };
        let checked = backend.call(call).await.map_err(|error| self.refused(error))?;
        let ControlResponse::ScopeCheck(check) = checked else { return Err(unexpected()) };
        let missing = strings(&check.missing);
        let next = if check.allowed {
            "Go on: the key may do this.".to_owned()
        } else if asked_nothing {
            "No scope was named, so nothing is allowed yet; `key` says what this key may do. Name what you need in `scopes`.".to_owned()
        } else if missing.is_empty() {
            format!(
                "The key works in the {} environment only. If the service offers the other one, call register_agent with it.",
                check.environment
            )
        } else if self.is_given_its_key() {
            ENV_KEY_GOES_FIRST.to_owned()
        } else {
            // All of them: the new key takes the place of this one.
            let all: ScopeSet = check.scopes.iter().chain(check.missing.iter()).cloned().collect();
            format!("If the task needs it, call register_agent with scopes {} and ask your human.", serde_json::json!(strings(&all)))
        };
        Ok(Json(CheckResult {
            allowed: check.allowed,
            granted: strings(&check.granted),
            key: KeyRef {
                id: check.id.clone(),
                prefix: check.prefix.clone(),
                scopes: strings(&check.scopes),
                environment: check.environment,
                expires_at: check.expires_at.map(|at| at.to_string()),
            },
            missing,
            ratelimit: check.ratelimit,
            next,
        }))
    }
}

impl Tools {
    /// Where a caller's calls go, and its credential.
    async fn signed_in(&self, http: Option<&HttpCaller>, context: &RequestContext<RoleServer>) -> Result<(Backend, Revealed), ToolError> {
        let found = match &self.way {
            Transport::Stdio(custody) => custody.credential(context).await?.map(|key| (self.backend.clone(), key)),
            Transport::Http(_) => {
                http.and_then(|http| http.credential.as_ref()).map(|it| (self.backend.for_caller(it.caller.clone()), it.key.clone()))
            }
        };
        found.ok_or(Error::Unauthorized { presented: false }.into())
    }

    /// Whether the client's configuration names the key, which no new key takes the place of.
    fn is_given_its_key(&self) -> bool {
        matches!(&self.way, Transport::Stdio(custody) if custody.is_given_its_key())
    }

    /// A refusal that another key would help against says where the key comes from.
    fn refused(&self, error: impl Into<ToolError>) -> ToolError {
        let refused = error.into();
        let another = matches!(refused.error, Error::Unauthorized { presented: true } | Error::InsufficientScope { .. });
        if another && self.is_given_its_key() { refused.next(ENV_KEY_GOES_FIRST) } else { refused }
    }

    /// Where this caller's claims are remembered, and by what name.
    fn claims_of(&self, http: Option<&HttpCaller>, context: &RequestContext<RoleServer>) -> (Arc<Claims>, Option<String>) {
        match &self.way {
            Transport::Stdio(custody) => (custody.claims(context), Some("this client".to_owned())),
            Transport::Http(_) => (self.claims.clone(), http.and_then(HttpCaller::name)),
        }
    }
}

/// `error`, or that the key lacks `scope`.
async fn unless_it_lacks(backend: &Backend, scope: &str, credential: Revealed, error: Error) -> ToolError {
    let call = ControlRequest::CheckScope { credential, scopes: vec![scope.to_owned()], environment: None };
    match backend.call(call).await {
        Ok(ControlResponse::ScopeCheck(check)) if !check.missing.is_empty() => Error::InsufficientScope { missing: check.missing }.into(),
        _ => error.into(),
    }
}

/// Methods for capabilities that are not declared do not exist.
fn not_found(method: &'static str) -> ErrorData {
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, method, None)
}

/// Made once: the schemas of all tools cost more than a call.
static ROUTER: LazyLock<ToolRouter<Tools>> = LazyLock::new(|| {
    let mut router = Tools::tool_router();
    for route in router.map.values_mut() {
        let Tool { input_schema, output_schema, .. } = &mut route.attr;
        *input_schema = Arc::new(tool_schema::input(input_schema));
        *output_schema = output_schema.take().map(|it| Arc::new(tool_schema::output(&it)));
    }
    router
});

/// What a tool takes.
pub fn schema_of(tool: &str) -> Option<&'static JsonObject> {
    ROUTER.get(tool).map(|tool| &*tool.input_schema)
}

#[tool_handler(router = ROUTER)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("countersign", env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "Gives you an API key of your own once your human approves it. register_agent, show the link and code, poll_claim. \
                 A key goes where your programs find it, not into what you read.",
            )
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.versions.into()
    }

    /// The same for everybody until this program is replaced; but what a proxy keeps for one caller it may not show another.
    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = ListToolsResult::with_all_items(definitions());
        let hints = context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        Ok(if hints { tools.with_ttl_ms(TOOLS_TTL_MS).with_cache_scope(CacheScope::Private) } else { tools })
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListPromptsResult, ErrorData> {
        Err(not_found("prompts/list"))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(not_found("resources/list"))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(not_found("resources/templates/list"))
    }

    async fn complete(&self, _: CompleteRequestParams, _: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        Err(not_found("completion/complete"))
    }
}

/// The tools as `tools/list` shows them.
pub fn definitions() -> Vec<Tool> {
    ROUTER.list_all()
}
