//! Reads a tool call's arguments.

use crate::{
    api::error::Error,
    mcp::{arguments::Arguments, lenient_arguments, server::Tools},
};
use rmcp::{
    ErrorData,
    handler::server::{common::FromContextPart, tool::ToolCallContext},
};

/// Typed arguments, or what is wrong with which field: an error a model can act on, not one of the protocol.
pub struct Args<T>(pub Result<T, Error>);

impl<T: Arguments> FromContextPart<ToolCallContext<'_, Tools>> for Args<T> {
    fn from_context_part(context: &mut ToolCallContext<'_, Tools>) -> Result<Self, ErrorData> {
        let given = context.arguments.take().unwrap_or_default();
        let shaped = match (context.service.schema_of)(&context.name) {
            Some(schema) => lenient_arguments::shaped(schema, given, T::MEANT),
            None => Ok(given),
        };
        Ok(Self(shaped.and_then(|arguments| {
            serde_path_to_error::deserialize(serde_json::Value::Object(arguments)).map_err(|error| {
                let (path, said) = (error.path().to_string(), error.inner().to_string());
                match said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                    Some(field) => Error::invalid(field, "is missing"),
                    None => Error::invalid(if path == "." { "arguments".to_owned() } else { path }, in_words(&said)),
                }
            })
        })))
    }
}

/// What the parser says, without the names of its own types.
fn in_words(said: &str) -> String {
    let said = said.replace("expected a sequence", "expected a list");
    [" u64", " u32", " u16", " usize"]
        .iter()
        .fold(said, |said, kind| said.replace(&format!("expected{kind}"), "expected a whole number, 0 or more"))
}
