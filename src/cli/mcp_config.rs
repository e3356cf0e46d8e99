//! What is in a client's MCP configuration for us, and whether it works: `doctor --mcp-config FILE` starts each entry as
//! the client would, asks it for its tools, and whether its key works.

use super::{connect::BOM, doctor::Findings};
use crate::{
    config::is_loopback,
    domain::pasted::{self, Said},
};
use jsonc_parser::{ParseOptions, cst::CstRootNode};
use reqwest::{Client, Response, redirect::Policy};
use serde_json::{Map, Value, json};
use std::{fs, io, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};
use url::Url;

const SUBJECT: &str = "MCP configuration";
const PATIENCE: Duration = Duration::from_secs(20);
const TOOLS: usize = 5;
/// What an entry may answer in all: five tools are a few kilobytes.
const MAX_ANSWER: u64 = 1 << 20;
/// What a client hands on, beside what the entry sets. Not the keys of whoever runs the doctor.
const HANDED_ON: [&str; 8] =
    ["PATH", "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS"];

pub async fn check(file: &Path, findings: &mut Findings) {
    let shown = file.display();
    let read = match fs::metadata(file) {
        Ok(found) if !found.is_file() => Err(io::Error::other("it is no file")),
        _ => fs::read_to_string(file),
    };
    let text = match read {
        Ok(text) => text,
        Err(error) => return findings.fail(SUBJECT, format!("{shown}: {error}"), "name the client's file"),
    };
    // Comments and trailing commas are what VS Code and Cursor take; what others refuse is theirs to say.
    let whole = match CstRootNode::parse(text.trim_start_matches(BOM), &ParseOptions::default()) {
        Ok(whole) => whole.to_serde_value().unwrap_or_default(),
        Err(error) => return findings.fail(SUBJECT, format!("{shown} is not valid JSON: {error}"), "mend it there"),
    };
    let ours = entries(&whole);
    if ours.is_empty() {
        let todo = "run `countersign connect CLIENT --write`, or put in what it prints";
        return findings.fail(SUBJECT, format!("{shown} names no countersign server under mcpServers or servers"), todo);
    }
    for (place, name, entry) in ours {
        let name = format!("\"{name}\" in {shown}{place}");
        match works(entry).await {
            Ok(()) => findings.ok(SUBJECT, format!("{name} answers{}", if is_sse(entry) { "" } else { " with its 5 tools" })),
            Err((found, todo)) => findings.fail(SUBJECT, format!("{name}: {found}"), todo),
        }
    }
}

/// Our entries, each with where it stands: in the file itself, or for one of the projects in it, as Claude Code keeps them.
fn entries(whole: &Value) -> Vec<(String, &String, &Value)> {
    let projects = whole["projects"].as_object().into_iter().flatten();
    let places = std::iter::once((String::new(), whole)).chain(projects.map(|(path, project)| (format!(" (project {path})"), project)));
    let sections = places.flat_map(|(place, holder)| ["mcpServers", "servers"].map(|section| (place.clone(), holder[section].as_object())));
    let all = sections.flat_map(|(place, section)| section.into_iter().flatten().map(move |(name, entry)| (place.clone(), name, entry)));
    all.filter(|(_, name, entry)| is_ours(name, entry)).collect()
}

fn is_ours(name: &str, entry: &Value) -> bool {
    let command = entry["command"].as_str().and_then(|command| Path::new(command).file_stem());
    name.starts_with("countersign") || command.is_some_and(|stem| stem == "countersign")
}

/// Whether a client would open it as an event stream (MCP 2024-11-05).
fn is_sse(entry: &Value) -> bool {
    entry["type"] == "sse" || (entry["type"].is_null() && entry["url"].as_str().is_some_and(|url| url.ends_with("/sse")))
}

/// What was found, and what to do about it.
type Wrong = (String, &'static str);

async fn works(entry: &Value) -> Result<(), Wrong> {
    credential(entry)?;
    match (entry["command"].as_str(), entry["url"].as_str()) {
        (Some(command), None) => starts(command, entry).await,
        (None, Some(url)) => answers(url, is_sse(entry)).await,
        _ => Err(("it has neither a command nor a url, or both".to_owned(), "see `countersign connect`")),
    }
}

/// What stands where a key goes, read as the server would read it: a variable, or nothing at all, never a key.
fn credential(entry: &Value) -> Result<(), Wrong> {
    let carries = |name: &str| ["authorization", "x-api-key", "countersign_api_key"].contains(&name.to_ascii_lowercase().as_str());
    let carried = ["headers", "env"].into_iter().flat_map(|part| entry[part].as_object().into_iter().flatten());
    let carried = carried.filter(|(name, _)| carries(name)).filter_map(|(name, value)| Some((name, value.as_str()?)));
    let (whole, mut said) = (entry.to_string(), carried.map(|(name, value)| (name, value, pasted::said(value))));
    // By its looks, a key is one anywhere.
    if ["cs_live_", "cs_test_"].iter().any(|head| whole.contains(head)) || said.clone().any(|(.., said)| matches!(said, Said::Token(_))) {
        return Err(("a key stands in the file".to_owned(), "put a variable there, such as ${COUNTERSIGN_API_KEY:-}, and revoke that key"));
    }
    match said.find(|(_, value, said)| *said == Said::Nothing && !pasted::bare(value).is_empty()) {
        Some((name, ..)) => Err((
            format!("{name} holds no key and names no variable, so this client comes as nobody"),
            "put a variable there, such as ${COUNTERSIGN_API_KEY:-}, or take it out",
        )),
        None => Ok(()),
    }
}

fn messages() -> String {
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "countersign doctor", "version": "1"}});
    let messages = [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "check_scope", "arguments": {}}}),
    ];
    messages.iter().map(|message| format!("{message}\n")).collect()
}

