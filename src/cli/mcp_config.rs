//! What is in a client's MCP configuration for us, and whether it works: `doctor --mcp-config FILE` starts each entry as
//! the client would, asks it for its tools, and whether its key works.

pub(crate) mod entry;
pub(crate) mod over_http;
pub(crate) mod variables;

use crate::{
    cli::{
        connect::{BOM, twice},
        findings::Findings,
        mcp_config::{
            entry::{Entry, Start, Wrong},
            variables::Place,
        },
    },
    config::url::is_loopback,
    domain::pasted::{self, Said},
};
use jsonc_parser::{
    ParseOptions,
    cst::{CstObject, CstRootNode},
};
use serde_json::{Value, json};
use std::{fs, io, path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};
use url::Url;

const SUBJECT: &str = "MCP configuration";
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const TOOL_COUNT: usize = 5;

/// The protocol version we ask for.
pub const VERSION: &str = "2025-11-25";

/// What an entry may answer in all: five tools are a few kilobytes.
pub const MAX_ANSWER_BYTES: u64 = 1 << 20;
pub const ADDRESS: &str = "write the server's address and /mcp";
pub const ADDRESS_OF_EVENTS: &str = "write the server's address and /sse, or better /mcp with the type http";

/// What a client hands on, beside what the entry sets. Not the keys of whoever runs the doctor.
const HANDED_ON: [&str; 8] =
    ["PATH", "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS"];

/// Under which a file may list servers; in settings of VS Code one below `mcp`.
const SECTIONS: [&str; 5] = ["mcpServers", "servers", "context_servers", "mcp_servers", "mcp"];

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
    let (whole, doubled) = match parsed(file, text.trim_start_matches(BOM)) {
        Ok(parsed) => parsed,
        Err((found, todo)) => return findings.fail(SUBJECT, format!("{shown} {found}"), todo),
    };
    for name in doubled {
        findings.fail(SUBJECT, format!("\"{name}\" stands twice in {shown}: clients take the one or the other"), "make one of the two");
    }
    let place = Place::of(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
    let ours = entries(&whole, &place);
    if ours.is_empty() {
        let todo = "run `countersign connect CLIENT --write`, or put in what it prints";
        return findings.fail(SUBJECT, format!("{shown} names no countersign server under {}", SECTIONS.join(", ")), todo);
    }
    for (project, name, entry) in ours {
        let name = format!("\"{name}\" in {shown}{project}");
        match works(&entry, &place).await {
            Ok(found) => findings.ok(SUBJECT, format!("{name} {found}")),
            Err((found, todo)) => findings.fail(SUBJECT, format!("{name}: {found}"), todo),
        }
    }
}

/// What a file holds, and what stands in it twice.
fn parsed(file: &Path, text: &str) -> Result<(Value, Vec<String>), Wrong> {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if ["yaml", "yml"].contains(&ending) {
        let todo = "make a copy of its entry as JSON, {\"mcpServers\":{\"countersign\":{\"command\":…,\"args\":[…]}}}, and check that";
        return Err(("is YAML, which is not read here".to_owned(), todo));
    }
    if ending == "toml" {
        let whole: Value = toml::from_str(text).map_err(|error| (format!("is not valid TOML: {error}"), "mend it there"))?;
        return Ok((whole, Vec::new()));
    }
    // Comments and trailing commas are what VS Code and Cursor take; what others refuse is theirs to say.
    let whole = CstRootNode::parse(text, &ParseOptions::default());
    let whole = whole.map_err(|error| (format!("is not valid JSON: {error}"), "mend it there"))?;
    let mut doubled = Vec::new();
    if let Some(top) = whole.object_value() {
        look_for_twice(&top, false, &mut doubled);
    }
    Ok((whole.to_serde_value().unwrap_or_default(), doubled))
}

/// Names that stand twice in an object: of the file's own only the sections, below them any.
fn look_for_twice(object: &CstObject, inside: bool, found: &mut Vec<String>) {
    let matters = |name: &str| inside || name == "projects" || name == "mcp.servers" || SECTIONS.contains(&name);
    found.extend(twice(object).filter(|name| matters(name)));
    for property in object.properties() {
        let inner = property.value().and_then(|value| value.as_object());
        if let (Some(inner), true) = (inner, property.decoded_name().is_some_and(|name| matters(&name))) {
            look_for_twice(&inner, true, found);
        }
    }
}

/// Our entries, each with where it stands: in the file itself, or for one of the projects in it, as Claude Code keeps them.
fn entries<'a>(whole: &'a Value, place: &'a Place) -> Vec<(String, &'a String, Entry<'a>)> {
    let projects = whole["projects"].as_object().into_iter().flatten();
    let holders = std::iter::once((String::new(), whole)).chain(projects.map(|(path, project)| (format!(" (project {path})"), project)));
    let sections = holders.flat_map(|(project, holder)| {
        let below = [&holder["mcp"]["servers"], &holder["mcp.servers"]];
        let all = SECTIONS.iter().map(|section| &holder[*section]).chain(below);
        all.map(move |section| (project.clone(), section.as_object())).collect::<Vec<_>>()
    });
    let all =
        sections.flat_map(|(project, section)| section.into_iter().flatten().map(move |(name, entry)| (project.clone(), name, entry)));
    let all = all.map(|(project, name, written)| (project, name, Entry::new(place, written)));
    all.filter(|(_, name, entry)| entry.is_ours(name)).collect()
}

