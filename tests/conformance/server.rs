//! The fixtures of the MCP conformance suite behind the product's own endpoints: what a server with five tools can't be
//! asked (images, prompts, resources, sampling, several rounds of questions) is asked of the very same router.
//!
//! Usage: conformance-server DATA. Prints the address it listens on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    deprecated,
    reason = "a test program; the suite also asks for what is deprecated"
)]

use countersign::{
    config::{load::Sources, settings::Config},
    instance::{
        control::status::Role,
        open::{self, Opened},
    },
    mcp::streamable_http,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::*,
    service::{RequestContext, SubscriptionContext},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::sync::Notify;

const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// What the suite expects, read back as the SDK's own types.
fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a fixture of the right form")
}

/// A result that is the last word of its call.
fn complete<T: DeserializeOwned>(mut result: Value) -> T {
    result["resultType"] = json!("complete");
    typed(result)
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn question(message: &str, property: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "properties": {property: {"type": kind}}, "required": [property]});
    json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}})
}

fn sampling(prompt: &str) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
    json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}})
}

fn questions(requests: Value, state: Option<String>) -> InputRequiredResult {
    let mut result = json!({"resultType": "input_required", "inputRequests": requests});
    if let Some(state) = state {
        result["requestState"] = json!(state);
    }
    typed(result)
}

const TOOLS: [&str; 24] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_error_handling",
    "test_tool_with_logging",
    "test_logging_tool",
    "test_tool_with_progress",
    "test_sampling",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_trigger_tool_change",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_tampered_state",
    "test_input_required_result_capabilities",
];

#[derive(Clone)]
struct Fixtures {
    seal: RequestStateCodec,
    tools_changed: Arc<Notify>,
}

