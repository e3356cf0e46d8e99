//! `connect`: the entry that makes a client start `countersign mcp`, printed or merged into the client's file.

use super::{
    Done, Failure, print,
    serve::shell_line,
    settings::{Global, text},
};
use clap::{Args, ValueEnum};
use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstRootNode},
};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

#[derive(Args)]
pub struct Connect {
    client: Client,
    /// Merge the entry into the client's file; other entries stay
    #[arg(long)]
    write: bool,
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
        let command = text(&std::env::current_exe()?)?;
        let mut arguments = vec!["mcp".to_owned()];
        arguments.extend(global.repeated()?);
        arguments.extend(global.server.iter().flat_map(|url| ["--server".to_owned(), url.clone()]));
        let client = self.client;
        let entry = client.entry(&command, &arguments);
        if self.write {
            let file = client.file()?;
            merge(&file, client.section(), entry)?;
            print::line(&format!("Wrote the entry \"countersign\" to {}; restart the client, or reload its servers", file.display()))?;
        } else if matches!(client, Client::Claude) {
            let words = [vec![command], arguments].concat();
            print::line(&format!("claude mcp add countersign -- {}", shell_line(&words)))?;
        } else {
            eprintln!("Put this into {} (or run again with --write):", client.file()?.display());
            print::json(&json!({ client.section(): { "countersign": entry } }))?;
        }
        Ok(0)
    }
}

/// Puts our entry into a client's file. Anything unexpected there leaves the file as it is.
fn merge(file: &Path, section: &str, entry: Value) -> Result<(), Failure> {
    let refuse = |why: String| Failure::failed(format!("{} was not touched: {why}. Put the entry in by hand", file.display()));
    // A link, as dotfile collections make them, stays a link.
    let target = match fs::canonicalize(file) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(file)?,
        Err(error) => return Err(refuse(error.to_string())),
    };
    let (text, mode) = match fs::read_to_string(&target) {
        Ok(text) => (text, fs::metadata(&target)?.permissions().mode() & 0o777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), 0o600),
        Err(error) => return Err(refuse(error.to_string())),
    };
    // Edited rather than written anew: order, comments and everything else stay as their owner wrote them.
    let whole = CstRootNode::parse(if text.trim().is_empty() { "{}" } else { &text }, &ParseOptions::default());
    let whole = whole.map_err(|error| refuse(format!("it is not valid JSON ({error})")))?;
    let top = whole.object_value().ok_or_else(|| refuse("it is not a JSON object".to_owned()))?;
    let servers = top.object_value_or_create(section).ok_or_else(|| refuse(format!("\"{section}\" in it is not an object")))?;
    match servers.get("countersign") {
        Some(ours) => ours.set_value(input(&entry)),
        None => {
            servers.append("countersign", input(&entry));
        }
    }
    let text = format!("{}\n", whole.to_string().trim_end());
    replace(&target, text.as_bytes(), mode).map_err(|error| refuse(error.to_string()))
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