async fn works(entry: &Entry<'_>, place: &Place) -> Result<String, Wrong> {
    if entry.has_key() {
        return Err(("a key stands in the file".to_owned(), "put a variable there, such as ${COUNTERSIGN_API_KEY:-}, and revoke that key"));
    }
    if let Some(name) = entry.unfilled() {
        return Err((
            format!("{name} holds no key and names no variable, so this client comes as nobody"),
            "put a variable there, such as ${COUNTERSIGN_API_KEY:-}, or take it out",
        ));
    }
    match entry.start()? {
        Start::Program { command, arguments, environment, folder } => {
            let folder = folder.map(std::path::PathBuf::from).or_else(|| place.project.clone()).filter(|folder| folder.is_dir());
            let mut program = Command::new(&command);
            program.args(arguments).env_clear().envs(HANDED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
            program.envs(environment);
            if let Some(folder) = folder {
                program.current_dir(folder);
            }
            starts(&command, program).await
        }
        Start::Server { url, shown, sse, headers, left_out } => {
            let parsed = Url::parse(&url).map_err(|error| (format!("{shown} is no URL: {error}"), ADDRESS))?;
            if parsed.scheme() != "https" && !is_loopback(&parsed) {
                return Err((format!("{shown} without https would show keys to the network"), "use https://…"));
            }
            let carries = |name: &str| ["authorization", "x-api-key"].contains(&name.to_ascii_lowercase().as_str());
            let with_key = headers.iter().any(|(name, value)| carries(name) && matches!(pasted::said(value), Said::Token(_)));
            let (tools, said) = over_http::ask(parsed, sse, &headers).await.map_err(|(found, todo)| (format!("{shown}: {found}"), todo))?;
            judged(tools, &said).unwrap_or_else(|| Err((format!("{shown} has {tools} tools, not {TOOL_COUNT}"), ADDRESS)))?;
            let key = if with_key { ", and its key works".to_owned() } else { "; no key was sent".to_owned() };
            let why = left_out.first().map(|why| format!(": {why}")).unwrap_or_default();
            Ok(format!("answers with its {TOOL_COUNT} tools{key}{why}"))
        }
    }
}

pub fn messages() -> [Value; 4] {
    let hello = json!({"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "countersign doctor", "version": "1"}});
    [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "check_scope", "arguments": {}}}),
    ]
}

/// How many tools there are, and what the one that asks for the key's rights answered; if it is our server that did.
pub fn answers(answered: &[Value]) -> Option<(usize, Value)> {
    let of = |id: u64| answered.iter().find(|message| message["id"].as_u64() == Some(id)).map(|message| &message["result"]);
    if of(0)?["serverInfo"]["name"] != "countersign" {
        return None;
    }
    Some((of(1)?["tools"].as_array()?.len(), serde_json::from_str(of(2)?["content"][0]["text"].as_str()?).ok()?))
}

/// What its answers mean; `None` if it has not our tools.
fn judged(tools: usize, said: &Value) -> Option<Result<(), Wrong>> {
    (tools == TOOL_COUNT).then(|| match said["error"].as_str() {
        Some("unavailable") => {
            Err((said["error_description"].as_str().unwrap_or("its server can't be asked").to_owned(), "see the message"))
        }
        Some("invalid_key") => Err(("its key does not work".to_owned(), "revoke it, and let the agent register again")),
        _ => Ok(()),
    })
}

async fn starts(command: &str, mut program: Command) -> Result<String, Wrong> {
    const READ: &str = "run it by hand and read what it prints";
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = program.spawn().map_err(|error| (format!("{command} can't be started: {error}"), READ))?;
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, asked(&mut child)).await;
    match answered.ok().flatten().and_then(|(tools, said)| judged(tools, &said)) {
        Some(judged) => judged.map(|()| format!("answers with its {TOOL_COUNT} tools")),
        None => {
            let why = last_words(&mut child).await.map(|why| format!(": {why}")).unwrap_or_default();
            Err((format!("{command} started, but did not answer as a countersign MCP server{why}"), READ))
        }
    }
}

async fn asked(child: &mut Child) -> Option<(usize, Value)> {
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    let lines: String = messages().iter().map(|message| format!("{message}\n")).collect();
    stdin.write_all(lines.as_bytes()).await.ok()?;
    let mut lines = BufReader::new(stdout.take(MAX_ANSWER_BYTES)).lines();
    let mut answered = Vec::new();
    while answered.len() < 3 {
        let message: Value = serde_json::from_str(&lines.next_line().await.ok()??).ok()?;
        answered.extend(message["id"].is_u64().then_some(message));
    }
    answers(&answered)
}

/// The last line a program that failed wrote to stderr.
async fn last_words(child: &mut Child) -> Option<String> {
    let mut said = Vec::new();
    let mut stderr = child.stderr.take()?.take(MAX_ANSWER_BYTES);
    // It may go on as long as it likes: what it has said by now counts.
    let _ = tokio::time::timeout(Duration::from_millis(500), stderr.read_to_end(&mut said)).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("For more information"))
        .map(|line| line.chars().take(300).collect())
}
