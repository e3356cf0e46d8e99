//! Asks a server over HTTP what a client asks it first, with the headers of the client's file.

use crate::cli::mcp_config::{ADDRESS, ADDRESS_OF_EVENTS, ANSWER_TIMEOUT, MAX_ANSWER_BYTES, VERSION, answers, entry::Wrong, messages};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect::Policy};
use serde_json::Value;
use url::Url;

const SEE: &str = "see the message";

/// The way to a server, once it is found.
enum Way {
    Streamable {
        url: Url,
        session: Option<String>,
    },
    /// Messages are posted to the one address and answered on the other (MCP 2024-11-05).
    Events {
        post: Url,
        stream: Events,
    },
}

/// How many tools there are, and what the one that asks for the key's rights answered.
pub async fn ask(url: Url, sse: bool, headers: &[(String, String)]) -> Result<(usize, Value), Wrong> {
    let client = Client::builder().redirect(Policy::none()).timeout(ANSWER_TIMEOUT).build();
    let client = client.map_err(|error| (error.to_string(), SEE))?;
    let with = |request: RequestBuilder| headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let mut way = if sse {
        let answer = sent(with(client.get(url.clone())).header("accept", "text/event-stream")).await?;
        let mut stream = Events { answer, read: Vec::new() };
        let (kind, data) = stream.next().await.ok_or_else(|| nothing_of_ours(&url))?;
        let post = url.join(&data).ok().filter(|post| kind == "endpoint" && post.origin() == url.origin());
        Way::Events { post: post.ok_or_else(|| nothing_of_ours(&url))?, stream }
    } else {
        Way::Streamable { url: url.clone(), session: None }
    };
    let mut answered = Vec::new();
    for message in messages() {
        let request = client.post(way.address().clone()).header("accept", "application/json, text/event-stream").json(&message);
        let answer = sent(with(way.in_session(request))).await?;
        if let Some(id) = message["id"].as_u64() {
            answered.push(way.answer(answer, id).await.ok_or_else(|| nothing_of_ours(&url))?);
        }
    }
    if let Way::Streamable { session: Some(_), .. } = &way {
        let _ = with(way.in_session(client.delete(way.address().clone()))).send().await;
    }
    answers(&answered).ok_or_else(|| nothing_of_ours(&url))
}

async fn sent(request: RequestBuilder) -> Result<Response, Wrong> {
    let answer = request.send().await;
    let answer = answer.map_err(|_| ("nothing answers there".to_owned(), "start the server there, or mend the address"))?;
    match answer.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(("its key does not work there".to_owned(), "take it out of the variable, and let the agent register again"))
        }
        status if status.is_success() => Ok(answer),
        status => Err((format!("it does not answer as a countersign MCP server (HTTP {})", status.as_u16()), ADDRESS)),
    }
}

fn nothing_of_ours(url: &Url) -> Wrong {
    let address = if url.path().ends_with("/sse") { ADDRESS_OF_EVENTS } else { ADDRESS };
    ("it does not answer as a countersign MCP server".to_owned(), address)
}

impl Way {
    fn address(&self) -> &Url {
        match self {
            Self::Streamable { url, .. } | Self::Events { post: url, .. } => url,
        }
    }

    fn in_session(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Streamable { session: Some(session), .. } => {
                request.header("mcp-session-id", session).header("mcp-protocol-version", VERSION)
            }
            _ => request,
        }
    }

    /// The message with this id, wherever it comes.
    async fn answer(&mut self, mut answer: Response, id: u64) -> Option<Value> {
        let is_it = |data: &str| serde_json::from_str::<Value>(data).ok().filter(|message| message["id"].as_u64() == Some(id));
        let mut own;
        let stream = match self {
            Self::Events { stream, .. } => stream,
            Self::Streamable { session, .. } => {
                let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
                if let Some(new) = header("mcp-session-id") {
                    *session = Some(new.to_owned());
                }
                if !header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
                    let mut body = Vec::new();
                    while let Some(chunk) = answer.chunk().await.ok()? {
                        body.extend_from_slice(&chunk);
                        if body.len() as u64 > MAX_ANSWER_BYTES {
                            return None;
                        }
                    }
                    return is_it(std::str::from_utf8(&body).ok()?);
                }
                own = Events { answer, read: Vec::new() };
                &mut own
            }
        };
        loop {
            let (_, data) = stream.next().await?;
            if let Some(message) = is_it(&data) {
                return Some(message);
            }
        }
    }
}

/// An event stream, as far as it was read.
struct Events {
    answer: Response,
    read: Vec<u8>,
}

impl Events {
    /// The kind and the data of the next event that has some.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                let field = |name: &str| {
                    let lines = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                    lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
                };
                let data = field("data");
                if !data.is_empty() {
                    return Some((field("event"), data));
                }
                continue;
            }
            if self.read.len() as u64 > MAX_ANSWER_BYTES {
                return None;
            }
            let chunk = self.answer.chunk().await.ok()??;
            self.read.extend(chunk.iter().filter(|&&b| b != b'\r'));
        }
    }
}
