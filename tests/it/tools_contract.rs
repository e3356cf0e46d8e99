//! `tools/`: what agents read. `tools/<name>.json` is the exact `tools/list` entry; `UPDATE_TOOLS=1` rewrites it.

use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools")
}

fn tools() -> Vec<Value> {
    countersign::mcp::tools::definitions().iter().map(|tool| serde_json::to_value(tool).unwrap()).collect()
}

fn name(tool: &Value) -> &str {
    tool["name"].as_str().unwrap()
}

fn guide(tool: &Value) -> String {
    fs::read_to_string(folder().join(format!("{}.md", name(tool)))).unwrap()
}

#[test]
fn there_are_five_tools() {
    let tools = tools();
    let names: BTreeSet<_> = tools.iter().map(name).collect();
    assert_eq!(names, BTreeSet::from(["register_agent", "poll_claim", "list_keys", "revoke_key", "check_scope"]));
}

#[test]
fn every_tool_is_as_its_file_says() {
    for tool in tools() {
        let file = folder().join(format!("{}.json", name(&tool)));
        let entry = serde_json::to_string_pretty(&tool).unwrap() + "\n";
        if std::env::var_os("UPDATE_TOOLS").is_some() {
            fs::write(&file, &entry).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}; UPDATE_TOOLS=1 writes it", file.display()));
        assert_eq!(kept, entry, "{} changed: look at it, then UPDATE_TOOLS=1", name(&tool));
    }
}

#[test]
fn every_file_belongs_to_a_tool() {
    let tools = tools();
    let expected: BTreeSet<String> = tools.iter().flat_map(|tool| [format!("{}.md", name(tool)), format!("{}.json", name(tool))]).collect();
    let found: BTreeSet<String> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_description_is_its_guide() {
    for tool in tools() {
        assert_eq!(tool["description"].as_str().unwrap().trim(), guide(&tool).trim(), "{}", name(&tool));
    }
}

#[test]
fn every_tool_has_a_title_and_the_four_hints_of_its_contract() {
    let hints = |read_only, destructive, idempotent, open_world| json!([read_only, destructive, idempotent, open_world]);
    for tool in tools() {
        let expected = match name(&tool) {
            "register_agent" => hints(false, false, true, true),
            "poll_claim" => hints(false, false, true, false),
            "list_keys" | "check_scope" => hints(true, false, true, false),
            "revoke_key" => hints(false, true, true, false),
            other => panic!("{other}?"),
        };
        let given = &tool["annotations"];
        let given = json!([given["readOnlyHint"], given["destructiveHint"], given["idempotentHint"], given["openWorldHint"]]);
        assert_eq!(given, expected, "{}", name(&tool));
        assert!(tool["title"].as_str().is_some_and(|title| !title.is_empty()));
    }
}

/// Every object of a schema, with where it stands.
fn objects<'a>(schema: &'a Value, at: &str, found: &mut Vec<(String, &'a Map<String, Value>)>) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") {
                found.push((at.to_owned(), object));
            }
            object.iter().for_each(|(name, value)| objects(value, &format!("{at}.{name}"), found));
        }
        Value::Array(list) => list.iter().for_each(|value| objects(value, at, found)),
        _ => {}
    }
}

#[test]
fn every_schema_is_an_object_that_takes_nothing_else() {
    for tool in tools() {
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object", "{} {schema}", name(&tool));
            let mut found = Vec::new();
            objects(&tool[schema], schema, &mut found);
            for (at, object) in found {
                assert_eq!(object.get("additionalProperties"), Some(&json!(false)), "{} {at}", name(&tool));
            }
        }
    }
}

#[test]
fn every_property_is_described() {
    for tool in tools() {
        for schema in ["inputSchema", "outputSchema"] {
            let mut found = Vec::new();
            objects(&tool[schema], schema, &mut found);
            for (at, object) in found {
                for (property, described) in object["properties"].as_object().unwrap() {
                    let has = described["description"].as_str().is_some_and(|text| text.len() > 3);
                    assert!(has, "{} {at}: {property} has no description: {described}", name(&tool));
                }
            }
        }
    }
}

