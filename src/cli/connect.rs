//! `connect`: the entry that makes a client start `countersign mcp`, printed or merged into the client's file.

use super::{
    Done, Failure, print,
    serve::shell_line,
    settings::{Global, text},
};
use crate::owner::ServerClient;
use clap::{Args, ValueEnum};
use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode},
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The byte order mark some editors put before a text.
pub const BOM: &str = "\u{feff}";

#[derive(Args)]
pub struct Connect {
    client: Client,
    /// Merge the entry into the client's file; other entries stay. For claude and vscode that is the project's file in
    /// the current directory: .mcp.json, .vscode/mcp.json
    #[arg(long)]
    write: bool,
    /// What the client calls the entry; so that one for this computer and one for a server elsewhere stand side by side
    #[arg(long, value_name = "NAME", default_value = "countersign", value_parser = name)]
    name: String,
}

/// As clients take it: Claude makes it part of the names of tools.
fn name(text: &str) -> Result<String, String> {
    let fits = (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 40 letters, digits, '-' and '_'".to_owned()) }
}

#[derive(Clone, Copy, ValueEnum)]
enum Client {
    Claude,
    ClaudeDesktop,
    Cursor,
    Vscode,
}

impl Client {
    /// The key under which this client lists servers.
    const fn section(self) -> &'static str {
        match self {
            Self::Vscode => "servers",
            Self::Claude | Self::ClaudeDesktop | Self::Cursor => "mcpServers",
        }
    }

    fn entry(self, command: &str, arguments: &[String]) -> Value {
        match self {
            Self::Vscode => json!({ "type": "stdio", "command": command, "args": arguments }),
            Self::Claude | Self::ClaudeDesktop | Self::Cursor => json!({ "command": command, "args": arguments }),
        }
    }

    fn file(self) -> Result<PathBuf, Failure> {
        let home = || {
            let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
            home.ok_or_else(|| Failure::failed("there is no HOME to find the client's file in"))
        };
        Ok(match self {
            Self::Claude => PathBuf::from(".mcp.json"),
            Self::Vscode => PathBuf::from(".vscode/mcp.json"),
            Self::Cursor => home()?.join(".cursor/mcp.json"),
            Self::ClaudeDesktop if cfg!(target_os = "macos") => {
                home()?.join("Library/Application Support/Claude/claude_desktop_config.json")
            }
            Self::ClaudeDesktop => home()?.join(".config/Claude/claude_desktop_config.json"),
        })
    }
}

impl Connect {
    pub fn run(self, global: &Global) -> Done {
        if let Some(url) = &global.server {
            // An entry that can't work is refused as `mcp` would refuse it.
            ServerClient::new(url, None)?;
        }
        let command = text(&std::env::current_exe()?)?;
        let mut arguments = vec!["mcp".to_owned()];
        arguments.extend(global.repeated()?);
        arguments.extend(global.server.iter().flat_map(|url| ["--server".to_owned(), url.clone()]));
        let (client, name) = (self.client, self.name);
        let entry = client.entry(&command, &arguments);
        if self.write {
            let file = std::path::absolute(client.file()?)?;
            let before = merge(&file, client.section(), &name, entry)?;
            let project = if matches!(client, Client::Claude | Client::Vscode) { ", for this project only" } else { "" };
            print::line(&format!("Wrote the entry \"{name}\" to {}{project}; restart the client, or reload its servers", file.display()))?;
            if let Some(before) = before {
                print::line(&format!("It replaced {before}"))?;
            }
        } else if matches!(client, Client::Claude) {
            let words = [vec![command], arguments].concat();
            print::line(&format!("claude mcp add {name} -- {}", shell_line(&words)))?;
        } else {
            print::note(&format!("Put this into {} (or run again with --write):", client.file()?.display()));
            print::json(&json!({ client.section(): { name: entry } }))?;
        }
        Ok(0)
    }
}

/// Puts our entry into a client's file. Anything unexpected there leaves the file as it is. Returns what it replaced, if
/// that was something else.
fn merge(file: &Path, section: &str, name: &str, mut entry: Value) -> Result<Option<String>, Failure> {
    let refuse = |why: String| Failure::failed(format!("{} was not touched: {why}. Put the entry in by hand", file.display()));
    // A link, as dotfile collections make them, stays a link.
    let target = match fs::canonicalize(file) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_symlink() => file.to_owned(),
        Err(error) if file.is_symlink() => return Err(refuse(format!("it is a link that leads nowhere ({error})"))),
        Err(error) => return Err(refuse(error.to_string())),
    };
    let (text, mode) = match fs::metadata(&target) {
        Ok(found) if found.is_file() => {
            (fs::read_to_string(&target).map_err(|error| refuse(error.to_string()))?, found.permissions().mode() & 0o777)
        }
        Ok(_) => return Err(refuse("it is no file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), 0o600),
        Err(error) => return Err(refuse(error.to_string())),
    };
    // As some editors on Windows begin a file.
    let (mark, text) = text.strip_prefix(BOM).map_or(("", text.as_str()), |rest| (BOM, rest));
    // Edited rather than written anew: order, comments and everything else stay as their owner wrote them.
    let whole = CstRootNode::parse(if text.trim().is_empty() { "{}" } else { text }, &ParseOptions::default());
    let whole = whole.map_err(|error| refuse(format!("it is not valid JSON ({error})")))?;
    let top = whole.object_value().ok_or_else(|| refuse("it is not a JSON object".to_owned()))?;
    let servers = top.object_value_or_create(section).ok_or_else(|| refuse(format!("\"{section}\" in it is not an object")))?;
    if let Some(twice) = [&top, &servers].into_iter().find_map(twice) {
        return Err(refuse(format!("\"{twice}\" is in it twice")));
    }
    let mut replaced = None;
    match servers.get(name) {
        Some(ours) => {
            let before = ours.value().and_then(|value| value.to_serde_value()).unwrap_or_default();
            if let Some(environment) = before.get("env") {
                entry["env"] = environment.clone();
            }
            replaced = (before != entry).then(|| told(&before, &entry));
            ours.set_value(input(&entry));
        }
        None => {
            servers.append(name, input(&entry));
        }
    }
    let text = format!("{mark}{}\n", whole.to_string().trim_end());
    replace(&target, text.as_bytes(), mode).map_err(|error| refuse(error.to_string()))?;
    Ok(replaced)
}

/// The first name that an object has twice: which of the two a client takes is anybody's guess.
fn twice(object: &CstObject) -> Option<String> {
    let mut seen = HashSet::new();
    object.properties().iter().filter_map(CstObjectProp::decoded_name).find(|name| !seen.insert(name.clone()))
}

/// What an entry was before, without what may be a secret in it.
fn told(before: &Value, now: &Value) -> String {
    let kept = if before.get("env").is_some() { "; its env is kept" } else { "" };
    match before["command"].as_str() {
        _ if before.get("url").is_some() => format!("an entry for a server over HTTP{kept}"),
        Some(_) if before["command"] == now["command"] => format!("an entry with other arguments{kept}"),
        Some(command) => format!("an entry that started {command}{kept}"),
        None => format!("an entry that started nothing{kept}"),
    }
}

/// A JSON value as the editor of files takes it.
fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Object(members) => CstInputValue::Object(members.iter().map(|(name, value)| (name.clone(), input(value))).collect()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Null => CstInputValue::Null,
    }
}

/// Old or new, never half: written beside, synced, renamed.
fn replace(target: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let beside = folder.join(format!(".countersign-{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, target));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
