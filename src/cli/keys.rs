//! `keys`: every account's keys, for whoever runs the deployment; with `--server` what the key in COUNTERSIGN_API_KEY sees.

use super::{Done, Failure, Session, print, prompt, settings::Global, unexpected};
use crate::{
    config::Ttl,
    domain::key::{Environment, Status},
    owner::{Call, Reply},
    service::{keys::MAX_PAGE, view::KeyView},
};
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Keys {
    /// Make a key; the secret is printed once
    Create {
        /// E-mail of the account it belongs to; with --server it is that of the calling key
        #[arg(long, value_name = "EMAIL", required_unless_present = "server")]
        account: Option<String>,
        #[arg(long)]
        name: String,
        /// What it may do; several as `--scope a:b --scope c:d` or `--scope a:b,c:d`
        #[arg(long = "scope", required = true, value_delimiter = ',', num_args = 1.., value_name = "SCOPE")]
        scopes: Vec<String>,
        #[arg(long, value_parser = environment)]
        environment: Option<Environment>,
        /// How long it lives, such as 90d [default: until revoked]
        #[arg(long, value_name = "TIME")]
        expires_in: Option<Ttl>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List keys, never a secret
    List {
        /// Only this account's
        #[arg(long, value_name = "EMAIL")]
        account: Option<String>,
        /// Only keys that are active, revoked, expired or disabled
        #[arg(long, value_parser = status)]
        status: Option<Status>,
        #[arg(long, value_parser = environment)]
        environment: Option<Environment>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key and every key it made, at once
    Revoke {
        /// Such as key_01J…, as `keys list` shows it
        id: String,
        #[arg(long)]
        reason: Option<String>,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask whether a key is good; the key is read from a hidden prompt or stdin, never from argv
    Verify {
        /// Scopes it must have
        #[arg(long = "scope", value_delimiter = ',', num_args = 1.., value_name = "SCOPE")]
        scopes: Vec<String>,
        #[arg(long, value_parser = environment)]
        environment: Option<Environment>,
        /// How many requests it takes from the plan's allowance
        #[arg(long, default_value_t = 0)]
        cost: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn environment(text: &str) -> Result<Environment, String> {
    text.parse().map_err(|()| "must be live or test".to_owned())
}

fn status(text: &str) -> Result<Status, String> {
    let all = [Status::Active, Status::Revoked, Status::Expired, Status::Disabled];
    all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| "must be active, revoked, expired or disabled".to_owned())
}

impl Keys {
    pub async fn run(self, global: &Global) -> Done {
        match self {
            Self::Create { account, name, scopes, environment, expires_in, json } => {
                let expires_in = expires_in.map(|ttl| ttl.0.as_secs());
                let account = account.unwrap_or_default();
                let call = Call::CreateKey { account, name, scopes, environment, expires_in };
                let Reply::KeyCreated(created) = Session::ask(global, call).await? else { return Err(unexpected()) };
                if json {
                    print::json(&created)?;
                } else {
                    let until = created.view.expires_at.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {at}"));
                    eprintln!(
                        "Made {} ({}), good for {} {until}. This is the only time it is shown:",
                        created.view.id, created.view.name, created.view.scopes
                    );
                    print::line(created.key.expose())?;
                }
                Ok(0)
            }
            Self::List { account, status, environment, json } => {
                let session = Session::open(global, false).await?;
                let keys = every_key(&session, account, status, environment).await;
                session.close().await;
                let keys = keys?;
                if json {
                    print::json(&std::collections::BTreeMap::from([("keys", &keys)]))?;
                } else if keys.is_empty() {
                    print::line("No keys.")?;
                } else {
                    let rows: Vec<_> = keys.iter().map(row).collect();
                    print::table(&["ID", "KEY", "STATUS", "NAME", "EXPIRES", "LAST USED", "SCOPES"], &rows)?;
                }
                Ok(0)
            }
            Self::Revoke { id, reason, yes, json } => {
                if !yes && !prompt::confirmed(&format!("Revoke {id} and every key it made, for good?"))? {
                    return Err(Failure::failed("nothing was revoked"));
                }
                let Reply::Revoked(revoked) = Session::ask(global, Call::RevokeAny { key_id: id, reason }).await? else {
                    return Err(unexpected());
                };
                if json {
                    print::json(&revoked)?;
                } else {
                    let with = match revoked.descendants {
                        0 => String::new(),
                        n => format!(", and {n} made by it"),
                    };
                    print::line(&format!("{} is revoked since {}{with}", revoked.id, revoked.revoked_at))?;
                }
                Ok(0)
            }
            Self::Verify { scopes, environment, cost, json } => {
                let key = prompt::hidden_or_piped("Key")?;
                let call = Call::VerifyKey { key, scopes, environment, cost };
                let Reply::Verdict(verdict) = Session::ask(global, call).await? else { return Err(unexpected()) };
                if json {
                    print::json(&verdict)?;
                } else {
                    let code = serde_json::to_value(verdict.code).map_err(Failure::failed)?;
                    print::line(code.as_str().unwrap_or_default())?;
                    if let Some(id) = verdict.key_id {
                        print::line(&format!("{id} · scopes {}", verdict.scopes))?;
                    }
                    if !verdict.missing_scopes.is_empty() {
                        print::line(&format!("missing {}", verdict.missing_scopes))?;
                    }
                }
                Ok(if verdict.valid { 0 } else { 1 })
            }
        }
    }
}

async fn every_key(
    session: &Session,
    account: Option<String>,
    status: Option<Status>,
    environment: Option<Environment>,
) -> Result<Vec<KeyView>, Failure> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let call = Call::AllKeys { account: account.clone(), status, environment, cursor, limit: Some(MAX_PAGE) };
        let Reply::Keys(page) = session.call(call).await? else { return Err(unexpected()) };
        keys.extend(page.keys);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(keys);
        }
    }
}

fn row(key: &KeyView) -> Vec<String> {
    let day = |time: Option<crate::service::view::Time>, none: &str| {
        time.map_or_else(|| none.to_owned(), |time| time.to_string().chars().take(10).collect())
    };
    vec![
        key.id.to_string(),
        format!("{}…", key.prefix),
        key.status.as_str().to_owned(),
        key.name.clone(),
        day(key.expires_at, "never"),
        day(key.last_used_at, "never"),
        key.scopes.to_string(),
    ]
}