#[test]
fn the_arguments_are_those_of_the_contract() {
    let arguments = |tool: &Value| tool["inputSchema"]["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    for tool in tools() {
        let expected = match name(&tool) {
            "register_agent" => "agent_name environment login_hint scopes",
            "poll_claim" => "claim_id delivery env_name env_path wait_seconds",
            "list_keys" => "cursor environment limit status",
            "revoke_key" => "key_id reason",
            _ => "environment scopes",
        };
        let mut given: Vec<_> = arguments(&tool).split(' ').map(str::to_owned).collect();
        given.sort();
        assert_eq!(given.join(" "), expected, "{}", name(&tool));
        // A secret is never a tool argument.
        assert!(!expected.contains("api_key") && !expected.contains("token"));
    }
}

/// What stands beside a code where it helps.
const MEMBERS: [&str; 3] = ["field", "available_scopes", "missing_scopes"];

#[test]
fn every_error_code_a_guide_names_exists() {
    for tool in tools() {
        let guide = guide(&tool);
        let errors = &guide[guide.find("Errors:").unwrap_or_else(|| panic!("{} names no errors", name(&tool)))..];
        let codes: Vec<_> = errors.split('`').skip(1).step_by(2).collect();
        assert!(!codes.is_empty());
        for code in codes {
            let exists = countersign::mcp::error::CODES.contains(&code) || MEMBERS.contains(&code);
            assert!(exists, "{}: `{code}` is neither an error code nor a member of an error", name(&tool));
        }
    }
}

/// Where a schema says what an API that reads it does not know.
fn refused(schema: &Value, at: &str, knows: &dyn Fn(&str, &Value) -> bool, found: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else { return found.push(format!("{at} is no object")) };
    found.extend(schema.iter().filter(|(word, value)| !knows(word, value)).map(|(word, value)| format!("{at}.{word}: {value}")));
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        refused(property, &format!("{at}.{name}"), knows, found);
    }
    if let Some(items) = schema.get("items") {
        refused(items, &format!("{at}[]"), knows, found);
    }
    let choices = schema.get("enum").and_then(Value::as_array);
    if choices
        .is_some_and(|choices| choices.is_empty() || !choices.iter().all(Value::is_string) || schema.get("type") != Some(&json!("string")))
    {
        found.push(format!("{at}.enum: not of texts"));
    }
    if schema.get("type") == Some(&json!("array")) && !schema.contains_key("items") {
        found.push(format!("{at}: a list of what?"));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !properties.is_some_and(|properties| properties.contains_key(required.as_str().unwrap_or(""))) {
            found.push(format!("{at}: {required} is required and unknown"));
        }
    }
}

fn one_type(value: &Value) -> bool {
    ["string", "number", "integer", "boolean", "array", "object"].iter().any(|kind| value == kind)
}

/// Gemini's `Schema`, without `anyOf` and `nullable`, which not every client of it passes on: a word it does not know
/// makes it refuse the whole request. `additionalProperties` is read by its `parametersJsonSchema`, and what translates
/// for the older `parameters` takes it out.
/// <https://ai.google.dev/api/caching#Schema>
fn gemini(word: &str, value: &Value) -> bool {
    match word {
        "type" => one_type(value),
        "format" => ["int32", "int64", "float", "double", "enum", "date-time"].iter().any(|format| value == format),
        "additionalProperties" => value == &json!(false),
        "title" | "description" | "pattern" => value.is_string(),
        "enum" | "required" | "propertyOrdering" => value.is_array(),
        "maxItems" | "minItems" | "minProperties" | "maxProperties" | "minLength" | "maxLength" => value.is_u64(),
        "minimum" | "maximum" => value.is_number(),
        "properties" | "items" => value.is_object(),
        _ => false,
    }
}

