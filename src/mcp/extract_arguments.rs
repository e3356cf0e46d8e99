//! Reads a tool call's arguments.

use crate::{
    api::error::Error,
    mcp::{arguments::Arguments, lenient_arguments, server::Tools},
};
use rmcp::{
    ErrorData,
    handler::server::{common::FromContextPart, tool::ToolCallContext},
    model::JsonObject,
};
use serde_json::Value;

/// Typed arguments, or what is wrong with which field: an error a model can act on, not one of the protocol.
pub struct Args<T>(pub Result<T, Error>);

impl<T: Arguments> FromContextPart<ToolCallContext<'_, Tools>> for Args<T> {
    fn from_context_part(context: &mut ToolCallContext<'_, Tools>) -> Result<Self, ErrorData> {
        let given = context.arguments.take().unwrap_or_default();
        let Some(schema) = (context.service.schema_of)(&context.name) else { return Ok(Self(typed(given))) };
        let shaped = lenient_arguments::shaped(schema, given, T::MEANT);
        Ok(Self(shaped.and_then(|arguments| {
            let missing = missing(schema, &arguments);
            typed(arguments).map_err(|error| match (&error, missing) {
                // What is wrong has a name; what is missing has its in the schema.
                (Error::Invalid { field, .. }, Some(missing)) if field == ALL => Error::invalid(missing, "is missing"),
                _ => error,
            })
        })))
    }
}

/// The arguments as a whole.
const ALL: &str = "arguments";

fn typed<T: Arguments>(arguments: JsonObject) -> Result<T, Error> {
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(if path == "." { ALL.to_owned() } else { path }, in_words(&error.inner().to_string()))
    })
}

/// The first argument that a tool needs and was not given.
fn missing(schema: &JsonObject, arguments: &JsonObject) -> Option<String> {
    let needed = schema.get("required")?.as_array()?.iter().filter_map(Value::as_str);
    needed.into_iter().find(|name| !arguments.contains_key(*name)).map(str::to_owned)
}

/// What the parser says, without the names of its own types.
fn in_words(said: &str) -> String {
    let said = said.replace("expected a sequence", "expected a list");
    [" u64", " u32", " u16", " usize"]
        .iter()
        .fold(said, |said, kind| said.replace(&format!("expected{kind}"), "expected a whole number, 0 or more"))
}
