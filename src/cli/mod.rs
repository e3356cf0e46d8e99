//! The command line: parse, one call, print. Exit codes: 0 done, 1 failed, 2 usage, 4 not signed in or not allowed.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod backup;
pub(crate) mod clients;
pub mod config_command;
pub(crate) mod connect;
pub mod connection;
pub(crate) mod curl;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod exec;
pub mod failure;
pub mod findings;
pub(crate) mod keys;
pub mod logging;
pub(crate) mod mask;
pub(crate) mod mcp;
pub(crate) mod mcp_config;
pub(crate) mod port;
pub(crate) mod print;
pub(crate) mod program;
pub(crate) mod prompt;
pub mod serve;
pub(crate) mod settings;
pub mod shell;
pub mod signals;
pub(crate) mod stored_keys;

use crate::{
    cli::{
        connection::ELSEWHERE,
        failure::{CommandResult, Failure},
        settings::Global,
    },
    server::router::routes,
};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// An AI agent asks for access, a human countersigns, the agent receives its own scoped API key.
#[derive(Parser)]
#[command(name = "countersign", version, about)]
struct Cli {
    #[command(flatten)]
    global: Global,
    /// What `serve` takes, for when no command is named
    #[command(flatten)]
    serve: serve::Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve pages, HTTP and MCP over HTTP (what `countersign` alone does)
    Serve(serve::Serve),
    /// Serve MCP over stdin and stdout, for a client that starts it
    Mcp(mcp::McpArgs),
    /// Print, or write, the entry that makes a client start `countersign mcp`
    Connect(connect::Connect),
    /// Run curl with a stored key, only towards the origin it was issued for, masked where it would show
    Curl(curl::Curl),
    /// Run a program with a stored key in an environment variable
    Exec(exec::Exec),
    /// The people who approve
    #[command(subcommand)]
    Accounts(accounts::Accounts),
    /// API keys, of every account
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Agents that were let in, of every account
    #[command(subcommand)]
    Agents(agents::Agents),
    /// The effective configuration
    #[command(subcommand)]
    Config(config_command::ConfigCommand),
    /// Write everything but the server secret into a directory, while the server runs
    Backup(backup::Backup),
    /// Fill an empty data directory with a backup
    Restore(backup::Restore),
    /// The server secret
    #[command(subcommand)]
    Secrets(backup::Secrets),
    /// Check configuration, store, secret, clock, permissions, URLs and proxies, and say what to do
    Doctor(doctor::Doctor),
    /// Print the guide: all its topics, or one of them
    Docs(docs::Docs),
    /// Print the OpenAPI 3.1 document of this configuration
    Openapi,
    /// Print the completion script of a shell
    Completion { shell: clap_complete::Shell },
}

/// The command line, with `--server` in the help of the commands that take it.
fn command() -> clap::Command {
    let server =
        Arg::new("server").long("server").global(true).value_name("URL").help("Ask this server instead of the data on this computer");
    ELSEWHERE.iter().fold(Cli::command(), |all, name| all.mut_subcommand(name, |command| command.arg(&server)))
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::from_arg_matches(&command().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    logging::start_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::failed(error)),
    };
    let done = runtime.block_on(run(cli));
    // A thread that waits on a terminal must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    print::note(&format!("countersign: {failure}"));
    ExitCode::from(failure.code())
}

async fn run(cli: Cli) -> CommandResult {
    let global = &cli.global;
    let elsewhere = matches!(cli.command, Some(Command::Mcp(_) | Command::Keys(_) | Command::Connect(_)));
    if global.server.is_some() && !elsewhere {
        return Err(Failure::Usage(format!("--server goes with {}", ELSEWHERE.join(", "))));
    }
    match cli.command {
        None => serve::run(global, cli.serve).await,
        Some(_) if cli.serve.is_given() => Err(Failure::Usage("put --listen, --public-url and --insecure behind `serve`".to_owned())),
        Some(Command::Serve(serve)) => serve::run(global, serve).await,
        Some(Command::Mcp(args)) => mcp::run(global, &args).await,
        Some(Command::Connect(connect)) => connect.run(global),
        Some(Command::Curl(curl)) => curl.run(global).await,
        Some(Command::Exec(exec)) => exec.run(global).await,
        Some(Command::Accounts(accounts)) => accounts.run(global).await,
        Some(Command::Keys(keys)) => keys.run(global).await,
        Some(Command::Agents(agents)) => agents.run(global).await,
        Some(Command::Config(config)) => config.run(global).await,
        Some(Command::Backup(backup)) => backup.run(global).await,
        Some(Command::Restore(restore)) => restore.run(global).await,
        Some(Command::Secrets(secrets)) => secrets.run(global),
        Some(Command::Doctor(doctor)) => doctor.run(global).await,
        Some(Command::Docs(docs)) => docs.run(),
        Some(Command::Openapi) => {
            print::json(&crate::http::openapi::document::document(&global.load(&[], false)?.config, routes))?;
            Ok(0)
        }
        Some(Command::Completion { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "countersign", &mut script);
            print::text(&String::from_utf8_lossy(&script))?;
            Ok(0)
        }
    }
}
