//! What clients do to arguments on their way from the model, undone where it says nothing else: each as the tool's schema
//! has it. What could mean two things stays as it is and is refused by its name.

use crate::{
    api::error::Error,
    domain::{nearest::nearest, pasted},
    http::extract::members::whole,
};
use rmcp::model::JsonObject;
use serde_json::Value;

/// n8n writes these beside every tool's own.
const OF_CLIENTS: [&str; 4] = ["toolCallId", "sessionId", "action", "chatInput"];

/// How much of a name nobody knows is said back.
const MAX_NAME_CHARS: usize = 64;

/// The arguments of a tool with this input schema. Nothing given is nothing, but for those in `meant`, where it would ask
/// for less than was meant.
pub fn shaped(schema: &JsonObject, given: JsonObject, meant: &[&str]) -> Result<JsonObject, Error> {
    let none = JsonObject::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let mut shaped = JsonObject::new();
    for (name, value) in given {
        match known.get(&name) {
            Some(argument) => match as_said(argument, value) {
                Some(value) => _ = shaped.insert(name, value),
                None if meant.contains(&name.as_str()) => {
                    return Err(Error::invalid(name, "is empty: say what you mean, or leave it out"));
                }
                None => {}
            },
            None if OF_CLIENTS.contains(&name.as_str()) => {}
            None => return Err(unknown(&name, known)),
        }
    }
    Ok(shaped)
}

fn unknown(name: &str, known: &JsonObject) -> Error {
    let name: String = pasted::name(name).chars().take(MAX_NAME_CHARS).collect();
    let nearest = nearest(&name, known.keys().map(String::as_str));
    let nearest = nearest.map_or_else(|| "it takes none".to_owned(), |nearest| format!("the nearest is `{nearest}`"));
    Error::invalid(name, format!("is no argument of this tool: {nearest}"))
}

/// A value as its schema has it; `None`: it says nothing.
fn as_said(argument: &Value, value: Value) -> Option<Value> {
    let kind = argument["type"].as_str().unwrap_or("");
    match (kind, value) {
        (_, Value::Null) => None,
        (_, Value::String(text)) if text.trim().is_empty() => None,
        ("integer", Value::Number(number)) => {
            let whole = number.as_f64().filter(|_| number.is_f64()).and_then(whole);
            Some(whole.and_then(|whole| i64::try_from(whole).ok()).map_or(Value::Number(number), Value::from))
        }
        ("integer" | "boolean" | "array", Value::String(text)) => of_text(argument, kind, text),
        (_, value) => Some(value),
    }
}

