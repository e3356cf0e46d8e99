//! One reading of a client's JSON-RPC for stdio, `/mcp` and `/messages`: what their serializers write for nothing is taken
//! out, so that every transport takes the same messages.

use crate::http::extract::{
    body::{MAX_BODY_BYTES, has_member_twice},
    members::whole,
};
use axum::{
    body::{Bytes, to_bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value, json};
use std::{
    fmt,
    io::Result as IoResult,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// A refusal, as JSON-RPC.
pub fn rpc_error(status: StatusCode, code: i64, message: &str) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

pub fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// What the SDK refuses in plain text, as the JSON-RPC error its clients expect.
pub async fn in_json_rpc(asked_in_json: bool, response: Response) -> Response {
    if is_json(response.headers()) || !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // JSON that does not say what it should is another thing than no JSON.
    if asked_in_json && parts.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        parts.status = StatusCode::BAD_REQUEST;
    }
    let said = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let message = if said.trim().is_empty() { parts.status.canonical_reason().unwrap_or("refused") } else { said.trim() };
    let mut answer = rpc_error(parts.status, -32600, message);
    answer.headers_mut().extend(parts.headers.into_iter().filter(|(name, _)| name.as_ref() == Some(&header::ALLOW)));
    answer
}

/// A longer line on stdio is left to the SDK.
const MAX_LINE_BYTES: usize = 64 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A message that came over HTTP.
pub struct Message {
    /// As the SDK is to read it.
    pub bytes: Bytes,
    /// The key it wants to revoke, if it does.
    pub revokes: Option<String>,
}

/// Reads a message, or tells the code and words of why it is none.
pub fn read(bytes: Bytes) -> Result<Message, (i64, &'static str)> {
    if has_member_twice(without_bom(&bytes)) {
        return Err((-32600, "Invalid Request: a member is there twice"));
    }
    if let Some(Plain { method, params, .. }) = plain(&bytes) {
        let revokes = method == "tools/call" && params.name == Some("revoke_key");
        let revokes = params.arguments.and_then(|it| it.key_id).filter(|_| revokes).map(str::to_owned);
        return Ok(Message { bytes, revokes });
    }
    let mut message = serde_json::from_slice(without_bom(&bytes)).map_err(|_| (-32700, "Parse error"))?;
    let changed = tidy(&mut message) || bytes.starts_with(BOM);
    if !is_json_rpc(&message) {
        return Err((-32600, "Invalid Request"));
    }
    let revokes = named_to_revoke(&message).map(str::to_owned);
    Ok(Message { bytes: if changed { message.to_string().into() } else { bytes }, revokes })
}

/// A line of stdio, written anew where something was taken out. What can't be read is for the SDK to judge.
fn tidied(line: &[u8]) -> Option<Vec<u8>> {
    if has_member_twice(without_bom(line)) {
        // Without the call's name it is refused, and nothing of it is taken for what was meant.
        let mut message: Value = serde_json::from_slice(without_bom(line)).ok()?;
        message.as_object_mut()?.remove("params");
        return Some(format!("{message}\n").into_bytes());
    }
    if plain(line).is_some() {
        return None;
    }
    let mut message = serde_json::from_slice(without_bom(line)).ok()?;
    tidy(&mut message).then(|| format!("{message}\n").into_bytes())
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BOM).unwrap_or(bytes)
}

/// The request that most messages are, as far as it matters here: read without building a tree of it. Nothing in it needs
/// to be taken out.
#[derive(Deserialize)]
struct Plain<'a> {
    jsonrpc: &'a str,
    id: Value,
    method: &'a str,
    #[serde(borrow, deserialize_with = "object")]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    name: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "some_object")]
    arguments: Option<Arguments<'a>>,
    #[serde(default, deserialize_with = "some_object")]
    _meta: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    key_id: Option<&'a str>,
}

fn plain(bytes: &[u8]) -> Option<Plain<'_>> {
    let plain = if bytes.starts_with(b"{") { serde_json::from_slice::<Plain>(bytes).ok() } else { None };
    plain.filter(|plain| plain.jsonrpc == "2.0" && is_id(&plain.id))
}

/// What is read of an object, where a list would do for serde.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }
    value.deserialize_map(Object(PhantomData))
}

fn some_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    object(value).map(Some)
}

