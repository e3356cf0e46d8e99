//! `keys`: every account's keys, for whoever runs the deployment; with `--server` what the key in COUNTERSIGN_API_KEY sees.

use crate::{
    api::{
        keys::{CreatedBy, KeyView},
        values::Time,
    },
    cli::{
        connection::{AccountEmails, Connection, unexpected},
        failure::{CommandResult, Failure},
        print, prompt,
        settings::Global,
    },
    config::values::Ttl,
    domain::{
        environment::Environment,
        key::{CreatorKind, Status},
    },
    instance::control::request::{ControlRequest, ControlResponse},
    service::keys::list::{KeyFilter, MAX_PAGE},
};
use clap::Subcommand;
use jiff::SignedDuration;

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
        /// A limit of its own, above the plan's too [default: the plan's]
        #[arg(long, value_name = "N")]
        requests_per_minute: Option<u32>,
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
        /// Only keys that a human, an agent or a key made
        #[arg(long, value_parser = maker, value_name = "WHO")]
        created_by: Option<CreatorKind>,
        /// Only keys with this in their name or shown head, or of this id
        #[arg(long, short, value_name = "TEXT")]
        search: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one key, never its secret
    Show {
        /// Such as key_01J…, as `keys list` shows it
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Rename a key, change what it may do, or switch it off and on
    Edit {
        /// Such as key_01J…, as `keys list` shows it
        id: String,
        #[arg(long)]
        name: Option<String>,
        /// All it may do from now on; what is taken away is taken from the keys it made and those it was rotated from, too
        #[arg(long = "scope", value_delimiter = ',', num_args = 1.., value_name = "SCOPE")]
        scopes: Option<Vec<String>>,
        /// Switch it off, with the keys it made
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Switch it on again
        #[arg(long)]
        enable: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new secret for a key; it is printed once, and the old one works on for a while
    Rotate {
        /// Such as key_01J…, as `keys list` shows it
        id: String,
        /// How long the old key works on, at most 7d; 0: it ends at once
        #[arg(long, value_parser = grace, default_value = "24h", value_name = "TIME")]
        grace: SignedDuration,
        /// How long the new key lives [default: as long as the old one was made for]
        #[arg(long, value_name = "TIME")]
        expires_in: Option<Ttl>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key, every key it made and those it was rotated from, at once
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
    /// Let a disabled key work again
    Resume {
        /// Such as key_01J…
        #[arg(required_unless_present = "all")]
        id: Option<String>,
        /// All that a restore without a journal suspended
        #[arg(long, conflicts_with = "id")]
        all: bool,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
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

fn maker(text: &str) -> Result<CreatorKind, String> {
    let all = [CreatorKind::Human, CreatorKind::Agent, CreatorKind::Key];
    all.into_iter().find(|maker| maker.as_str() == text).ok_or_else(|| "must be human, agent or key".to_owned())
}

fn grace(text: &str) -> Result<SignedDuration, String> {
    if text == "0" { Ok(SignedDuration::ZERO) } else { text.parse::<Ttl>().map(|ttl| ttl.0) }
}

impl Keys {
    pub async fn run(self, global: &Global) -> CommandResult {
        match self {
            Self::Create { account, name, scopes, environment, expires_in, requests_per_minute, json } => {
                let expires_in = expires_in.map(|ttl| ttl.0.as_secs());
                let account = account.unwrap_or_default();
                let call = ControlRequest::CreateKey { account, name, scopes, environment, expires_in, requests_per_minute };
                let ControlResponse::KeyCreated(created) = Connection::ask(global, call).await? else { return Err(unexpected()) };
                if json {
                    print::json(&created)?;
                } else {
                    let until = created.view.expires_at.map_or_else(|| "until it is revoked".to_owned(), |at| format!("until {at}"));
                    print::note(&format!(
                        "Made {} ({}), good for {} {until}. This is the only time it is shown:",
                        created.view.id, created.view.name, created.view.scopes
                    ));
                    print::line(created.key.expose())?;
                }
                Ok(0)
            }
            Self::List { account, status, environment, created_by, search, json } => {
                let filter = KeyFilter { status, environment, created_by, q: search, ..KeyFilter::default() };
                let session = Connection::open(global, false).await?;
                let keys = every_key(&session, account, filter).await;
                let owners = session.owners().await;
                session.close().await;
                let (keys, owners) = (keys?, owners?);
                if json {
                    print::json(&std::collections::BTreeMap::from([("keys", &keys)]))?;
                } else if keys.is_empty() {
                    print::line("No keys.")?;
                } else {
                    let rows: Vec<_> = keys.iter().map(|key| row(key, &owners)).collect();
                    print::table(&["ID", "ACCOUNT", "KEY", "STATUS", "NAME", "EXPIRES", "LAST USED", "SCOPES"], &rows)?;
                }
                Ok(0)
            }
            Self::Show { id, json } => {
                let ControlResponse::Key(key) = Connection::ask(global, ControlRequest::ShowKey { key_id: id }).await? else {
                    return Err(unexpected());
                };
                show(&key, json)
            }
            Self::Edit { id, name, scopes, disable, enable, json } => {
                let disabled = (disable || enable).then_some(disable);
                if name.is_none() && scopes.is_none() && disabled.is_none() {
                    return Err(Failure::Usage("say what to change: --name, --scope, --disable or --enable".to_owned()));
                }
                let call = ControlRequest::EditKey { key_id: id, name, scopes, disabled };
                let ControlResponse::Key(key) = Connection::ask(global, call).await? else { return Err(unexpected()) };
                show(&key, json)
            }
            Self::Rotate { id, grace, expires_in, json } => {
                let expires_in = expires_in.map(|ttl| ttl.0.as_secs());
                let call = ControlRequest::RotateKey { key_id: id.clone(), grace_seconds: Some(grace.as_secs()), expires_in };
                let ControlResponse::KeyRotated(new) = Connection::ask(global, call).await? else { return Err(unexpected()) };
                let (Some(secret), Some(old)) = (&new.key, &new.replaced) else { return Err(unexpected()) };
                if json {
                    print::json(&new)?;
                } else {
                    let until = match old.expires_at {
                        Some(at) if old.status == Status::Active => format!("works on until {at}"),
                        _ => "is dead".to_owned(),
                    };
                    print::note(&format!("Made {} in the place of {id}, which {until}. This is the only time it is shown:", new.view.id));
                    print::line(secret.expose())?;
                }
                Ok(0)
            }
            Self::Revoke { id, reason, yes, json } => {
                if !yes && !prompt::confirmed(&format!("Revoke {id}, every key it made and those it was rotated from, for good?"))? {
                    return Err(Failure::failed("nothing was revoked"));
                }
                let ControlResponse::Revoked(revoked) = Connection::ask(global, ControlRequest::RevokeAny { key_id: id, reason }).await?
                else {
                    return Err(unexpected());
                };
                if json {
                    print::json(&revoked)?;
                } else {
                    let with = match revoked.descendants {
                        0 => String::new(),
                        n => format!(", and {n} with it"),
                    };
                    print::line(&format!("{} is revoked since {}{with}", revoked.id, revoked.revoked_at))?;
                }
                Ok(0)
            }
            Self::Resume { id, all, yes } => {
                if all && !yes && !prompt::confirmed("Let all suspended keys work again, those too that were revoked after the backup?")? {
                    return Err(Failure::failed("no key was resumed"));
                }
                let ControlResponse::Resumed { keys } = Connection::ask(global, ControlRequest::ResumeKeys { key_id: id }).await? else {
                    return Err(unexpected());
                };
                print::line(&format!("Resumed {keys} {}", if keys == 1 { "key" } else { "keys" }))?;
                Ok(0)
            }
            Self::Verify { scopes, environment, cost, json } => {
                let key = prompt::hidden_or_piped("Key")?;
                let call = ControlRequest::VerifyKey { key, scopes, environment, cost };
                let ControlResponse::Verdict(verdict) = Connection::ask(global, call).await? else { return Err(unexpected()) };
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

async fn every_key(session: &Connection, account: Option<String>, filter: KeyFilter) -> Result<Vec<KeyView>, Failure> {
    let KeyFilter { status, environment, created_by, q, .. } = filter;
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let call = ControlRequest::AllKeys {
            account: account.clone(),
            status,
            environment,
            created_by,
            q: q.clone(),
            cursor,
            limit: Some(MAX_PAGE),
        };
        let ControlResponse::Keys(page) = session.call(call).await? else { return Err(unexpected()) };
        keys.extend(page.keys);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(keys);
        }
    }
}

/// The day of a time, in a table.
pub fn day(time: Option<Time>, none: &str) -> String {
    time.map_or_else(|| none.to_owned(), |time| time.to_string().chars().take(10).collect())
}

fn row(key: &KeyView, owners: &AccountEmails) -> Vec<String> {
    vec![
        key.id.to_string(),
        owners.email(key.account_id),
        format!("{}…", key.prefix),
        key.status.as_str().to_owned(),
        key.name.clone(),
        day(key.expires_at, "never"),
        day(key.last_used_at, "never"),
        key.scopes.to_string(),
    ]
}

fn show(key: &KeyView, json: bool) -> CommandResult {
    if json {
        print::json(key)?;
        return Ok(0);
    }
    let time = |time: Option<Time>| time.map(|time| time.to_string());
    let maker = match &key.created_by {
        CreatedBy::Simple(maker) => maker.clone(),
        CreatedBy::Agent { agent_name, approved_by, .. } => format!("an agent calling itself {agent_name:?}, approved by {approved_by}"),
    };
    let facts = [
        ("id", Some(key.id.to_string())),
        ("name", Some(key.name.clone())),
        ("key", Some(format!("{}…", key.prefix))),
        ("status", Some(key.status.as_str().to_owned())),
        ("account", Some(key.account_id.to_string())),
        ("plan", Some(key.plan.clone())),
        ("limit", key.requests_per_minute.map(|limit| format!("{limit} requests a minute"))),
        ("environment", Some(key.environment.to_string())),
        ("scopes", Some(key.scopes.to_string())),
        ("made by", Some(maker)),
        ("parent", key.parent.map(|id| id.to_string())),
        ("replaces", key.replaces.map(|id| id.to_string())),
        ("replaced by", key.replaced_by.map(|id| id.to_string())),
        ("created", time(Some(key.created_at))),
        ("expires", time(key.expires_at)),
        ("revoked", time(key.revoked_at)),
        ("last used", time(key.last_used_at).or_else(|| Some("never".to_owned()))),
        ("uses", Some(key.usage.total.to_string())),
    ];
    for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        print::line(&format!("{name:<12} {value}"))?;
    }
    Ok(0)
}