/// OpenAI's strict function calling. `default` and lengths are not permitted; an argument that is not required is made so
/// by its SDKs, and then comes empty, which our tools take for nothing.
/// <https://platform.openai.com/docs/guides/structured-outputs#supported-schemas>
fn openai(word: &str, value: &Value) -> bool {
    match word {
        "type" => one_type(value),
        "additionalProperties" => value == &json!(false),
        "title" | "description" => value.is_string(),
        "enum" | "required" => value.is_array(),
        "minimum" | "maximum" | "minItems" | "maxItems" => value.is_number(),
        "properties" | "items" => value.is_object(),
        _ => false,
    }
}

/// The tools as their files have them, and as a client is given them.
async fn both_sources() -> Vec<Value> {
    let files = tools().iter().map(|tool| fs::read_to_string(folder().join(format!("{}.json", name(tool)))).unwrap()).collect::<Vec<_>>();
    let (_app, address) = crate::support::build().listen().await;
    let headers = [
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ];
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "1"}, "io.modelcontextprotocol/clientCapabilities": {}});
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}).to_string();
    let answer = crate::support::exchange(address, "POST", "/mcp", &headers, list.as_bytes()).await.unwrap();
    let live = answer.json()["result"]["tools"].as_array().unwrap().clone();
    assert_eq!(live.len(), files.len());
    files.iter().map(|file| serde_json::from_str(file).unwrap()).chain(live).collect()
}

#[tokio::test]
async fn f13_what_a_tool_takes_is_read_by_gemini_and_by_openai() {
    for tool in both_sources().await {
        for reads in [gemini, openai] {
            let mut found = Vec::new();
            refused(&tool["inputSchema"], name(&tool), &reads, &mut found);
            assert!(found.is_empty(), "{found:#?}");
        }
        // OpenAI's takes a name and a text of limited length.
        assert!(name(&tool).len() <= 64 && tool["description"].as_str().unwrap().len() < 4096);
    }
}

#[test]
fn f13_the_readers_refuse_what_was_reported() {
    for schema in [
        json!({"type": ["array", "null"]}),
        json!({"type": "array"}),
        json!({"const": "live"}),
        json!({"$ref": "#/$defs/X"}),
        json!({"oneOf": [{"type": "string"}]}),
        json!({"anyOf": [{"type": "string"}]}),
        json!({"type": "string", "default": null}),
        json!({"type": "integer", "format": "uint64"}),
        json!({"type": "integer", "enum": [1]}),
        json!({"type": "object", "properties": {"a": {"not": {}}}}),
        json!({"type": "object", "required": ["a"]}),
        json!({"type": "array", "items": {"type": "null"}}),
        json!(true),
    ] {
        for reads in [gemini, openai] {
            let mut found = Vec::new();
            refused(&schema, "schema", &reads, &mut found);
            assert!(!found.is_empty(), "{schema}");
        }
    }
}

#[tokio::test]
async fn f13_nothing_a_tool_answers_stands_behind_a_reference() {
    for tool in both_sources().await {
        let answers = tool["outputSchema"].to_string();
        assert!(!answers.contains("\"$ref\"") && !answers.contains("$defs") && !answers.contains("$schema"), "{answers}");
    }
}

#[test]
fn every_choice_says_what_it_means() {
    let tools = tools();
    let poll = tools.iter().find(|tool| name(tool) == "poll_claim").unwrap();
    let delivery = &poll["inputSchema"]["properties"]["delivery"];
    assert_eq!(delivery["enum"], json!(["store", "env_file", "pickup", "inline"]));
    for choice in ["store", "env_file", "pickup", "inline"] {
        assert!(delivery["description"].as_str().unwrap().contains(&format!("`{choice}`: ")), "{delivery}");
    }
}
