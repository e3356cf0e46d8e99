//! `agents`: whom humans let in, and how to send them away.

use crate::{
    api::agents::AgentView,
    cli::{
        connection::{AccountEmails, Connection, unexpected},
        failure::{CommandResult, Failure},
        keys::day,
        print, prompt,
        settings::Global,
    },
    instance::control::request::{ControlRequest, ControlResponse},
    service::keys::list::MAX_PAGE,
};
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Agents {
    /// List agents: who let them in, and what they may do
    List {
        /// Only this account's
        #[arg(long, value_name = "EMAIL")]
        account: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Send an agent away: its keys and all keys they made end at once
    Revoke {
        /// Such as grt_01J…, as `agents list` shows it
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All agents, in an emergency
        #[arg(long)]
        all: bool,
        /// Only this account's
        #[arg(long, value_name = "EMAIL", requires = "all")]
        account: Option<String>,
        /// Don't ask
        #[arg(long, short)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Agents {
    pub async fn run(self, global: &Global) -> CommandResult {
        match self {
            Self::List { account, json } => {
                let session = Connection::open(global, false).await?;
                let agents = every_agent(&session, account).await;
                let owners = session.owners().await;
                session.close().await;
                let (agents, owners) = (agents?, owners?);
                if json {
                    print::json(&std::collections::BTreeMap::from([("agents", &agents)]))?;
                } else if agents.is_empty() {
                    print::line("No agents.")?;
                } else {
                    let rows: Vec<_> = agents.iter().map(|agent| row(agent, &owners)).collect();
                    print::table(&["ID", "ACCOUNT", "AGENT", "STATE", "APPROVED", "FROM", "LAST USED", "SCOPES"], &rows)?;
                }
            }
            Self::Revoke { id, account, yes, json, .. } => {
                let whom = match (&id, &account) {
                    (Some(id), _) => format!("the agent {id}"),
                    (None, Some(account)) => format!("all agents of {account}"),
                    (None, None) => "all agents of all accounts".to_owned(),
                };
                if !yes && !prompt::typed(&format!("This sends {whom} away, for good."), "revoke")? {
                    return Err(Failure::failed("nothing was revoked"));
                }
                let call = match id {
                    Some(grant_id) => ControlRequest::RevokeAgent { grant_id },
                    None => ControlRequest::RevokeAllAgents { account },
                };
                let ControlResponse::AgentsRevoked(ended) = Connection::ask(global, call).await? else { return Err(unexpected()) };
                if json {
                    print::json(&ended)?;
                } else {
                    print::line(&format!("Agents sent away: {}; keys revoked: {}", ended.agents, ended.keys))?;
                }
            }
        }
        Ok(0)
    }
}

async fn every_agent(session: &Connection, account: Option<String>) -> Result<Vec<AgentView>, Failure> {
    let (mut agents, mut cursor) = (Vec::new(), None);
    loop {
        let call = ControlRequest::ListAgents { account: account.clone(), cursor, limit: Some(MAX_PAGE) };
        let ControlResponse::Agents(page) = session.call(call).await? else { return Err(unexpected()) };
        agents.extend(page.agents);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(agents);
        }
    }
}

fn row(agent: &AgentView, owners: &AccountEmails) -> Vec<String> {
    vec![
        agent.id.to_string(),
        owners.email(agent.account_id),
        agent.agent_name.clone(),
        agent.state.as_str().to_owned(),
        day(Some(agent.approved_at), ""),
        agent.approved_from.clone().unwrap_or_default(),
        day(agent.key.as_ref().and_then(|key| key.last_used_at), "never"),
        agent.scopes.to_string(),
    ]
}
