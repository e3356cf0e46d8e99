//! What is wrong with a configuration.

/// Why the configuration can't be used. The message says which key and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// An error with this message, which names the setting.
pub fn wrong(message: impl Into<String>) -> ConfigError {
    ConfigError(message.into())
}