/// What a text says where something else belongs: it as JSON, or a list as people write one.
fn of_text(argument: &Value, kind: &str, text: String) -> Option<Value> {
    // Python writes its booleans with a capital.
    let json = if kind == "boolean" { text.to_ascii_lowercase() } else { text.clone() };
    match (kind, serde_json::from_str(&json)) {
        (_, Ok(Value::Null)) => None,
        ("integer", Ok(value @ Value::Number(_))) => as_said(argument, value).filter(Value::is_i64).or(Some(Value::String(text))),
        ("array", Ok(value @ Value::String(_))) => as_said(argument, value),
        ("boolean", Ok(value @ Value::Bool(_))) | ("array", Ok(value @ Value::Array(_))) => Some(value),
        // No scope holds white space or a comma.
        ("array", _) => Some(text.split(|c: char| c.is_whitespace() || c == ',').filter(|it| !it.is_empty()).collect()),
        _ => Some(Value::String(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> JsonObject {
        let schema = json!({"type": "object", "properties": {
            "number": {"type": "integer"},
            "list": {"type": "array", "items": {"type": "string"}},
            "flag": {"type": "boolean"},
            "text": {"type": "string"},
            "choice": {"type": "string", "enum": ["live", "test"]},
        }});
        schema.as_object().unwrap().clone()
    }

    fn shape(given: &Value) -> Result<Value, String> {
        shaped(&schema(), given.as_object().unwrap().clone(), &[]).map(Value::Object).map_err(|error| error.to_string())
    }

    #[test]
    fn f09_f10_f12_what_says_one_thing_is_that() {
        for (given, meant) in [
            (json!({"number": 5.0}), json!({"number": 5})),
            (json!({"number": -3.0}), json!({"number": -3})),
            (json!({"number": "5"}), json!({"number": 5})),
            (json!({"number": " 5.0 "}), json!({"number": 5})),
            (json!({"number": "null"}), json!({})),
            (json!({"list": "[\"a\"]"}), json!({"list": ["a"]})),
            (json!({"list": " [\"a\", \"b\"]\n"}), json!({"list": ["a", "b"]})),
            (json!({"list": "\"[\\\"a\\\"]\""}), json!({"list": ["a"]})),
            (json!({"list": "\"a\""}), json!({"list": ["a"]})),
            (json!({"list": "audience:read"}), json!({"list": ["audience:read"]})),
            (json!({"list": "a b"}), json!({"list": ["a", "b"]})),
            (json!({"list": "a,b, c"}), json!({"list": ["a", "b", "c"]})),
            (json!({"list": "[]"}), json!({"list": []})),
            (json!({"list": "null"}), json!({})),
            (json!({"flag": "true"}), json!({"flag": true})),
            (json!({"flag": "False"}), json!({"flag": false})),
            (json!({"number": "", "list": "", "flag": " ", "text": "", "choice": "\t"}), json!({})),
            (json!({"number": null, "list": null, "flag": null, "text": null, "choice": null}), json!({})),
            (json!({"toolCallId": "x", "sessionId": null, "action": {}, "chatInput": ["x"], "text": "a"}), json!({"text": "a"})),
        ] {
            assert_eq!(shape(&given), Ok(meant), "{given}");
        }
    }

    #[test]
    fn f09_f10_f12_what_could_mean_two_things_stays() {
        for given in [
            json!({"number": 5.5}),
            json!({"number": "5.5"}),
            json!({"number": "05"}),
            json!({"number": "five"}),
            json!({"number": 1e300}),
            json!({"number": true}),
            json!({"list": {"0": "a"}}),
            json!({"list": [""]}),
            json!({"list": ["a b"]}),
            json!({"flag": "yes"}),
            json!({"text": "[\"a\"]"}),
            json!({"text": "null"}),
            json!({"text": 5}),
            json!({"choice": "LIVE"}),
            json!({"choice": ["live"]}),
        ] {
            assert_eq!(shape(&given), Ok(given.clone()), "{given}");
        }
    }

    #[test]
    fn f08_an_unknown_argument_is_refused_by_name_with_the_nearest() {
        for (name, nearest) in [("lists", "list"), ("Text", "text"), ("toolCallID", "choice"), ("num_ber", "number")] {
            let error = shape(&json!({name: null})).unwrap_err();
            assert!(error.contains(&format!("`{name}`")), "{error}");
            assert!(error.contains(&format!("`{nearest}`")) || name == "toolCallID", "{error}");
        }
        assert!(shape(&json!({"x".repeat(60_000): 1})).unwrap_err().len() < 300);
    }

    #[test]
    fn what_would_ask_for_less_than_was_meant_is_refused() {
        for nothing in [json!(""), json!(" "), json!(null), json!("null")] {
            let given = json!({"list": nothing, "text": ""});
            let error = shaped(&schema(), given.as_object().unwrap().clone(), &["list"]).unwrap_err();
            assert!(error.to_string().contains("list"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_fits_already_is_left_alone(number in any::<i64>(), list in proptest::collection::vec("[a-z:]{1,9}", 0..4), flag: bool, text in "[^ \t\n].{0,20}[^ \t\n]") {
            prop_assume!(!text.trim().is_empty());
            let given = json!({"number": number, "list": list, "flag": flag, "text": text});
            prop_assert_eq!(shape(&given), Ok(given));
        }

        #[test]
        fn a_list_comes_back_however_it_was_written(list in proptest::collection::vec("[a-z]{1,8}:[a-z]{1,8}", 1..5)) {
            let text = serde_json::to_string(&list).unwrap();
            let twice = serde_json::to_string(&text).unwrap();
            for written in [text, twice, list.join(" "), list.join(","), list.join(", ")] {
                prop_assert_eq!(shape(&json!({"list": written})), Ok(json!({"list": &list})));
            }
        }
    }
}
