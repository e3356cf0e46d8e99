//! The form of an answer over Streamable HTTP. The SDK sends events, and only to who names both of its media types; here
//! it is enough to take one of them (RFC 9110 §12.5.1).

use crate::{
    http::extract::accept::{JSON, weight},
    mcp::json_rpc::rpc_error,
};
use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, de::IgnoredAny};
use std::{future::poll_fn, pin::Pin};

const EVENTS: &str = "text/event-stream";

/// The first version whose clients take an event without data (SEP-1699); others fail to parse it.
const PRIMES: &str = "2025-11-25";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they come: what a call says while it runs, then its answer.
    Events,
    /// The answer alone, once it is there.
    Json,
}

/// What a client takes; `None`: nothing of ours.
pub fn taken(headers: &HeaderMap) -> Option<Form> {
    if weight(headers, EVENTS) > 0 {
        return Some(Form::Events);
    }
    (weight(headers, JSON) > 0).then_some(Form::Json)
}

/// Says what the SDK wants to read.
pub fn both(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
}

pub fn are_events(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == EVENTS)
}

/// Whether a client of this version takes an event without data. Who names none is older.
pub fn primes(version: Option<&str>) -> bool {
    version.is_some_and(|version| version >= PRIMES)
}

/// What an event carries, which the SDK writes into one line.
fn data(event: &[u8]) -> Option<&[u8]> {
    event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:")).map(<[u8]>::trim_ascii)
}

/// An event that only says where to go on from: the SDK sends one first.
pub fn is_priming(event: &[u8]) -> bool {
    data(event).is_some_and(<[u8]>::is_empty)
}

/// A message that ends a call, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Option<Agreed>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

/// What `initialize` settles.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Agreed {
    #[serde(default)]
    protocol_version: Option<String>,
}

/// A body read up to the answer that ends it.
struct Whole {
    events: Vec<u8>,
    primed: Vec<u8>,
    answer: Option<(Bytes, Option<String>)>,
}

async fn whole<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin>(mut body: B) -> Whole {
    let mut whole = Whole { events: Vec::new(), primed: Vec::new(), answer: None };
    // The SDK sends an event a frame.
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(event) = frame.into_data() else { continue };
        if is_priming(&event) {
            whole.primed.extend_from_slice(&event);
            continue;
        }
        whole.events.extend_from_slice(&event);
        let Some(data) = data(&event) else { continue };
        if let Ok(Answer { result, error }) = serde_json::from_slice(data)
            && (result.is_some() || error.is_some())
        {
            whole.answer = Some((event.slice_ref(data), result.and_then(|result| result.protocol_version)));
            break;
        }
    }
    whole
}

/// A stream's answer as one document. What came before it was for who reads along.
pub async fn as_json<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin>(response: Response<B>) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some((answer, _)) = whole(body).await.answer else {
        return rpc_error(StatusCode::SERVICE_UNAVAILABLE, -32603, "the session ended before the answer: initialize again");
    };
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    Response::from_parts(parts, Body::from(answer))
}

/// The answer to `initialize`, which is there at once and says which version was agreed on.
pub async fn greeting<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin>(response: Response<B>) -> Response {
    let (parts, body) = response.into_parts();
    let Whole { mut events, primed, answer } = whole(body).await;
    if answer.is_some_and(|(_, version)| primes(version.as_deref())) {
        events = [primed, events].concat();
    }
    Response::from_parts(parts, Body::from(events))
}
