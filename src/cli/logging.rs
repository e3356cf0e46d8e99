//! The log: to standard error.

use tracing_subscriber::EnvFilter;

/// Where its filter is looked for, the first that says something.
const VARIABLES: [&str; 2] = ["COUNTERSIGN_LOG", "RUST_LOG"];

const USUAL: &str = "warn,countersign=info";

/// Logs to stderr: stdout belongs to what was asked for.
pub fn start_logging() {
    let named = VARIABLES.into_iter().find_map(|name| Some((name, std::env::var(name).ok().filter(|value| !value.trim().is_empty())?)));
    let asked = named.map(|(name, value)| (name, EnvFilter::try_new(value)));
    let (filter, wrong) = match asked {
        Some((_, Ok(filter))) => (filter, None),
        Some((name, Err(error))) => (EnvFilter::new(USUAL), Some((name, error))),
        None => (EnvFilter::new(USUAL), None),
    };
    // It prints whole tool results at debug, pickup tokens and codes among them.
    let filter = match "rmcp=error".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // What it can't write it would tell by `eprintln!`, which ends the process when nobody reads stderr.
    logs.log_internal_errors(false).init();
    if let Some((name, error)) = wrong {
        tracing::warn!("{name} is no filter of a log ({error}): {USUAL} goes instead");
    }
}
