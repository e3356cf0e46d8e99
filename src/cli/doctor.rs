//! `doctor`: what is right, what is not, and what to do about it.

use crate::{
    cli::{
        failure::{CommandResult, Failure},
        findings::{Finding, Findings, Level},
        mcp_config, print,
        settings::{Global, Settings, a_path},
    },
    config::{settings::Config, url::is_loopback},
    domain::{seal::Seals, server_secret::Purpose},
    instance::{
        control::status::Role,
        error::OpenFailure,
        journal_path,
        open::{self, Opened},
        secret_file,
    },
    local_keys::keys::StoredKeys,
    platform::{private_files, runtime::Runtime},
    store::open::ROOM,
};
use clap::Args;
use jiff::Timestamp;
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Before this program was written: a clock that says so is wrong, and keys would never expire.
const EARLIEST_UNIX_SECONDS: i64 = 1_767_225_600;
const RESTORE: &str = "keep the directory as it is, and bring a backup back with `countersign restore BACKUP --data NEW`";

#[derive(Args)]
pub struct Doctor {
    /// Check what a client's MCP configuration says of us, and nothing else
    #[arg(long, value_name = "FILE", value_parser = a_path())]
    mcp_config: Option<PathBuf>,
    /// The clock is right now and was ahead before: forget the latest time seen. What ended only by it works again
    #[arg(long, conflicts_with = "mcp_config")]
    trust_clock: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub async fn run(self, global: &Global) -> CommandResult {
        let mut findings = Findings::default();
        if self.trust_clock {
            trust_clock(global).await?;
        }
        if let Some(file) = &self.mcp_config {
            mcp_config::check(file, &mut findings).await;
            return self.report(&findings.0);
        }
        match global.load(&[], false) {
            Err(failure) => findings.failed("configuration", failure),
            Ok(Settings { config, data }) => {
                findings.ok("configuration", "reads well");
                for name in &config.left_alone {
                    findings.warn(
                        "configuration",
                        format!("{name} is no setting"),
                        "leave it, if it is another program's; `config show` lists ours",
                    );
                }
                for name in &config.retired {
                    findings.warn("configuration", format!("`{name}` does nothing any more"), "take it out of the configuration");
                }
                // What another user put there is not for us to read.
                if directory(&data, &mut findings) {
                    server_secret(&config, &data, &mut findings);
                    store(&config, &data, &mut findings).await;
                    disk("disk", &config.store_dir(&data), ROOM as u64 >> 20, &mut findings);
                    journal(&config, &data, &mut findings);
                    credentials(&data, &mut findings);
                }
                urls(&config, &mut findings);
                proxies(&config, &mut findings);
            }
        }
        clock(Runtime::system().now(), &mut findings);
        curl(&mut findings);
        self.report(&findings.0)
    }

    fn report(&self, findings: &[Finding]) -> CommandResult {
        if self.json {
            print::json(&std::collections::BTreeMap::from([("checks", findings)]))?;
        } else {
            for Finding { level, subject, found, todo } in findings {
                let level = match level {
                    Level::Ok => "ok",
                    Level::Warn => "warn",
                    Level::Fail => "fail",
                };
                print::line(&format!("{level:<5} {subject:<16} {found}"))?;
                if let Some(todo) = todo {
                    print::line(&format!("{:22} → {todo}", ""))?;
                }
            }
        }
        Ok(u8::from(findings.iter().any(|finding| finding.level == Level::Fail)))
    }
}

/// Whether it is ours, or will be.
fn directory(data: &Path, findings: &mut Findings) -> bool {
    match fs::metadata(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            findings.ok("data directory", format!("{} is made at the first start", data.display()));
        }
        Err(error) => findings.fail("data directory", format!("{}: {error}", data.display()), "choose another with --data DIR"),
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            if let Err(error) = private_files::check_owner(data, &found) {
                findings.failed("data directory", error);
                return false;
            } else if mode & 0o077 != 0 {
                let todo = format!("chmod 700 {}", data.display());
                findings.fail("data directory", format!("{} can be entered by others (mode {mode:03o})", data.display()), todo);
            } else {
                findings.ok("data directory", format!("{} is private", data.display()));
            }
        }
    }
    true
}