impl Fixtures {
    /// The state a client brought back, if it is ours.
    fn state(&self, sealed: Option<&str>) -> Result<Option<String>, ErrorData> {
        let opened = sealed.map(|sealed| self.seal.open(sealed)).transpose();
        let opened = opened.map_err(|_| ErrorData::invalid_params("requestState is not one of ours", None))?;
        Ok(opened.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Tools that ask before they answer, and those that only answer.
    async fn answer(&self, request: CallToolRequestParams, context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        let answers = request.input_responses.unwrap_or_default();
        let state = self.state(request.request_state.as_deref())?;
        let argument = |name: &str| request.arguments.as_ref().and_then(|all| all[name].as_str()).unwrap_or("").to_owned();
        let seal = |state: &str| Some(self.seal.seal(state.as_bytes()));
        let able = context.client_capabilities().unwrap_or_default();
        let done = |value: Value| Ok(CallToolResponse::Complete(complete(value)));
        match request.name.as_ref() {
            "test_simple_text" => done(text("This is a simple text response for testing.")),
            "test_image_content" => done(json!({"content": [{"type": "image", "data": PNG, "mimeType": "image/png"}]})),
            "test_audio_content" => done(json!({"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]})),
            "test_embedded_resource" => done(json!({"content": [{"type": "resource", "resource":
                {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content."}}]})),
            "test_multiple_content_types" => done(json!({"content": [
                {"type": "text", "text": "Multiple content types test:"},
                {"type": "image", "data": PNG, "mimeType": "image/png"},
                {"type": "resource", "resource": {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": "{\"test\":\"data\",\"value\":123}"}},
            ]})),
            "test_error_handling" => done(
                json!({"isError": true, "content": [{"type": "text", "text": "This tool intentionally returns an error for testing"}]}),
            ),
            "test_tool_with_logging" => {
                for said in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                    let note = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(said));
                    let _ = context.peer.notify_logging_message(note).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                done(text("Logged three times."))
            }
            "test_logging_tool" => {
                // Only who asked for a level is told (2026-07-28).
                if let Some(level) = context.meta.log_level() {
                    let _ = context.peer.notify_logging_message(LoggingMessageNotificationParam::new(level, json!("asked for"))).await;
                }
                done(text("Logged to those who asked."))
            }
            "test_tool_with_progress" => {
                for progress in [0.0, 50.0, 100.0] {
                    if let Some(token) = context.meta.get_progress_token() {
                        let _ = context.peer.notify_progress(ProgressNotificationParam::new(token, progress).with_total(100.0)).await;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                done(text("There."))
            }
            "test_sampling" => {
                let ask = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(argument("prompt"))], 100);
                let said = context.peer.create_message(ask).await.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
                done(text(&format!("LLM response: {}", json!(said.message.content))))
            }
            "test_elicitation" => {
                let user = json!({"type": "string", "description": "User's response"});
                let email = json!({"type": "string", "description": "User's email address"});
                let properties = json!({"username": user, "email": email});
                elicit(
                    context,
                    &argument("message"),
                    json!({"type": "object", "properties": properties, "required": ["username", "email"]}),
                )
                .await
            }
            "test_elicitation_sep1034_defaults" => {
                let properties = json!({
                    "name": {"type": "string", "default": "John Doe"},
                    "age": {"type": "integer", "default": 30},
                    "score": {"type": "number", "default": 95.5},
                    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
                    "verified": {"type": "boolean", "default": true},
                });
                elicit(context, "All of these have defaults", json!({"type": "object", "properties": properties})).await
            }
            "test_elicitation_sep1330_enums" => {
                let titled = |titles: [&str; 3]| -> Vec<Value> {
                    titles.iter().enumerate().map(|(n, title)| json!({"const": format!("value{}", n + 1), "title": title})).collect()
                };
                let options = json!(["option1", "option2", "option3"]);
                let properties = json!({
                    "untitledSingle": {"type": "string", "enum": options},
                    "titledSingle": {"type": "string", "oneOf": titled(["First Option", "Second Option", "Third Option"])},
                    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
                    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
                    "titledMulti": {"type": "array", "items": {"anyOf": titled(["First Choice", "Second Choice", "Third Choice"])}},
                });
                elicit(context, "All five kinds of choice", json!({"type": "object", "properties": properties})).await
            }
            "test_missing_capability" if able.sampling.is_none() => {
                Err(ErrorData::missing_required_client_capability(typed(json!({"sampling": {}}))))
            }
            "test_missing_capability" => done(text("The client can sample.")),
            "test_trigger_tool_change" => {
                self.tools_changed.notify_waiters();
                done(text("The tools changed."))
            }
            "test_streaming_elicitation" | "test_input_required_result_elicitation" => {
                match answers.get("user_name").map(|it| &it["content"]["name"]) {
                    Some(Value::String(name)) => done(text(&format!("Hello, {name}!"))),
                    _ => Ok(questions(json!({"user_name": question("What is your name?", "name", "string")}), None).into()),
                }
            }
            "test_input_required_result_sampling" => match answers.get("capital_question") {
                Some(answer) => done(text(&answer["content"].to_string())),
                None => Ok(questions(json!({"capital_question": sampling("What is the capital of France?")}), None).into()),
            },
            "test_input_required_result_list_roots" => match answers.get("client_roots") {
                Some(answer) => done(text(&answer["roots"].to_string())),
                None => Ok(questions(json!({"client_roots": {"method": "roots/list", "params": {}}}), None).into()),
            },
            "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
                match (answers.get("confirm"), state) {
                    (Some(_), Some(_)) => done(text("state-ok")),
                    _ => Ok(questions(json!({"confirm": question("Please confirm", "ok", "boolean")}), seal("asked")).into()),
                }
            }
            "test_input_required_result_multiple_inputs" => {
                if ["user_name", "greeting", "client_roots"].iter().all(|name| answers.contains_key(*name)) && state.is_some() {
                    return done(text("All three are answered."));
                }
                let all = json!({
                    "user_name": question("What is your name?", "name", "string"),
                    "greeting": sampling("Generate a greeting"),
                    "client_roots": {"method": "roots/list", "params": {}},
                });
                Ok(questions(all, seal("asked")).into())
            }
            "test_input_required_result_multi_round" => {
                match (state.as_deref(), answers.contains_key("step1"), answers.contains_key("step2")) {
                    (Some("second"), _, true) => done(text("Both steps are done.")),
                    (Some("first"), true, _) => {
                        Ok(questions(json!({"step2": question("Step 2: What is your favorite color?", "color", "string")}), seal("second"))
                            .into())
                    }
                    _ => Ok(questions(json!({"step1": question("Step 1: What is your name?", "name", "string")}), seal("first")).into()),
                }
            }
            "test_input_required_result_capabilities" => {
                let mut able_to = Map::new();
                if able.sampling.is_some() {
                    able_to.insert("greeting".to_owned(), sampling("Generate a greeting"));
                }
                if able.elicitation.is_some() {
                    able_to.insert("user_name".to_owned(), question("What is your name?", "name", "string"));
                }
                if able.roots.is_some() {
                    able_to.insert("client_roots".to_owned(), json!({"method": "roots/list", "params": {}}));
                }
                Ok(questions(Value::Object(able_to), None).into())
            }
            unknown => Err(ErrorData::invalid_params(format!("no tool {unknown}"), None)),
        }
    }
}

async fn elicit(context: &RequestContext<RoleServer>, message: &str, schema: Value) -> Result<CallToolResponse, ErrorData> {
    let ask = ElicitRequestParams::FormElicitationParams { meta: None, message: message.to_owned(), requested_schema: typed(schema) };
    let said = context.peer.create_elicitation(ask).await.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    Ok(CallToolResponse::Complete(complete(text(&format!("The client says: {}", json!(said))))))
}

impl ServerHandler for Fixtures {
    fn get_info(&self) -> ServerConfig {
        let able =
            json!({"tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true}, "logging": {}, "completions": {}});
        ServerConfig::new(typed(able)).with_server_info(Implementation::new("fixtures", "1"))
    }

    async fn list_tools(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListToolsResult, ErrorData> {
        let schema = |name: &str| match name {
            "test_sampling" => json!({"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]}),
            "test_elicitation" => json!({"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}),
            _ => json!({"type": "object", "properties": {}}),
        };
        let mut tools: Vec<Tool> =
            TOOLS.iter().map(|name| typed(json!({"name": name, "description": "A fixture.", "inputSchema": schema(name)}))).collect();
        tools.push(typed(json!({"name": "json_schema_2020_12_tool", "description": "A fixture.", "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
            "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
            "additionalProperties": false,
        }})));
        Ok(ListToolsResult::with_all_items(tools).with_ttl_ms(1000).with_cache_scope(CacheScope::Private))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        self.answer(request, &context).await
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let of = |uri: &str, kind: &str| typed(json!({"uri": uri, "name": uri, "description": "A fixture.", "mimeType": kind}));
        let resources = vec![of("test://static-text", "text/plain"), of("test://static-binary", "image/png")];
        Ok(ListResourcesResult::with_all_items(resources).with_ttl_ms(1000).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let template = typed(
            json!({"uriTemplate": "test://template/{id}/data", "name": "template", "description": "A fixture.", "mimeType": "application/json"}),
        );
        Ok(ListResourceTemplatesResult::with_all_items(vec![template]).with_ttl_ms(1000).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.as_str();
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let contents = match (uri, id) {
            ("test://static-text", _) => {
                json!({"uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource."})
            }
            ("test://static-binary", _) => json!({"uri": uri, "mimeType": "image/png", "blob": PNG}),
            (_, Some(id)) => {
                let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
                json!({"uri": uri, "mimeType": "application/json", "text": data.to_string()})
            }
            _ => return Err(ErrorData::invalid_params("no such resource", Some(json!({"uri": uri})))),
        };
        Ok(complete::<ReadResourceResult>(json!({"contents": [contents], "ttlMs": 1000, "cacheScope": "private"})).into())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                // A filter that did not ask for it refuses to send it.
                () = self.tools_changed.notified() => { let _ = context.sink().notify_tool_list_changed().await; }
            }
        }
    }

    async fn list_prompts(&self, _: Option<PaginatedRequestParams>, _: RequestContext<RoleServer>) -> Result<ListPromptsResult, ErrorData> {
        let of = |name: &str, arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|name| json!({"name": name, "required": true})).collect();
            typed(json!({"name": name, "description": "A fixture.", "arguments": arguments}))
        };
        let prompts = vec![
            of("test_simple_prompt", &[]),
            of("test_prompt_with_arguments", &["arg1", "arg2"]),
            of("test_prompt_with_embedded_resource", &["resourceUri"]),
            of("test_prompt_with_image", &[]),
            of("test_input_required_result_prompt", &[]),
        ];
        Ok(ListPromptsResult::with_all_items(prompts).with_ttl_ms(1000).with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(&self, request: GetPromptRequestParams, _: RequestContext<RoleServer>) -> Result<GetPromptResponse, ErrorData> {
        let argument = |name: &str| request.arguments.as_ref().and_then(|all| all[name].as_str()).unwrap_or("").to_owned();
        let said = |text: &str| json!({"role": "user", "content": {"type": "text", "text": text}});
        let messages = match request.name.as_str() {
            "test_simple_prompt" => vec![said("This is a simple prompt for testing.")],
            "test_prompt_with_arguments" => {
                vec![said(&format!("Prompt with arguments: arg1='{}', arg2='{}'", argument("arg1"), argument("arg2")))]
            }
            "test_prompt_with_embedded_resource" => {
                let resource =
                    json!({"uri": argument("resourceUri"), "mimeType": "text/plain", "text": "Embedded resource content for testing."});
                vec![
                    json!({"role": "user", "content": {"type": "resource", "resource": resource}}),
                    said("Please process the embedded resource above."),
                ]
            }
            "test_prompt_with_image" => {
                let image = json!({"type": "image", "data": PNG, "mimeType": "image/png"});
                vec![json!({"role": "user", "content": image}), said("Please analyze the image above.")]
            }
            "test_input_required_result_prompt" => match request.input_responses.unwrap_or_default().get("user_context") {
                Some(answer) => vec![said(&answer["content"].to_string())],
                None => {
                    let ask = question("What context should the prompt use?", "context", "string");
                    return Ok(questions(json!({"user_context": ask}), None).into());
                }
            },
            unknown => return Err(ErrorData::invalid_params(format!("no prompt {unknown}"), None)),
        };
        Ok(complete::<GetPromptResult>(json!({"messages": messages})).into())
    }

    async fn complete(&self, _: CompleteRequestParams, _: RequestContext<RoleServer>) -> Result<CompleteResult, ErrorData> {
        Ok(complete(json!({"completion": {"values": ["paris", "park", "party"], "total": 3, "hasMore": false}})))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let data = std::env::args().nth(1).expect("usage: conformance-server DATA");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let config = Config::load(&Sources { flags: vec![("listen", address.to_string())], ..Sources::default() }).expect("a configuration");
    let Ok(Opened::Mine(mine)) = open::open(Arc::new(config), Path::new(&data), Role::Serve).await else {
        panic!("{data} can't be opened")
    };
    let fixtures = Fixtures { seal: RequestStateCodec::new_unchecked(*b"thirty-two bytes of no importanc"), tools_changed: Arc::default() };
    let (endpoint, sse) = streamable_http::serving(&mine.service, fixtures.clone(), fixtures);
    let router = sse.route("/mcp", axum::routing::any(async move |request| endpoint.answer(request).await));
    println!("http://{address}/mcp");
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.expect("it serves");
}
