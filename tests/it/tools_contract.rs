//! `tools/`: what agents read. `tools/<name>.json` is the exact `tools/list` entry; `UPDATE_TOOLS=1` rewrites it.

use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tools")
}

fn tools() -> Vec<Value> {
    countersign::mcp::definitions().iter().map(|tool| serde_json::to_value(tool).unwrap()).collect()
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

#[test]
fn every_error_code_a_guide_names_exists() {
    for tool in tools() {
        let guide = guide(&tool);
        let errors = &guide[guide.find("Errors:").unwrap_or_else(|| panic!("{} names no errors", name(&tool)))..];
        let codes: Vec<_> = errors.split('`').skip(1).step_by(2).collect();
        assert!(!codes.is_empty());
        for code in codes {
            assert!(countersign::mcp::ERROR_CODES.contains(&code), "{}: `{code}` is no error code", name(&tool));
        }
    }
}
