//! What `doctor` finds.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

#[derive(Serialize)]
pub struct Finding {
    pub(crate) level: Level,
    pub(crate) subject: &'static str,
    pub(crate) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) todo: Option<String>,
}

/// Everything found so far.
#[derive(Default)]
pub struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, subject: &'static str, found: impl Into<String>) {
        self.0.push(Finding { level: Level::Ok, subject, found: found.into(), todo: None });
    }

    pub(crate) fn warn(&mut self, subject: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.0.push(Finding { level: Level::Warn, subject, found: found.into(), todo: Some(todo.into()) });
    }

    pub(super) fn fail(&mut self, subject: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.0.push(Finding { level: Level::Fail, subject, found: found.into(), todo: Some(todo.into()) });
    }

    /// For messages that already say what to do.
    pub(crate) fn failed(&mut self, subject: &'static str, found: impl ToString) {
        self.0.push(Finding { level: Level::Fail, subject, found: found.to_string(), todo: None });
    }
}
