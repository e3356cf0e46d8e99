//! What the instance says of itself.

use crate::domain::environment::Environment;
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// Which process answers, and for what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceStatus {
    pub pid: u32,
    pub role: Role,
    /// Where its pages are.
    pub url: String,
    /// The service whose API the keys open.
    pub api: String,
    pub environment: Environment,
    pub service_name: String,
    pub version: String,
    /// The data directory.
    pub data: PathBuf,
    /// What programs send as `apikey` to sign in, where they may.
    #[serde(default)]
    pub publishable_key: Option<String>,
    /// Why its store failed, while that waits to be opened again.
    #[serde(default)]
    pub fault: Option<String>,
    /// Why callers behind a proxy have no address, each with what mends it.
    #[serde(default)]
    pub unknown_callers: Vec<(String, String)>,
    /// How far its clock is behind the latest time seen, in words.
    #[serde(default)]
    pub clock_behind: Option<String>,
}

/// What a process does with the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Serve,
    Mcp,
    /// One command, gone in a moment.
    Command,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve",
            Self::Mcp => "mcp",
            Self::Command => "command",
        })
    }
}
