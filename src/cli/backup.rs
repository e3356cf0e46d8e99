//! `backup`, `restore`, `secrets rotate`.

use crate::{
    cli::{
        connection::{Connection, unexpected},
        failure::{CommandResult, Failure},
        print,
        settings::{Global, Settings, a_path},
    },
    instance::{
        control::request::{ControlRequest, ControlResponse},
        restore::{Accept, restore},
        secret_file,
    },
    platform::runtime::Runtime,
    store::backup::ROWS,
};
use clap::{Args, Subcommand};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Args)]
pub struct Backup {
    /// A new or empty directory
    #[arg(value_parser = a_path())]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub async fn run(self, global: &Global) -> CommandResult {
        let dir = std::path::absolute(&self.dir)?;
        let session = Connection::open(global, false).await?;
        let made = tokio::select! {
            made = session.call(ControlRequest::Backup { dir: dir.clone() }) => made,
            never = progress(&dir) => never,
        };
        session.close().await;
        let ControlResponse::BackedUp(manifest) = made? else { return Err(unexpected()) };
        if self.json {
            print::json(&manifest)?;
        } else {
            print::line(&format!("Backed up {} rows, {} bytes, to {}", manifest.rows, manifest.bytes, dir.display()))?;
            print::line("The server secret is not in it: keep a copy of its file elsewhere.")?;
            if !manifest.in_journal {
                print::line("No journal is kept (`backup.journal`): restored without one, its keys start suspended.")?;
            }
        }
        Ok(0)
    }
}

/// Says now and then how far it is, to whoever watches.
async fn progress(dir: &Path) -> Result<ControlResponse, Failure> {
    if !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tick.tick().await;
        if let Ok(found) = std::fs::metadata(dir.join(ROWS)) {
            print::tell(&format!("\r{:.1} MB written ", found.len() as f64 / 1e6));
        }
    }
}

#[derive(Args)]
pub struct Restore {
    /// The directory `backup` wrote
    #[arg(value_parser = a_path())]
    dir: PathBuf,
    /// The journal that was kept [default: `backup.journal`]
    #[arg(long, value_parser = a_path(), value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Without a journal: bring keys back although some may have been revoked since, suspended until somebody resumes them
    #[arg(long)]
    accept_resurrection: bool,
    /// A backup of an earlier version, which has no seal: believe it, because nobody else could write where it was kept
    #[arg(long)]
    accept_unsealed: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub async fn run(self, global: &Global) -> CommandResult {
        if global.data.is_none() {
            return Err(Failure::Usage("say where to: --data DIR, a new or empty directory".to_owned()));
        }
        let Settings { config, data } = global.load(&[], false)?;
        let journal = self.journal.or_else(|| config.journal_path());
        let accept = Accept { resurrection: self.accept_resurrection, unsealed: self.accept_unsealed };
        let (manifest, restored) = restore(config.clone(), &data, &self.dir, journal.as_deref(), accept).await.map_err(Failure::failed)?;
        if self.json {
            print::json(&serde_json::json!({ "backup": manifest, "restored": restored }))?;
            return Ok(0);
        }
        print::line(&format!("Restored {} rows, as of {}, into {}", restored.rows, manifest.made_at, data.display()))?;
        match restored.suspended + restored.passwords_void {
            0 => print::line(&format!("Taken away since, and again now: {} changes of the journal", restored.taken_away))?,
            _ => print::line(&format!(
                "{} keys are suspended: `countersign keys resume ID` or `--all`. {} passwords are void: `countersign accounts reset-password`",
                restored.suspended, restored.passwords_void
            ))?,
        }
        let secret = config.secret_path(&data);
        if !secret.exists() {
            print::line(&format!("Put the server secret of then at {} before you start.", secret.display()))?;
        }
        Ok(0)
    }
}

#[derive(Subcommand)]
pub enum Secrets {
    /// Add a new server secret; keys made with the old ones go on working
    Rotate,
}

impl Secrets {
    pub fn run(self, global: &Global) -> CommandResult {
        let Self::Rotate = self;
        let Settings { config, data } = global.load(&[], false)?;
        let path = config.secret_path(&data);
        let id = secret_file::rotate(&path, &Runtime::system()).map_err(Failure::failed)?;
        print::line(&format!("Added the secret {id} to {}. Back the file up, and restart the server to use it:", path.display()))?;
        print::line("keys go on working, browsers sign in again, and agents that wait for a decision ask again.")?;
        Ok(0)
    }
}
