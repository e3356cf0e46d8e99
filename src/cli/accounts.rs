//! `accounts`: the people who approve.

use super::{Done, Failure, Session, print, prompt, settings::Global, unexpected};
use crate::owner::{Call, Reply};
use clap::Subcommand;
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
    /// List accounts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Accounts {
    pub async fn run(self, global: &Global) -> Done {
        match self {
            Self::Create { email, operator, password_stdin, json } => {
                let password = password(password_stdin)?;
                let Reply::AccountCreated(account) = Session::ask(global, Call::CreateAccount { email, password, operator }).await? else {
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
                let Reply::PasswordReset(account) = Session::ask(global, Call::ResetPassword { email, password }).await? else {
                    return Err(unexpected());
                };
                print::line(&format!("Set a new password for {}; it is signed out everywhere", account.email))?;
            }
            Self::List { json } => {
                let Reply::Accounts(accounts) = Session::ask(global, Call::ListAccounts).await? else { return Err(unexpected()) };
                if json {
                    print::json(&std::collections::BTreeMap::from([("accounts", &accounts)]))?;
                } else if accounts.is_empty() {
                    print::line("No accounts yet: countersign accounts create --operator --email you@example.com")?;
                } else {
                    let row = |a: &crate::service::view::AccountView| {
                        let operator = if a.operator { "yes" } else { "" };
                        vec![a.email.clone(), a.plan.clone(), operator.to_owned(), a.created_at.to_string(), a.id.to_string()]
                    };
                    let rows: Vec<_> = accounts.iter().map(row).collect();
                    print::table(&["E-MAIL", "PLAN", "OPERATOR", "CREATED", "ID"], &rows)?;
                }
            }
        }
        Ok(0)
    }
}

/// Twice at the terminal, so that a slip of the finger locks nobody out.
fn password(from_stdin: bool) -> Result<crate::service::view::Revealed, Failure> {
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
