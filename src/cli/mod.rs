//! The command line: parse, one call, print. Exit codes: 0 done, 1 failed, 2 usage, 4 not signed in or not allowed.

mod accounts;
mod agents;
mod backup;
mod clients;
mod connect;
mod curl;
mod docs;
mod doctor;
mod exec;
mod keys;
mod mask;
mod mcp;
mod mcp_config;
mod port;
mod print;
mod program;
mod prompt;
pub mod serve;
mod settings;
mod stored;

use crate::{
    credentials,
    domain::id::AccountId,
    owner::{self, Call, OpenFailure, Opened, Reply, Role, ServerClient},
    service::{Error, view::AccountView},
};
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use settings::{Global, Settings};
use std::{collections::HashMap, process::ExitCode};

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
    Config(settings::ConfigCommand),
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

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Usage(String),
    /// Not signed in, or not allowed.
    #[error("{0}")]
    NotAllowed(String),
}

impl Failure {
    fn failed(cause: impl ToString) -> Self {
        Self::Failed(cause.to_string())
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotAllowed(_) => 4,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthorized { .. } | Error::InsufficientScope { .. } | Error::Forbidden { .. } | Error::SignInNeeded => {
                Self::NotAllowed(error.to_string())
            }
            Error::Invalid { .. } => Self::Usage(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<OpenFailure> for Failure {
    fn from(failure: OpenFailure) -> Self {
        Self::failed(failure)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}

/// What a command that went through leaves as exit code.
type Done = Result<u8, Failure>;

/// The commands that work on a server elsewhere.
const ELSEWHERE: [&str; 3] = ["mcp", "keys", "connect"];

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
    settings::start_logging();
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

async fn run(cli: Cli) -> Done {
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
            print::json(&crate::http::openapi::document(&global.load(&[], false)?.config))?;
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

/// The data directory for the length of one command, whether a server runs or not; or a server elsewhere.
enum Session {
    Here(Opened),
    There(ServerClient),
}

impl Session {
    /// With `new` a directory without data gets some; else a mistyped one would silently become a second deployment.
    async fn open(global: &Global, new: bool) -> Result<Self, Failure> {
        if let Some(url) = &global.server {
            return Ok(Self::There(ServerClient::new(url, credentials::given())?));
        }
        let Settings { config, data } = global.load(&[], false)?;
        // A store without its secret is no empty directory: opening it says what is missing.
        if !new && !config.secret_path(&data).exists() && !config.store_dir(&data).join("store").exists() {
            let place = data.display();
            return Err(Failure::failed(format!(
                "there is no data in {place}: start `countersign` on it first, or name another with --data"
            )));
        }
        Ok(Self::Here(owner::open(config, &data, Role::Command).await?))
    }

    async fn call(&self, call: Call) -> Result<Reply, Failure> {
        Ok(match self {
            Self::Here(opened) => opened.backend().call(call).await?,
            Self::There(server) => server.call(&call).await?,
        })
    }

    /// Whose is what, for lists.
    async fn owners(&self) -> Result<Owners, Failure> {
        // A key elsewhere sees its own account, and no list of them.
        if matches!(self, Self::There(_)) {
            return Ok(Owners(HashMap::new()));
        }
        Ok(Owners(self.accounts("").await?.into_iter().map(|account| (account.id, account.email)).collect()))
    }

    /// Every account whose e-mail, external id or id holds this.
    async fn accounts(&self, search: &str) -> Result<Vec<AccountView>, Failure> {
        let (mut accounts, mut cursor) = (Vec::new(), None);
        loop {
            let Reply::Accounts(page) = self.call(Call::Accounts { search: search.to_owned(), cursor }).await? else {
                return Err(unexpected());
            };
            accounts.extend(page.accounts);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(accounts);
            }
        }
    }

    async fn close(self) {
        if let Self::Here(opened) = self {
            opened.close().await;
        }
    }

    /// One call and the end.
    async fn ask(global: &Global, call: Call) -> Result<Reply, Failure> {
        let session = Self::open(global, matches!(call, Call::CreateAccount { .. })).await?;
        let reply = session.call(call).await;
        session.close().await;
        reply
    }
}

/// E-mails of accounts.
struct Owners(HashMap<AccountId, String>);

impl Owners {
    fn email(&self, id: AccountId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// The owner is another version of this program and answered something else.
fn unexpected() -> Failure {
    Failure::failed("the process that owns the data directory answered something else: restart it, so that both are the same version")
}
