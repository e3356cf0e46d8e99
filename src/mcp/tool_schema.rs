//! Schemas as models' APIs take them. Gemini's knows no `$ref`, `const` or list of types, OpenAI's strict mode no
//! `minLength`, and one such word in one tool makes every request of a client fail: so what a tool takes is said with one
//! `type` and `enum`, an optional argument is one that is not required, and nothing stands behind a reference.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// The schema of what a tool takes.
pub fn input(schema: &JsonObject) -> JsonObject {
    plain(inlined(schema))
}

/// The schema of what a tool answers: models' APIs are not told it, so it may say `null`.
pub fn output(schema: &JsonObject) -> JsonObject {
    inlined(schema)
}

/// The schema without references, and without words that JSON Schema itself doesn't define.
fn inlined(schema: &JsonObject) -> JsonObject {
    let none = JsonObject::new();
    let definitions = schema.get("$defs").and_then(Value::as_object).unwrap_or(&none);
    let mut schema = resolved(schema, definitions);
    schema.remove("$defs");
    schema.remove("$schema");
    schema
}

fn resolved(schema: &JsonObject, definitions: &JsonObject) -> JsonObject {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    let mut whole = match name.and_then(|name| definitions.get(name)).and_then(Value::as_object) {
        // None of our types holds itself.
        Some(definition) => resolved(definition, definitions),
        None => JsonObject::new(),
    };
    // What is said beside the reference goes before what it leads to.
    for (word, value) in schema.iter().filter(|(word, _)| *word != "$ref") {
        // `uint16`, `int64` and the like are names of Rust's.
        if word == "format" && value.as_str().is_some_and(|format| format.trim_start_matches('u').starts_with("int")) {
            continue;
        }
        whole.insert(word.clone(), each(value, &|inner| resolved(inner, definitions)));
    }
    whole
}

/// A value with every object right below it changed.
fn each(value: &Value, change: &dyn Fn(&JsonObject) -> JsonObject) -> Value {
    match value {
        Value::Object(inner) => Value::Object(change(inner)),
        Value::Array(several) => several.iter().map(|value| each(value, change)).collect(),
        other => other.clone(),
    }
}

/// The schema without what says that `null` is as good as nothing, without `oneOf` for choices, and without defaults and
/// lengths, which the descriptions tell.
fn plain(schema: JsonObject) -> JsonObject {
    let mut plain = one_type(schema);
    // What a member says of itself goes before what its type does, and what each choice means behind it.
    if let Some(Value::String(choices)) = plain.remove(CHOICES) {
        let said = plain.get("description").and_then(Value::as_str).unwrap_or("");
        plain.insert("description".to_owned(), Value::String(format!("{said} {choices}")));
    }
    plain
}

/// Holds what the choices mean until it is known whose they are.
const CHOICES: &str = "choices";

fn one_type(schema: JsonObject) -> JsonObject {
    let mut one_type = JsonObject::new();
    let description = schema.get("description").cloned();
    for (word, value) in schema {
        match (word.as_str(), &value) {
            ("default" | "minLength" | "maxLength", _) => {}
            ("type", Value::Array(types)) => {
                let kind = types.iter().find(|kind| **kind != "null").cloned();
                one_type.insert(word, kind.unwrap_or(Value::Null));
            }
            ("anyOf" | "oneOf", Value::Array(several)) => one_type.extend(one_of(several)),
            ("properties", Value::Object(properties)) => {
                let properties = properties.iter().map(|(name, it)| (name.clone(), each(it, &|it| plain(it.clone()))));
                one_type.insert(word, Value::Object(properties.collect()));
            }
            ("items", Value::Object(items)) => _ = one_type.insert(word, Value::Object(plain(items.clone()))),
            _ => _ = one_type.insert(word, value),
        }
    }
    one_type.extend(description.map(|said| ("description".to_owned(), said)));
    one_type
}

/// What alternatives come to: the one that is not `null`, or the choices among texts.
fn one_of(several: &[Value]) -> JsonObject {
    let mut several = several.iter().filter_map(Value::as_object).filter(|it| it.get("type") != Some(&json!("null")));
    let choices: Vec<_> = several.clone().filter_map(|it| Some((it.get("const")?, it.get("description")))).collect();
    if choices.is_empty() {
        return several.next().cloned().map(one_type).unwrap_or_default();
    }
    let said = choices.iter().filter_map(|(value, said)| Some(format!("`{}`: {}", value.as_str()?, said.and_then(|it| it.as_str())?)));
    let said: Vec<_> = said.collect();
    let values: Vec<_> = choices.iter().map(|(value, _)| (*value).clone()).collect();
    [("type", json!("string")), ("enum", json!(values)), (CHOICES, json!(said.join(" ")))]
        .map(|(word, it)| (word.to_owned(), it))
        .into_iter()
        .collect()
}
