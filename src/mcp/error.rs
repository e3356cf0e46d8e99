//! What went wrong, as a tool result a model can act on: a code, what it means, and the one thing to do next.

use crate::api::{error::Error, error_catalogue::Row};
use rmcp::{
    ErrorData,
    handler::server::tool::IntoCallToolResult,
    model::{CallToolResponse, CallToolResult, ContentBlock},
};
use serde_json::json;

/// An error on its way into an `isError` result.
pub struct ToolError {
    pub error: Error,
    /// What to do, where the tool knows better than the error.
    next: Option<String>,
}

impl<E: Into<Error>> From<E> for ToolError {
    fn from(error: E) -> Self {
        Self { error: error.into(), next: None }
    }
}

impl ToolError {
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

/// Every code a tool can answer, for the contract test.
pub const CODES: [&str; 18] = [
    "invalid_arguments",
    "invalid_scope",
    "invalid_login_hint",
    "claim_over",
    "pending",
    "access_denied",
    "claimed_or_in_flight",
    "rate_limit_exceeded",
    "not_signed_in",
    "invalid_key",
    "insufficient_scope",
    "unknown_claim",
    "not_found",
    "forbidden",
    "conflict",
    "unavailable",
    "refused",
    "internal",
];

impl IntoCallToolResult for ToolError {
    fn into_call_tool_result(self) -> Result<CallToolResponse, ErrorData> {
        let row = Row::of(&self.error);
        let next = self.next.unwrap_or_else(|| row.tool.in_words());
        let mut body = json!({"error": row.mcp, "error_description": self.error.to_string(), "next": next});
        if let Some(field) = row.field {
            body["field"] = json!(field);
        }
        for (name, scopes) in [("available_scopes", row.available_scopes), ("missing_scopes", row.missing_scopes)] {
            if let Some(scopes) = scopes {
                body[name] = json!(scopes);
            }
        }
        // Text only: structured content that misses the output schema makes the TypeScript SDK throw.
        Ok(CallToolResult::error(vec![ContentBlock::text(body.to_string())]).into())
    }
}
