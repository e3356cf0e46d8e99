//! What a tool is called with: arguments that name their wrong field, and the caller's credential.

use crate::domain::{environment::Environment, key::Status};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

/// What a tool takes.
pub trait Arguments: DeserializeOwned {
    /// Arguments that may be left out, but not given empty: that would ask for less than was meant.
    const MEANT: &'static [&'static str] = &[];
}

impl Arguments for RegisterArgs {}

impl Arguments for PollArgs {}

impl Arguments for ListArgs {}

impl Arguments for RevokeArgs {}

impl Arguments for CheckArgs {
    const MEANT: &'static [&'static str] = &["scopes"];
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterArgs {
    /// Your own name, as your human knows you, such as "Claude". 1 to 64 characters. Shown to them as self-declared.
    #[schemars(length(min = 1, max = 64))]
    pub agent_name: String,
    /// Permissions the task needs and no more, such as ["audience:read"]. Left out: the service's least set.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub scopes: Option<Vec<String>>,
    /// Your human's e-mail address, if you know it. Shown on the page; grants nothing.
    #[serde(default)]
    pub login_hint: Option<String>,
    /// Which world the key should work in. Left out: the deployment's own.
    #[serde(default)]
    pub environment: Option<Environment>,
}

/// Where an approved key goes. Into the result only where whoever runs the service allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Into the keychain or a file only this user can read; the default over stdio.
    Store,
    /// Into one variable of a file such as .env; stdio only, with env_path.
    EnvFile,
    /// As a shell command that fetches it into such a file; the default over HTTP.
    Pickup,
    /// Into this result, once, where the operator allowed it.
    Inline,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PollArgs {
    /// The `claim_id` that register_agent returned.
    pub claim_id: String,
    /// How long to wait for the human inside this call, in seconds, 0 to 55. Left out: 45.
    #[serde(default)]
    #[schemars(range(min = 0, max = 55))]
    pub wait_seconds: Option<u64>,
    /// Where the key goes once approved. Left out: `store` over stdio, `pickup` over HTTP.
    #[serde(default)]
    pub delivery: Option<Delivery>,
    /// With delivery `env_file`: the file, relative to your working directory, such as ".env".
    #[serde(default)]
    pub env_path: Option<String>,
    /// With delivery `env_file`: the variable, ending in _KEY or _TOKEN. Left out: the service's usual name.
    #[serde(default)]
    pub env_name: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListArgs {
    /// Only keys in this state.
    #[serde(default)]
    pub status: Option<Status>,
    /// Only keys of this environment.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Keys per page, 1 to 100. Left out: 20.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub limit: Option<usize>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeArgs {
    /// The id of the key to end, such as "key_01k…", from list_keys or check_scope. Never the key itself.
    pub key_id: String,
    /// Why, for the owner's activity log. At most 64 characters.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckArgs {
    /// Permissions to check, such as ["email:send"]. Left out or empty: only describes the key.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub scopes: Vec<String>,
    /// Also require this environment.
    #[serde(default)]
    pub environment: Option<Environment>,
}
