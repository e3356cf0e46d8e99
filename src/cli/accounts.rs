//! `accounts`: the people who approve.

use crate::{
    api::{
        accounts::{AccountChange, AccountView},
        values::Revealed,
    },
    cli::{
        connection::{Connection, unexpected},
        failure::{CommandResult, Failure},
        print, prompt,
        settings::Global,
    },
    instance::control::request::{ControlRequest, ControlResponse},
};
use clap::{Args, Subcommand};
use std::io::IsTerminal;

#[derive(Subcommand)]
pub enum Accounts {
    /// Make an account
    Create {
        #[arg(long)]
        email: String,
        /// Make it an operator account, whose keys may verify everybody's
        #[arg(long)]
        operator: bool,
        /// Read the password from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a new password, and sign the account out everywhere
    ResetPassword {
        #[arg(long)]
        email: String,
        /// Read the password from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
    },
    /// List accounts, newest first
    List {
        /// Only those whose e-mail, external id or id holds this
        #[arg(long, value_name = "TEXT", default_value = "")]
        search: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put an account on a plan of the configuration
    SetPlan {
        #[command(flatten)]
        which: Which,
        plan: String,
    },
    /// Say that the e-mail was verified
    VerifyEmail {
        #[command(flatten)]
        which: Which,
    },
    /// Sign an account out and refuse its keys, at once
    Disable {
        #[command(flatten)]
        which: Which,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Undo `disable`: its keys work again
    Enable {
        #[command(flatten)]
        which: Which,
    },
}

/// The account a command is about.
#[derive(Args)]
pub struct Which {
    /// Its e-mail, external id or id (acc_…)
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Which {
    async fn change(self, global: &Global, change: AccountChange, done: &str) -> Result<(), Failure> {
        let call = ControlRequest::ChangeAccount { account: self.account, change };
        let ControlResponse::Account(account) = Connection::ask(global, call).await? else { return Err(unexpected()) };
        if self.json { print::json(&account) } else { print::line(&format!("{} {done}", account.email)) }
    }
}

impl Accounts {
    pub async fn run(self, global: &Global) -> CommandResult {
        match self {
            Self::Create { email, operator, password_stdin, json } => {
                let password = password(password_stdin)?;
                let ControlResponse::AccountCreated(account) =
                    Connection::ask(global, ControlRequest::CreateAccount { email, password, operator }).await?
                else {
                    return Err(unexpected());
                };
                if json {
                    print::json(&account)?;
                } else {
                    let kind = if account.operator { "operator account" } else { "account" };
                    print::line(&format!("Made the {kind} {} ({})", account.email, account.id))?;
                }
            }
            Self::ResetPassword { email, password_stdin } => {
                let password = password(password_stdin)?;
                let ControlResponse::PasswordReset(account) =
                    Connection::ask(global, ControlRequest::ResetPassword { email, password }).await?
                else {
                    return Err(unexpected());
                };
                print::line(&format!("Set a new password for {}; it is signed out everywhere", account.email))?;
            }
            Self::SetPlan { which, plan } => {
                let done = format!("is on the plan {plan}");
                which.change(global, AccountChange::Plan(plan), &done).await?;
            }
            Self::VerifyEmail { which } => which.change(global, AccountChange::VerifyEmail, "is verified").await?,
            Self::Disable { which, yes } => {
                let question = format!("Sign {} out and refuse all of its keys?", which.account);
                if !yes && !prompt::confirmed(&question)? {
                    return Err(Failure::failed("nothing was disabled"));
                }
                which.change(global, AccountChange::Disable, "is disabled: signed out, and its keys are refused").await?;
            }
            Self::Enable { which } => which.change(global, AccountChange::Enable, "is enabled: its keys work again").await?,
            Self::List { search, json } => {
                let session = Connection::open(global, false).await?;
                let accounts = session.accounts(&search).await;
                session.close().await;
                let accounts = accounts?;
                if json {
                    print::json(&std::collections::BTreeMap::from([("accounts", &accounts)]))?;
                } else if accounts.is_empty() {
                    let none = "No accounts yet: countersign accounts create --operator --email you@example.com";
                    print::line(if search.is_empty() { none } else { "No such accounts." })?;
                } else {
                    let rows: Vec<_> = accounts.iter().map(row).collect();
                    print::table(&["E-MAIL", "PLAN", "KEYS", "EXTERNAL ID", "CREATED", "ID", ""], &rows)?;
                }
            }
        }
        Ok(0)
    }
}

fn row(account: &AccountView) -> Vec<String> {
    let notes = [("operator", account.operator), ("verified", account.email_verified), ("disabled", account.disabled_at.is_some())];
    vec![
        account.email.clone(),
        account.plan.clone(),
        account.active_keys.to_string(),
        account.external_id.clone().unwrap_or_default(),
        account.created_at.to_string(),
        account.id.to_string(),
        notes.into_iter().filter_map(|(note, is)| is.then_some(note)).collect::<Vec<_>>().join(", "),
    ]
}

/// Twice at the terminal, so that a slip of the finger locks nobody out.
fn password(from_stdin: bool) -> Result<Revealed, Failure> {
    if from_stdin {
        return prompt::piped();
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("there is no terminal to ask at: pipe the password in with --password-stdin".to_owned()));
    }
    let (first, second) = (prompt::hidden("Password")?, prompt::hidden("Again")?);
    if first.expose() != second.expose() {
        return Err(Failure::failed("the two passwords differ: nothing was made"));
    }
    Ok(first)
}
