//! `exec`: a program with a stored key in its environment, and without it in its output.

use crate::{
    cli::{
        failure::{CommandResult, Failure},
        mask::masked,
        settings::{Global, Settings},
        stored_keys::{Stored, Wanted, no_key},
    },
    domain::id::KeyId,
    platform::huge_pages,
};
use clap::Args;
use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args)]
pub struct Exec {
    /// Use this stored key [default: the one stored last, where one client alone has keys]
    #[arg(long, value_name = "ID")]
    key: Option<KeyId>,
    /// Use only keys of this profile
    #[arg(long)]
    profile: Option<String>,
    /// The variable that holds the key, such as COUNTERSIGN_API_KEY
    #[arg(long, value_name = "NAME", value_parser = variable)]
    env: String,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn variable(name: &str) -> Result<String, String> {
    let mut bytes = name.bytes();
    let fits =
        bytes.next().is_some_and(|b| b.is_ascii_uppercase()) && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if fits { Ok(name.to_owned()) } else { Err("must be upper-case letters, digits and '_', starting with a letter".to_owned()) }
}

impl Exec {
    pub async fn run(self, global: &Global) -> CommandResult {
        let Settings { config, data } = global.load(&[], false)?;
        let stored = Stored::open(&data).await;
        let wanted = Wanted { id: self.key, profile: self.profile.as_deref(), url: None };
        let credential = stored.chosen(&wanted, &config.public_url)?;
        if !stored.works(&credential).await? {
            return Err(no_key(&config.public_url));
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::Usage("say which program to run, after --".to_owned()));
        };
        // Held from before the child is there: a terminal's Ctrl-C reaches the child too, and ends this with it.
        let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env(&self.env, credential.key.expose()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = huge_pages::with_usual_core_limit(|| command.spawn())
            .map_err(|error| Failure::failed(format!("can't run {}: {error}", program.display())))?;
        let output = masked(&mut child, &credential);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                _ = int.recv() => {}
                _ = term.recv() => child.start_kill()?,
            }
        };
        // A grandchild may hold the pipes open for as long as it likes; its output is masked until then.
        let _ = output.await;
        Ok(exit_code(status))
    }
}

/// A child's exit code, and as shells count it, 128 + the signal that ended it.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