/// Takes out what says nothing; tells whether there was any.
fn tidy(message: &mut Value) -> bool {
    let Some(message) = message.as_object_mut() else { return false };
    // A notification has no id, and an error may be about a message whose id nobody knows: `null` is none.
    let answers_nothing = !message.contains_key("method") && message.contains_key("error");
    let notifies = message.get("method").and_then(Value::as_str).is_some_and(|method| method.starts_with("notifications/"));
    let mut changed = (answers_nothing || notifies) && message.get("id").is_some_and(Value::is_null);
    if changed {
        message.remove("id");
    }
    changed |= without(message, "params", |value| value.is_null() || is_empty_list(value));
    let calls = message.get("method").and_then(Value::as_str) == Some("tools/call");
    let Some(params) = message.get_mut("params").and_then(Value::as_object_mut) else { return changed };
    let nulls = params.len();
    params.retain(|_, value| !value.is_null());
    changed |= params.len() < nulls;
    changed |= without(params, "_meta", is_empty_list);
    if calls {
        // Written as function calls are by models: a text that holds the object.
        if let Some(Value::String(text)) = params.get("arguments")
            && !has_member_twice(text.as_bytes())
            && let Ok(object @ Value::Object(_)) = serde_json::from_str(text)
        {
            params.insert("arguments".to_owned(), object);
            changed = true;
        }
        changed |= without(params, "arguments", |value| is_empty_list(value) || value.as_str().is_some_and(|text| text.trim().is_empty()));
    }
    changed
}

fn without(object: &mut Map<String, Value>, name: &str, says_nothing: impl FnOnce(&Value) -> bool) -> bool {
    object.get(name).is_some_and(says_nothing) && object.remove(name).is_some()
}

/// What PHP writes for an empty object.
fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64() || id.as_f64().filter(|_| id.is_f64()).and_then(whole).is_some()
}

/// A request, a notification or a response (JSON-RPC 2.0 §§4, 5). The SDK would answer others in plain text.
fn is_json_rpc(message: &Value) -> bool {
    let id_is_fine = message.get("id").is_none_or(is_id);
    let says_something = message["method"].is_string() || message.get("result").is_some() || message.get("error").is_some();
    message["jsonrpc"] == "2.0" && id_is_fine && says_something && message.get("params").is_none_or(Value::is_object)
}

/// The key a message that was read as a tree wants to revoke.
fn named_to_revoke(message: &Value) -> Option<&str> {
    let params = message.get("params").filter(|_| message["method"] == "tools/call")?;
    if params["name"] == "revoke_key" { params["arguments"]["key_id"].as_str() } else { None }
}

/// A client's lines on stdio, each as [`tidied`] has it.
pub struct Lines<R> {
    from: R,
    line: Vec<u8>,
    /// What of the line was passed on.
    passed: usize,
    /// The line is complete, or too long to be held.
    ready: bool,
    /// The rest of a line that is too long goes on as it is.
    long: bool,
}

