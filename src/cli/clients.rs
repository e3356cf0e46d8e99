//! The clients we know: where each keeps its MCP servers, in which layout, and what it puts in the place of variables.
//! As their own documentation has it.

use crate::cli::failure::Failure;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    Claude,
    ClaudeDesktop,
    Cursor,
    Vscode,
    Codex,
    Gemini,
    Windsurf,
    Zed,
    Opencode,
}

impl Client {
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
            Self::Opencode => "opencode",
        }
    }

    /// The key under which it lists servers.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Vscode => "servers",
            Self::Codex => "mcp_servers",
            Self::Zed => "context_servers",
            Self::Opencode => "mcp",
            Self::Claude | Self::ClaudeDesktop | Self::Cursor | Self::Gemini | Self::Windsurf => "mcpServers",
        }
    }

    pub fn entry(self, command: &str, arguments: &[String]) -> Value {
        match self {
            Self::Vscode => json!({ "type": "stdio", "command": command, "args": arguments }),
            Self::Opencode => {
                let words: Vec<_> = std::iter::once(command).chain(arguments.iter().map(String::as_str)).collect();
                json!({ "type": "local", "command": words, "enabled": true })
            }
            _ => json!({ "command": command, "args": arguments }),
        }
    }

    /// Whether its file is that of the project one is in.
    pub const fn is_of_the_project(self) -> bool {
        matches!(self, Self::Claude | Self::Vscode)
    }

    pub fn file(self) -> Result<PathBuf, Failure> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || absolute("HOME").ok_or_else(|| Failure::failed("there is no HOME to find the client's file in"));
        let configuration = || absolute("XDG_CONFIG_HOME").map_or_else(|| home().map(|home| home.join(".config")), Ok);
        Ok(match self {
            Self::Claude => PathBuf::from(".mcp.json"),
            Self::Vscode => PathBuf::from(".vscode/mcp.json"),
            Self::Cursor => home()?.join(".cursor/mcp.json"),
            Self::ClaudeDesktop if cfg!(target_os = "macos") => {
                home()?.join("Library/Application Support/Claude/claude_desktop_config.json")
            }
            Self::ClaudeDesktop => home()?.join(".config/Claude/claude_desktop_config.json"),
            Self::Codex => absolute("CODEX_HOME").map_or_else(|| home().map(|home| home.join(".codex")), Ok)?.join("config.toml"),
            Self::Gemini => home()?.join(".gemini/settings.json"),
            Self::Windsurf => home()?.join(".codeium/windsurf/mcp_config.json"),
            Self::Zed if cfg!(target_os = "macos") => home()?.join(".config/zed/settings.json"),
            Self::Zed => configuration()?.join("zed/settings.json"),
            Self::Opencode => {
                let folder = configuration()?.join("opencode");
                let commented = folder.join("opencode.jsonc");
                if commented.exists() { commented } else { folder.join("opencode.json") }
            }
        })
    }

    /// Whose file this is, by its name and the folder it lies in; `None` where several clients have one like it.
    pub fn of_file(path: &Path) -> Option<Self> {
        let name = |path: Option<&Path>| path.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let (file, folder) = (name(Some(path)), name(path.parent()));
        Some(match (folder.as_str(), file.as_str()) {
            (_, ".mcp.json" | ".claude.json") | (".claude", _) => Self::Claude,
            (_, "claude_desktop_config.json") => Self::ClaudeDesktop,
            (".cursor", _) => Self::Cursor,
            (".vscode", _) => Self::Vscode,
            (".codex", _) => Self::Codex,
            (".gemini", _) => Self::Gemini,
            (_, "mcp_config.json") => Self::Windsurf,
            ("zed" | ".zed", _) => Self::Zed,
            (_, "opencode.json" | "opencode.jsonc") => Self::Opencode,
            _ => return None,
        })
    }

    /// The names under which an entry may give an address.
    pub const fn addresses(owner: Option<Self>) -> &'static [&'static str] {
        match owner {
            None => &["url", "httpUrl", "serverUrl"],
            Some(Self::Gemini) => &["httpUrl", "url"],
            Some(Self::Windsurf) => &["serverUrl", "url"],
            Some(_) => &["url"],
        }
    }
}
