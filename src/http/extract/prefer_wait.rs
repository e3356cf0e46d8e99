//! `Prefer: wait=SECONDS` (RFC 7240 section 4.3).

use crate::domain::registration::poll::MAX_WAIT_SECONDS;
use aide::{
    OperationInput,
    generate::GenContext,
    openapi::Operation,
    operation::{ParamLocation, add_parameters, parameters_from_schema},
};
use axum::{extract::FromRequestParts, http::request::Parts};
use schemars::json_schema;
use std::{convert::Infallible, time::Duration};

/// `Prefer: wait=N`, RFC 7240 §4.3.
pub struct PreferredWait(pub Option<Duration>);

impl<S: Sync> FromRequestParts<S> for PreferredWait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let preferences = parts.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut waits = preferences.flat_map(|value| value.split(',')).filter_map(|preference| preference.trim().strip_prefix("wait="));
        let seconds = waits.next().and_then(|wait| wait.trim_matches('"').parse().ok()).filter(|seconds| *seconds > 0);
        Ok(Self(seconds.map(|seconds: u64| Duration::from_secs(seconds.min(MAX_WAIT_SECONDS)))))
    }
}

impl OperationInput for PreferredWait {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        let prefer =
            json_schema!({"type": "string", "examples": ["wait=50"], "description": "Answer as soon as there is one (RFC 7240 §4.3)."});
        let parameters = parameters_from_schema(context, json_schema!({"properties": {"Prefer": prefer}}), ParamLocation::Header);
        add_parameters(context, operation, parameters);
    }
}
