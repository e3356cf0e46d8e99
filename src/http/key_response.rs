//! The answer that delivers a key.

use crate::{
    api::claims::Delivered,
    http::{
        extract::accept,
        openapi::describe::{self},
        response::{described, no_store},
    },
};
use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described, StatusCode as Status},
};
use axum::{
    Json,
    http::HeaderMap,
    response::{IntoResponse, Response},
};

/// The delivered key: JSON, or bare for who would rather have `text/plain`. A client that would take either parses JSON,
/// and the key comes once.
pub struct KeyReply(Response);

impl KeyReply {
    pub fn new(headers: &HeaderMap, delivered: Delivered) -> Self {
        let body = if accept::prefers(headers, accept::TEXT, accept::JSON) {
            delivered.access_token.expose().to_owned().into_response()
        } else {
            Json(delivered).into_response()
        };
        Self((no_store(), body).into_response())
    }
}

impl IntoResponse for KeyReply {
    fn into_response(self) -> Response {
        self.0
    }
}

impl OperationOutput for KeyReply {
    type Inner = Delivered;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<Status>, Described)> {
        let mut response = described(200);
        response.content.insert("application/json".to_owned(), describe::media(describe::answered::<Delivered>(context)));
        response.content.insert("text/plain".to_owned(), describe::media(describe::answered::<String>(context)));
        vec![(Some(Status::Code(200)), response)]
    }
}