fn server_secret(config: &Config, data: &Path, findings: &mut Findings) {
    let path = config.secret_path(data);
    match secret_file::read(&path) {
        Ok(Some(_)) => findings.ok("secret", format!("{} is there and private; keep a copy of it apart from the data", path.display())),
        Ok(None) if config.store_dir(data).join("store").exists() => findings.failed("secret", secret_file::SecretError::Missing(path)),
        Ok(None) => findings.ok("secret", format!("{} is made at the first start", path.display())),
        Err(error) => findings.failed("secret", error),
    }
}

async fn store(config: &Arc<Config>, data: &Path, findings: &mut Findings) {
    if !config.store_dir(data).join("store").exists() {
        findings.ok("store", "is made at the first start");
        return port(config, findings).await;
    }
    match open::open(config.clone(), data, Role::Command).await {
        Ok(Opened::Theirs(theirs)) => {
            match &theirs.status.fault {
                None => findings.ok("store", format!("{theirs}, and answers")),
                Some(fault) => {
                    let todo = "mend that, free room if the disk is full: it goes on by itself; until then it verifies and changes nothing";
                    findings.fail("store", format!("{theirs}, but {fault}"), todo);
                }
            }
            clock_behind(theirs.status.clock_behind.as_deref(), findings);
            programs(theirs.status.publishable_key.as_deref(), findings);
            for (what, todo) in &theirs.status.unknown_callers {
                findings.fail("callers", format!("{what}: all behind it count as one"), todo);
            }
        }
        Ok(Opened::Mine(mine)) => {
            clock_behind(mine.service.latest_time.clock_behind().as_deref(), findings);
            programs(mine.service.accounts.publishable_key(), findings);
            match mine.service.admin.check().await {
                Ok(report) if report.faults == 0 => {
                    let tables = report.tables.iter().filter(|(_, rows)| *rows > 0).map(|(table, rows)| format!("{table:?} {rows}"));
                    let tables = tables.collect::<Vec<_>>().join(", ");
                    findings.ok("store", format!("opens, and all {} rows hang together ({tables}); no server is running", report.rows));
                }
                Ok(report) => {
                    let found = format!("{} of {} rows are damaged: {}", report.faults, report.rows, report.told.join("; "));
                    findings.fail("store", found, RESTORE);
                }
                Err(error) => findings.fail("store", format!("opens but can't be read: {error}"), RESTORE),
            }
            mine.close().await;
            port(config, findings).await;
        }
        Err(OpenFailure::Damaged { error, .. }) => findings.fail("store", error.to_string(), RESTORE),
        Err(failure) => findings.failed("store", failure),
    }
}

/// Room to go on: so many MiB, without which changes are refused.
fn disk(subject: &'static str, dir: &Path, needed: u64, findings: &mut Findings) {
    // Not there before the first start.
    let Ok(found) = rustix::fs::statvfs(dir) else { return };
    let free = found.f_bavail.saturating_mul(found.f_frsize) >> 20;
    let said = format!("{free} MiB are free in {}", dir.display());
    if free < needed {
        findings.fail(subject, said, format!("free some: below {needed} MiB changes are refused"));
    } else if free < 16 * needed {
        findings.warn(subject, said, "free some, before changes are refused");
    } else {
        findings.ok(subject, said);
    }
}

fn journal(config: &Config, data: &Path, findings: &mut Findings) {
    let journal = journal_path::journal_path(config, data).map(|found| found.filter(|_| config.store_dir(data).join("store").exists()));
    match journal {
        Ok(None) => {}
        Ok(Some(journal)) => match crate::store::journal::read(&journal, seals(config, data).as_ref()) {
            Ok(entries) => {
                findings.ok("journal", format!("{} holds {} entries", journal.display(), entries.len()));
                disk("journal's disk", journal.parent().unwrap_or(Path::new("/")), 1, findings);
            }
            Err(error) => {
                let todo = "put it back as it was; a running server takes nothing away from keys and accounts while it is gone";
                findings.fail("journal", format!("{}: {error}", journal.display()), todo);
            }
        },
        Err(error) => findings.failed("journal", error),
    }
}

fn seals(config: &Config, data: &Path) -> Option<Seals> {
    Some(secret_file::read(&config.secret_path(data)).ok()??.seals(Purpose::SealJournal))
}

fn programs(publishable_key: Option<&str>, findings: &mut Findings) {
    if let Some(key) = publishable_key {
        findings.ok("programs", format!("may sign in with their human's password; their apikey is {key}"));
    }
}