async fn starts(command: &str, entry: &Value) -> Result<(), Wrong> {
    const READ: &str = "run it by hand and read what it prints";
    if !Path::new(command).is_absolute() {
        return Err((format!("{command} is no absolute path"), "write the absolute path: a client's PATH is not your shell's"));
    }
    if !Path::new(command).exists() {
        return Err((
            format!("there is no such program as {command}"),
            "install it there, or write the path it has (`command -v countersign`)",
        ));
    }
    let arguments: Option<Vec<_>> = match &entry["args"] {
        Value::Array(words) => words.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let arguments = arguments.filter(|words| words.contains(&"mcp"));
    let arguments = arguments.ok_or(("its args don't say \"mcp\"".to_owned(), "see `countersign connect`"))?;
    let none = Map::new();
    let environment = entry["env"].as_object().unwrap_or(&none).iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let mut child = Command::new(command)
        .args(arguments)
        .env_clear()
        .envs(HANDED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| (format!("{command} can't be started: {error}"), READ))?;
    let answered = tokio::time::timeout(PATIENCE, asked(&mut child)).await;
    match answered.ok().flatten() {
        Some((TOOLS, said)) => match said["error"].as_str() {
            Some("unavailable") => {
                Err((said["error_description"].as_str().unwrap_or("its server can't be asked").to_owned(), "see the message"))
            }
            Some("invalid_key") => Err(("its key does not work".to_owned(), "revoke it, and let the agent register again")),
            _ => Ok(()),
        },
        _ => {
            let why = last_words(&mut child).await.map(|why| format!(": {why}")).unwrap_or_default();
            Err((format!("{command} started, but did not answer as a countersign MCP server{why}"), READ))
        }
    }
}

/// How many tools there are, and what the one that asks for the key's rights answered.
async fn asked(child: &mut Child) -> Option<(usize, Value)> {
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    stdin.write_all(messages().as_bytes()).await.ok()?;
    let mut lines = BufReader::new(stdout.take(MAX_ANSWER)).lines();
    let (mut tools, mut said) = (None, None);
    while tools.is_none() || said.is_none() {
        let message: Value = serde_json::from_str(&lines.next_line().await.ok()??).ok()?;
        match message["id"].as_u64() {
            Some(1) => tools = Some(message["result"]["tools"].as_array()?.len()),
            Some(2) => said = Some(serde_json::from_str(message["result"]["content"][0]["text"].as_str()?).ok()?),
            _ => {}
        }
    }
    tools.zip(said)
}

/// The last line a program that failed wrote to stderr.
async fn last_words(child: &mut Child) -> Option<String> {
    let mut said = Vec::new();
    let mut stderr = child.stderr.take()?.take(MAX_ANSWER);
    // It may go on as long as it likes: what it has said by now counts.
    let _ = tokio::time::timeout(Duration::from_millis(500), stderr.read_to_end(&mut said)).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(|line| line.chars().take(300).collect())
}

async fn answers(url: &str, sse: bool) -> Result<(), Wrong> {
    let address =
        if sse { "write the server's address and /sse, or better /mcp with the type http" } else { "write the server's address and /mcp" };
    let parsed = Url::parse(url).map_err(|error| (format!("{url} is no URL: {error}"), address))?;
    if parsed.scheme() != "https" && !is_loopback(&parsed) {
        return Err((format!("{url} without https would show keys to the network"), "use https://…"));
    }
    let client = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build();
    let client = client.map_err(|error| (error.to_string(), "see the message"))?;
    let request = if sse {
        client.get(url).header("accept", "text/event-stream")
    } else {
        let hello = messages().lines().next().unwrap_or_default().to_owned();
        let request = client.post(url).header("content-type", "application/json");
        request.header("accept", "application/json, text/event-stream").body(hello)
    };
    let answer = request.send().await;
    let answer = answer.map_err(|_| (format!("nothing answers at {url}"), "start the server there, or mend the address"))?;
    // An event stream has no end: the first words tell.
    let expected: &[&str] = if sse { &["event: endpoint", "/messages?sessionId="] } else { &["\"serverInfo\"", "\"countersign\""] };
    if says(answer, expected).await { Ok(()) } else { Err((format!("{url} does not answer as a countersign MCP server"), address)) }
}

/// Whether an answer comes to hold all these words.
async fn says(mut answer: Response, words: &[&str]) -> bool {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk);
        let so_far = String::from_utf8_lossy(&text);
        if words.iter().all(|word| so_far.contains(word)) {
            return true;
        }
        if text.len() as u64 > MAX_ANSWER {
            break;
        }
    }
    false
}
