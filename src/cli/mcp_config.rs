//! What is in a client's MCP configuration for us, and whether it works: `doctor --mcp-config FILE` starts each entry as
//! the client would and asks it for its tools.

use super::doctor::Findings;
use jsonc_parser::{ParseOptions, cst::CstRootNode};
use serde_json::{Map, Value, json};
use std::{fs, path::Path, process::Stdio, time::Duration};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const PATIENCE: Duration = Duration::from_secs(20);
const TOOLS: usize = 5;

pub async fn check(file: &Path, findings: &mut Findings) {
    let shown = file.display();
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return findings.fail("MCP configuration", format!("{shown}: {error}"), "name the client's file"),
    };
    // Comments and trailing commas are what VS Code and Cursor take; what others refuse is theirs to say.
    let whole = match CstRootNode::parse(&text, &ParseOptions::default()) {
        Ok(whole) => whole.to_serde_value().unwrap_or_default(),
        Err(error) => return findings.fail("MCP configuration", format!("{shown} is not valid JSON: {error}"), "mend it there"),
    };
    let sections = ["mcpServers", "servers"].iter().filter_map(|name| whole[*name].as_object());
    let ours: Vec<_> = sections.flatten().filter(|(name, entry)| is_ours(name, entry)).collect();
    if ours.is_empty() {
        let todo = "run `countersign connect CLIENT --write`, or put in what it prints";
        return findings.fail("MCP configuration", format!("{shown} names no countersign server under mcpServers or servers"), todo);
    }
    for (name, entry) in ours {
        if let Err((found, todo)) = works(entry).await {
            findings.fail("MCP configuration", format!("\"{name}\" in {shown}: {found}"), todo);
        } else {
            findings.ok("MCP configuration", format!("\"{name}\" in {shown} answers with its {TOOLS} tools"));
        }
    }
}

fn is_ours(name: &str, entry: &Value) -> bool {
    let command = entry["command"].as_str().and_then(|command| Path::new(command).file_stem());
    name.starts_with("countersign") || command.is_some_and(|stem| stem == "countersign")
}

/// What was found, and what to do about it.
type Wrong = (String, &'static str);

async fn works(entry: &Value) -> Result<(), Wrong> {
    let headers = entry["headers"].as_object().cloned().unwrap_or_default();
    if headers.values().filter_map(Value::as_str).any(|value| value.starts_with("Bearer ") && !value.contains("${")) {
        return Err(("a key stands in the file".to_owned(), "put a variable there, such as ${COUNTERSIGN_API_KEY:-}, and revoke that key"));
    }
    match (entry["command"].as_str(), entry["url"].as_str()) {
        (Some(command), None) => starts(command, entry).await,
        (None, Some(url)) => answers(url).await,
        _ => Err(("it has neither a command nor a url, or both".to_owned(), "see `countersign connect`")),
    }
}

fn messages() -> String {
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "countersign doctor", "version": "1"}});
    let messages = [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
    ];
    messages.iter().map(|message| format!("{message}\n")).collect()
}

async fn starts(command: &str, entry: &Value) -> Result<(), Wrong> {
    const PATH: &str = "write the absolute path: a client's PATH is not your shell's";
    if !Path::new(command).is_absolute() {
        return Err((format!("{command} is no absolute path"), PATH));
    }
    let arguments: Option<Vec<_>> = match &entry["args"] {
        Value::Array(words) => words.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let arguments = arguments.filter(|words| words.first() == Some(&"mcp"));
    let arguments = arguments.ok_or(("its args don't begin with \"mcp\"".to_owned(), "see `countersign connect`"))?;
    let none = Map::new();
    let environment = entry["env"].as_object().unwrap_or(&none).iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let mut child = tokio::process::Command::new(command)
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| (format!("{command} can't be started: {error}"), PATH))?;
    let speaking = async {
        let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
        stdin.write_all(messages().as_bytes()).await.ok()?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.ok()? {
            let message: Value = serde_json::from_str(&line).ok()?;
            if message["id"] == 1 {
                return message["result"]["tools"].as_array().map(Vec::len);
            }
        }
        None
    };
    match tokio::time::timeout(PATIENCE, speaking).await {
        Ok(Some(TOOLS)) => Ok(()),
        _ => Err((format!("{command} started, but did not answer as a countersign MCP server"), "run it by hand and read what it prints")),
    }
}

async fn answers(url: &str) -> Result<(), Wrong> {
    let parsed = url::Url::parse(url).map_err(|error| (format!("{url} is no URL: {error}"), "write the server's address and /mcp"))?;
    if parsed.scheme() != "https" && !crate::config::is_loopback(&parsed) {
        return Err((format!("{url} without https would show keys to the network"), "use https://…"));
    }
    let hello = messages();
    let request = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build();
    let request = request.map_err(|error| (error.to_string(), "see the message"))?.post(url);
    let request = request.header("content-type", "application/json").header("accept", "application/json, text/event-stream");
    let answer = request.body(hello.lines().next().unwrap_or_default().to_owned()).send().await;
    let answer = answer.map_err(|_| (format!("nothing answers at {url}"), "start the server there, or mend the address"))?;
    match answer.text().await {
        Ok(text) if text.contains("\"serverInfo\"") && text.contains("\"countersign\"") => Ok(()),
        _ => Err((format!("{url} does not answer as a countersign MCP server"), "write the server's address and /mcp")),
    }
}
