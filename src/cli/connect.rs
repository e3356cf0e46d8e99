//! `connect`: the entry that makes a client start `countersign mcp`, printed or merged into the client's file.

use crate::{
    cli::{
        clients::Client,
        failure::{CommandResult, Failure},
        print, program,
        settings::Global,
        shell::shell_line,
    },
    client::remote::ServerClient,
};
use clap::Args;
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
    path::Path,
};
use toml_edit::DocumentMut;

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

impl Connect {
    pub fn run(self, global: &Global) -> CommandResult {
        if let Some(url) = &global.server {
            // An entry that can't work is refused as `mcp` would refuse it.
            ServerClient::new(url, None)?;
        }
        let command = program::path()?;
        let mut arguments = vec!["mcp".to_owned()];
        arguments.extend(global.repeated()?);
        arguments.extend(global.server.iter().flat_map(|url| ["--server".to_owned(), url.clone()]));
        let (client, name) = (self.client, self.name);
        let entry = client.entry(&command, &arguments);
        if self.write {
            let file = std::path::absolute(client.file()?)?;
            let before = merge(&file, client, &name, entry)?;
            let project = if client.is_of_the_project() { ", for this project only" } else { "" };
            print::line(&format!("Wrote the entry \"{name}\" to {}{project}; restart the client, or reload its servers", file.display()))?;
            if let Some(before) = before {
                print::line(&format!("It replaced {before}"))?;
            }
        } else if matches!(client, Client::Claude) {
            let words = [vec![command], arguments].concat();
            print::line(&format!("claude mcp add {name} -- {}", shell_line(&words)))?;
        } else {
            print::note(&format!("Put this into {} (or run again with --write):", client.file()?.display()));
            match client {
                Client::Codex => print::text(&merged_toml("", client.section(), &name, &entry).map_err(Failure::failed)?.0)?,
                _ => print::json(&json!({ client.section(): { name: entry } }))?,
            }
        }
        Ok(0)
    }
}

/// Puts our entry into a client's file. Anything unexpected there leaves the file as it is. Returns what it replaced, if
/// that was something else.
fn merge(file: &Path, client: Client, name: &str, entry: Value) -> Result<Option<String>, Failure> {
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
    let merged = if matches!(client, Client::Codex) { merged_toml } else { merged_json };
    let (text, replaced) = merged(text, client.section(), name, &entry).map_err(refuse)?;
    let text = format!("{mark}{}\n", text.trim_end());
    replace(&target, text.as_bytes(), mode).map_err(|error| refuse(error.to_string()))?;
    Ok(replaced)
}

/// The text with our entry in it, and what that replaced. Edited rather than written anew: order, comments and everything
/// else stay as their owner wrote them.
fn merged_json(text: &str, section: &str, name: &str, entry: &Value) -> Result<(String, Option<String>), String> {
    let whole = CstRootNode::parse(if text.trim().is_empty() { "{}" } else { text }, &ParseOptions::default());
    let whole = whole.map_err(|error| format!("it is not valid JSON ({error})"))?;
    let top = whole.object_value().ok_or_else(|| "it is not a JSON object".to_owned())?;
    let servers = top.object_value_or_create(section).ok_or_else(|| format!("\"{section}\" in it is not an object"))?;
    if let Some(twice) = [&top, &servers].into_iter().find_map(|object| twice(object).next()) {
        return Err(format!("\"{twice}\" is in it twice"));
    }
    let mut replaced = None;
    match servers.get(name) {
        Some(ours) => {
            let before = ours.value().and_then(|value| value.to_serde_value()).unwrap_or_default();
            let now = with_what_stays(&before, entry);
            replaced = (before != now).then(|| describe(&before, &now));
            ours.set_value(input(&now));
        }
        None => {
            servers.append(name, input(entry));
        }
    }
    Ok((whole.to_string(), replaced))
}

/// The same of TOML.
fn merged_toml(text: &str, section: &str, name: &str, entry: &Value) -> Result<(String, Option<String>), String> {
    let mut whole: DocumentMut = text.parse().map_err(|error| format!("it is not valid TOML ({error})"))?;
    let before = toml::from_str::<Value>(text).unwrap_or_default()[section][name].clone();
    let servers = whole.entry(section).or_insert_with(|| {
        let mut table = toml_edit::Table::new();
        table.set_implicit(true);
        table.into()
    });
    let servers = servers.as_table_like_mut().ok_or_else(|| format!("\"{section}\" in it is no table"))?;
    let ours = servers.entry(name).or_insert_with(toml_edit::table);
    let ours = ours.as_table_like_mut().ok_or_else(|| format!("\"{name}\" in it is no table"))?;
    for part in HOW_IT_STARTS {
        if entry.get(part).is_none() {
            ours.remove(part);
        }
    }
    let none = serde_json::Map::new();
    for (part, value) in entry.as_object().unwrap_or(&none) {
        let value = match value {
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<toml_edit::Array>().into(),
            value => toml_edit::Value::from(value.as_str().unwrap_or_default()),
        };
        // Set anew only where it says something else: its comments stay.
        if before[part] != entry[part] {
            ours.insert(part, value.into());
        }
    }
    let now = with_what_stays(&before, entry);
    let replaced = (before.is_object() && before != now).then(|| describe(&before, &now));
    Ok((whole.to_string(), replaced))
}

/// Members that say how a client starts or reaches a server. Others, such as its environment or how long to wait, are
/// their owner's.
const HOW_IT_STARTS: [&str; 14] = [
    "type",
    "source",
    "command",
    "args",
    "cwd",
    "url",
    "httpUrl",
    "serverUrl",
    "headers",
    "http_headers",
    "env_http_headers",
    "bearer_token_env_var",
    "oauth",
    "envFile",
];

/// The new entry, with what stays of the one before.
fn with_what_stays(before: &Value, entry: &Value) -> Value {
    let mut now = entry.clone();
    if let (Some(before), Some(now)) = (before.as_object(), now.as_object_mut()) {
        let stays = before.iter().filter(|(name, _)| !HOW_IT_STARTS.contains(&name.as_str()));
        now.extend(stays.map(|(name, value)| (name.clone(), value.clone())));
    }
    now
}

/// The names that an object has twice: which of the two a client takes is anybody's guess.
pub fn twice(object: &CstObject) -> impl Iterator<Item = String> {
    let mut seen = HashSet::new();
    let names: Vec<_> = object.properties().iter().filter_map(CstObjectProp::decoded_name).collect();
    names.into_iter().filter(move |name| !seen.insert(name.clone()))
}

/// What an entry was before, without what may be a secret in it.
fn describe(before: &Value, now: &Value) -> String {
    let kept = if before.get("env").or(before.get("environment")).is_some() { "; its env is kept" } else { "" };
    let http = ["url", "httpUrl", "serverUrl"].iter().any(|name| before.get(name).is_some());
    match before["command"].as_str().or(before["command"][0].as_str()) {
        _ if http => format!("an entry for a server over HTTP{kept}"),
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
