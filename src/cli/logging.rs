//! The log: to standard error, as text or JSON.

/// Logs to stderr: stdout belongs to what was asked for.
pub fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("COUNTERSIGN_LOG").unwrap_or_else(|_| EnvFilter::new("warn,countersign=info"));
    // It prints whole tool results at debug, pickup tokens and codes among them.
    let filter = match "rmcp=error".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // What it can't write it would tell by `eprintln!`, which ends the process when nobody reads stderr.
    logs.log_internal_errors(false).init();
}
