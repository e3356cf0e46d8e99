//! An example of a schema, put together from those of its parts.

use serde_json::{Map, Value, json};

/// What a schema stands for, once its name is looked up among the components.
pub fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let named = schema["$ref"].as_str().and_then(|name| document.pointer(name.strip_prefix('#')?));
    named.unwrap_or(schema)
}

/// The schema among alternatives that says the most: not "nothing".
pub fn alternative(schema: &Value) -> Option<&Value> {
    let alternatives = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array())?;
    alternatives.iter().rfind(|one| one["type"] != "null")
}

/// A value that fits: of an object's members those that are always there, and those that say an example.
pub fn sample(document: &Value, schema: &Value) -> Value {
    if let Some(given) = schema["examples"].get(0).or_else(|| schema.get("const")).or_else(|| schema["enum"].get(0)) {
        return given.clone();
    }
    if let Some(one) = alternative(schema) {
        return sample(document, one);
    }
    let whole = resolved(document, schema);
    if !std::ptr::eq(whole, schema) {
        return sample(document, whole);
    }
    match schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str()) {
        Some("object") => match schema["properties"].as_object() {
            Some(properties) => {
                let always = |name: &String| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
                let shown = properties.iter().filter(|(name, property)| always(name) || property.get("examples").is_some());
                Value::Object(shown.map(|(name, property)| (name.clone(), sample(document, property))).collect())
            }
            None => Value::Object(Map::new()),
        },
        Some("array") if schema["maxItems"] == 0 => json!([]),
        Some("array") => json!([sample(document, &schema["items"])]),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("string") if schema["format"] == "date-time" => json!("2026-11-21T13:00:00Z"),
        Some("string") => json!("…"),
        _ => Value::Null,
    }
}
