//! `config`: what is configured, and where it comes from.

use crate::{
    cli::{
        failure::{CommandResult, Failure},
        print,
        settings::{Global, Settings},
    },
    instance::{control::status::Role, open},
};
use clap::Subcommand;

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration as TOML
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl ConfigCommand {
    pub async fn run(self, global: &Global) -> CommandResult {
        let Self::Show { json } = self;
        let Settings { config, data } = global.load(&[], false)?;
        let mut shown = (*config).clone();
        if config.sessions.password_grant && config.sessions.publishable_key.is_empty() && config.store_dir(&data).join("store").exists() {
            // Made on first start and kept in the store.
            let opened = open::open(config, &data, Role::Command).await?;
            shown.sessions.publishable_key = opened.publishable_key().unwrap_or_default();
            opened.close().await;
        }
        if json {
            print::json(&shown)?;
        } else {
            print::text(&toml::to_string(&shown).map_err(Failure::failed)?)?;
        }
        Ok(0)
    }
}
