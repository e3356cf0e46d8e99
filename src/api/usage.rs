//! What a key was used for.

use crate::domain::usage::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often a key was used, and from where last.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UsageView {
    /// Accepted uses since the key was made.
    pub total: u64,
    /// Refused ones, for whatever reason.
    #[serde(default)]
    pub refused: u64,
    /// Where the last accepted use came from, as far as it was told.
    #[serde(default)]
    pub last_used_from: Option<String>,
}

/// One day of a key's use, in UTC.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UsageDay {
    /// `2026-11-22`.
    pub date: String,
    pub accepted: u64,
    pub refused: BTreeMap<Refusal, u64>,
}

/// Days of use, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UsageDays {
    pub days: Vec<UsageDay>,
}