async fn port(config: &Config, findings: &mut Findings) {
    match tokio::net::TcpListener::bind(config.listen).await {
        Ok(_) => findings.ok("port", format!("{} is free", config.listen)),
        Err(error) => findings.warn("port", format!("{}: {error}", config.listen), "choose another with `listen`, or end what has it"),
    }
}

fn clock(now: Timestamp, findings: &mut Findings) {
    if now.as_second() < EARLIEST_UNIX_SECONDS {
        findings.fail("clock", format!("says {now}, which is in the past"), "set the clock: times decide when codes and keys end");
    } else {
        findings.ok("clock", format!("says {now}"));
    }
}

/// A clock that was set back, over a restart or under a running server.
fn clock_behind(behind: Option<&str>, findings: &mut Findings) {
    if let Some(behind) = behind {
        let todo = "if the clock is wrong, set it: until then all times count from the latest one seen, and what had ended stays so; if it \
                    is right and was ahead by mistake, end the server and run `countersign doctor --trust-clock`, then look at \
                    what was made meanwhile: its times are ahead, too";
        findings.warn("time seen", format!("the clock is {behind}"), todo);
    }
}

async fn trust_clock(global: &Global) -> Result<(), Failure> {
    let Settings { config, data } = global.load(&[], false)?;
    match open::open(config, &data, Role::Command).await? {
        Opened::Theirs(theirs) => Err(Failure::failed(format!("{theirs}: end it first"))),
        Opened::Mine(mine) => {
            let trusted = mine.service.latest_time.trust_clock().await;
            mine.close().await;
            trusted.map_err(Failure::failed)
        }
    }
}

fn urls(config: &Config, findings: &mut Findings) {
    let public = &config.public_url;
    let Ok(url) = url::Url::parse(public) else {
        return findings.fail("public_url", format!("{public} is no URL"), "set `public_url` to scheme, host and port");
    };
    if is_loopback(&url) {
        findings.ok("public_url", format!("{public}: only this computer can reach it"));
    } else if url.scheme() == "https" {
        findings.ok("public_url", public.clone());
    } else {
        findings.warn("public_url", format!("{public} shows keys to the network"), "use https://…, unless something else protects it");
    }
    if config.pages_url != *public {
        findings.ok("pages_url", config.pages_url.clone());
    }
    if !config.hosts.is_empty() {
        findings.ok("hosts", format!("programs may also call it {}", config.hosts.join(", ")));
    }
}

fn proxies(config: &Config, findings: &mut Findings) {
    let everybody = [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
    let public = url::Url::parse(&config.public_url).is_ok_and(|url| !is_loopback(&url));
    // TLS is not ours: whoever comes by https comes through somebody.
    let https = [&config.public_url, &config.pages_url].into_iter().any(|url| url.starts_with("https://"));
    if config.trusted_proxies.iter().any(|net| everybody.iter().any(|ip| net.contains(ip))) {
        let todo = "name only the addresses of your own proxies: anybody could pretend to be any address";
        findings.fail("trusted_proxies", "trusts strangers", todo);
    } else if config.trusted_proxies.is_empty() && (https || (public && config.listen.ip().is_loopback())) {
        let todo = "add the proxy's address, such as trusted_proxies = [\"127.0.0.1/32\"]: else all callers share one limit";
        findings.fail("trusted_proxies", "is empty, but others reach this server through a proxy", todo);
    } else {
        let named: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
        findings.ok("trusted_proxies", if named.is_empty() { "none, none needed".to_owned() } else { named.join(", ") });
    }
}

fn credentials(data: &Path, findings: &mut Findings) {
    match StoredKeys::new(data).all() {
        Ok((keys, unreadable)) if unreadable.is_empty() => findings.ok("stored keys", format!("{} on this computer", keys.len())),
        Ok((_, unreadable)) => unreadable.into_iter().for_each(|error| findings.failed("stored keys", error)),
        Err(error) => findings.failed("stored keys", error),
    }
}

fn curl(findings: &mut Findings) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|dir| dir.join("curl")).find(|file| file.is_file()) {
        Some(file) => findings.ok("curl", file.display().to_string()),
        None => findings.warn("curl", "is not installed", "install it for `countersign curl`"),
    }
}