impl<R> Lines<R> {
    pub fn new(from: R) -> Self {
        Self { from, line: Vec::new(), passed: 0, ready: false, long: false }
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        let this = self.get_mut();
        while !this.ready {
            let available = ready!(Pin::new(&mut this.from).poll_fill_buf(context))?;
            let end = available.iter().position(|byte| *byte == b'\n').map_or(available.len(), |at| at + 1);
            this.line.extend_from_slice(&available[..end]);
            let (ends, whole) = (end == 0, this.line.ends_with(b"\n"));
            Pin::new(&mut this.from).consume(end);
            if whole && !this.long {
                this.line = tidied(&this.line).unwrap_or_else(|| std::mem::take(&mut this.line));
            }
            this.ready = whole || ends || this.long || this.line.len() > MAX_LINE_BYTES;
            this.long = this.ready && !whole;
        }
        let rest = &this.line[this.passed..];
        let taken = rest.len().min(into.remaining());
        into.put_slice(&rest[..taken]);
        this.passed += taken;
        if this.passed == this.line.len() {
            (this.passed, this.ready) = (0, false);
            this.line.clear();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, BufReader};

    /// What each transport makes of a message, where both take it.
    fn both(message: &str) -> Option<Value> {
        let over_http = read(Bytes::copy_from_slice(message.as_bytes())).ok().map(|read| read.bytes.to_vec());
        let on_stdio = tidied(message.as_bytes()).unwrap_or_else(|| message.as_bytes().to_vec());
        let over_http: Value = serde_json::from_slice(&over_http?).unwrap();
        assert_eq!(over_http, serde_json::from_slice::<Value>(without_bom(&on_stdio)).unwrap(), "{message}");
        Some(over_http)
    }

    #[test]
    fn f04_what_says_nothing_is_nothing() {
        for nothing in ["null", "[]"] {
            for (with, without) in [
                (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":@}"#, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#),
                (
                    r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":@}"#,
                    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                ),
                (
                    r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"list_keys","arguments":@,"_meta":@}}"#,
                    r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"list_keys"}}"#,
                ),
            ] {
                let expected: Value = serde_json::from_str(without).unwrap();
                assert_eq!(both(&with.replace('@', nothing)), Some(expected));
            }
        }
        for (with, without) in [
            (
                r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{"_meta":null}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_keys","arguments":" "}}"#,
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_keys"}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"revoke_key","arguments":"{\"key_id\":\"x\"}"}}"#,
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"revoke_key","arguments":{"key_id":"x"}}}"#,
            ),
        ] {
            assert_eq!(both(with), Some(serde_json::from_str(without).unwrap()));
        }
    }

    #[test]
    fn f04_a_whole_float_is_an_id_and_others_are_not() {
        let with_id = |id: &str| both(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#));
        for id in ["1", "1.0", "1e2", "-0.0", "9007199254740991.0", "\"1.5\"", "\"\"", "9223372036854775807"] {
            assert!(with_id(id).is_some(), "{id}");
        }
        for id in ["1.5", "9007199254740992.0", "1e300", "18446744073709551615", "null", "[]", "{}", "true"] {
            assert!(with_id(id).is_none(), "{id}");
        }
    }

    #[test]
    fn a_key_to_revoke_is_found_however_it_is_written() {
        for arguments in [r#"{"key_id":"x"}"#, r#""{\"key_id\":\"x\"}""#] {
            let message = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"revoke_key","arguments":{arguments},"_meta":null}}}}"#
            );
            assert_eq!(read(message.into()).ok().unwrap().revokes.as_deref(), Some("x"), "{arguments}");
        }
    }

    #[test]
    fn a_member_that_is_there_twice_is_taken_for_neither_on_any_way_in() {
        for (params, twice) in [
            (r#"{"name":"check_scope","arguments":{"scopes":["a"],"scopes":[]}}"#, true),
            (r#"{"name":"check_scope","arguments":{"scopes":["a"],"sc\u006fpes":[]}}"#, true),
            (r#"{"name":"check_scope","arguments":{},"arguments":{"scopes":["a"]}}"#, true),
            (r#"{"name":"check_scope","arguments":{"scopes":["a"]}}"#, false),
        ] {
            let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            let on_stdio = tidied(message.as_bytes()).unwrap_or_else(|| message.clone().into_bytes());
            assert_eq!(serde_json::from_slice::<Value>(&on_stdio).unwrap().get("params").is_none(), twice, "{params}");
            assert_eq!(read(message.into()).is_err(), twice, "{params}");
        }
    }

    #[tokio::test]
    async fn lines_go_on_as_they_are_but_for_what_says_nothing() {
        let long = format!("{{\"id\":\"{}\"}}\n", "x".repeat(2 * MAX_LINE_BYTES));
        let plain = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}}\r\n";
        let null = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\",\"params\":null}\r\n";
        let tidy = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";
        let sent = [plain.as_bytes(), null.as_bytes(), b"\n", b"\xff\xfe{\n", b"garbage\n", long.as_bytes(), null.as_bytes(), b"{\"half"];
        let expected =
            [plain.as_bytes(), tidy.as_bytes(), b"\n", b"\xff\xfe{\n", b"garbage\n", long.as_bytes(), tidy.as_bytes(), b"{\"half"];
        for size in [1, 7, 64, 8192] {
            let mut lines = Lines::new(BufReader::with_capacity(size, std::io::Cursor::new(sent.concat())));
            let mut received = Vec::new();
            lines.read_to_end(&mut received).await.unwrap();
            assert!(received == expected.concat(), "{size}: {}", String::from_utf8_lossy(&received[..200]));
        }
    }
}
