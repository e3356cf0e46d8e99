//! A subcommand's connection to the data: here, by the control socket, or on a server.

use crate::{
    api::accounts::AccountView,
    cli::{
        failure::Failure,
        settings::{Global, Settings},
    },
    client::remote::ServerClient,
    domain::id::AccountId,
    instance::{
        control::{
            request::{ControlRequest, ControlResponse},
            status::Role,
        },
        open::{self, Opened},
    },
    local_keys::keys,
};
use std::collections::HashMap;

/// The commands that work on a server elsewhere.
pub const ELSEWHERE: [&str; 3] = ["mcp", "keys", "connect"];

/// The data directory for the length of one command, whether a server runs or not; or a server elsewhere.
pub enum Connection {
    Here(Opened),
    There(ServerClient),
}

impl Connection {
    /// With `new` a directory without data gets some; else a mistyped one would silently become a second deployment.
    pub(crate) async fn open(global: &Global, new: bool) -> Result<Self, Failure> {
        if let Some(url) = &global.server {
            return Ok(Self::There(ServerClient::new(url, keys::env_key())?));
        }
        let Settings { config, data } = global.load(&[], false)?;
        // A store without its secret is no empty directory: opening it says what is missing.
        if !new && !config.secret_path(&data).exists() && !config.store_dir(&data).join("store").exists() {
            let place = data.display();
            return Err(Failure::failed(format!(
                "there is no data in {place}: start `countersign` on it first, or name another with --data"
            )));
        }
        Ok(Self::Here(open::open(config, &data, Role::Command).await?))
    }

    pub(crate) async fn call(&self, call: ControlRequest) -> Result<ControlResponse, Failure> {
        Ok(match self {
            Self::Here(opened) => opened.backend().call(call).await?,
            Self::There(server) => server.call(&call).await?,
        })
    }

    /// Whose is what, for lists.
    pub(crate) async fn owners(&self) -> Result<AccountEmails, Failure> {
        // A key elsewhere sees its own account, and no list of them.
        if matches!(self, Self::There(_)) {
            return Ok(AccountEmails(HashMap::new()));
        }
        Ok(AccountEmails(self.accounts("").await?.into_iter().map(|account| (account.id, account.email)).collect()))
    }

    /// Every account whose e-mail, external id or id holds this.
    pub(crate) async fn accounts(&self, search: &str) -> Result<Vec<AccountView>, Failure> {
        let (mut accounts, mut cursor) = (Vec::new(), None);
        loop {
            let ControlResponse::Accounts(page) = self.call(ControlRequest::Accounts { search: search.to_owned(), cursor }).await? else {
                return Err(unexpected());
            };
            accounts.extend(page.accounts);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(accounts);
            }
        }
    }

    pub(crate) async fn close(self) {
        if let Self::Here(opened) = self {
            opened.close().await;
        }
    }

    /// One call and the end.
    pub(crate) async fn ask(global: &Global, call: ControlRequest) -> Result<ControlResponse, Failure> {
        let session = Self::open(global, matches!(call, ControlRequest::CreateAccount { .. })).await?;
        let reply = session.call(call).await;
        session.close().await;
        reply
    }
}

/// E-mails of accounts.
pub struct AccountEmails(HashMap<AccountId, String>);

impl AccountEmails {
    pub(crate) fn email(&self, id: AccountId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// The owner is another version of this program and answered something else.
pub fn unexpected() -> Failure {
    Failure::failed("the process that owns the data directory answered something else: restart it, so that both are the same version")
}
