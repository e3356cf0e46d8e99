//! What whoever runs the deployment does with everybody's accounts. Who may is asked where the call comes in: the
//! owner's socket on this machine, or `/admin` in the session of an operator.

use crate::{
    api::{
        accounts::{AccountChange, AccountList, AccountView},
        error::Error,
    },
    config::settings::Config,
    domain::{account::Account, activity::EventKind, id::AccountId, session::BrowserSession},
    service::{
        accounts::{
            find::{named, view},
            sessions::end_sessions,
        },
        admin::state::Admin,
        fresh_sign_in::{must_be_fresh, signed_in},
        record_event::record,
    },
    store::access::Write,
};
use jiff::Timestamp;

/// Accounts of one page at most.
pub const MAX_PAGE: usize = 100;

const DEFAULT_PAGE: usize = 50;

/// Rows looked at per request when a search leaves most out.
const MAX_ROWS_SCANNED: usize = 2000;

/// Which accounts to list.
#[derive(Debug, Clone, Default)]
pub struct AccountFilter {
    /// A part of the e-mail or of the external id, or a whole id.
    pub search: String,
    /// The id of the last account of the page before.
    pub cursor: Option<String>,
    /// 1 to [`MAX_PAGE`].
    pub limit: Option<usize>,
}

impl Admin {
    /// A page of accounts, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`]: a limit out of its range, or a cursor that no page gave.
    pub async fn list_accounts(&self, filter: &AccountFilter) -> Result<AccountList, Error> {
        let limit = filter.limit.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {MAX_PAGE}")));
        }
        let cursor = filter.cursor.as_deref().map(str::parse::<AccountId>).transpose();
        let cursor = cursor.map_err(|_| Error::invalid("cursor", "is not one this server gave"))?;
        let search = filter.search.trim().to_ascii_lowercase();
        let fits = |account: &Account| {
            search.is_empty()
                || account.email.as_str().contains(&search)
                || account.id.to_string() == search
                || account.external_id.as_ref().is_some_and(|id| id.as_str().to_ascii_lowercase().contains(&search))
        };
        let now = self.context.runtime.now();
        self.context
            .store
            .read(|tx| {
                let (mut accounts, mut looked_at) = (Vec::new(), 0);
                let mut after = cursor;
                loop {
                    let page = tx.accounts().list(after, MAX_PAGE)?;
                    for account in page.rows {
                        let fits = fits(&account);
                        // One that is left over shows that there is another page.
                        if fits && accounts.len() == limit || looked_at == MAX_ROWS_SCANNED {
                            return Ok(AccountList { accounts, next_cursor: after.map(|id| id.to_string()) });
                        }
                        if fits {
                            accounts.push(view(tx, &account, now)?);
                        }
                        (after, looked_at) = (Some(account.id), looked_at + 1);
                    }
                    if page.is_last {
                        return Ok::<_, Error>(AccountList { accounts, next_cursor: None });
                    }
                }
            })
            .await
    }

    /// Changes an account. Saying the same twice changes nothing more. `by`: the operator's session; `None`: whoever is on
    /// this machine. What gives the account something takes a fresh sign-in. Where an operator is is nothing the account's owner reads.
    ///
    /// # Errors
    /// * [`Error::NotFound`]: no account has this name.
    /// * [`Error::Invalid`]: no such plan. As [`must_be_fresh`].
    /// * [`Error::Forbidden`]: an operator would disable itself. [`Error::NoRoute`]: the session's account is no operator any more.
    pub async fn change_account(&self, name: &str, change: AccountChange, by: Option<&BrowserSession>) -> Result<AccountView, Error> {
        let change = match change {
            AccountChange::Plan(plan) => AccountChange::Plan(self.accounts.known_plan(plan)?),
            other => other,
        };
        let (now, random, name, config) =
            (self.context.runtime.now(), self.context.runtime.bytes(), name.to_owned(), self.context.config.clone());
        let by = by.map(|session| session.token);
        self.context
            .store
            .write(move |tx| {
                // An operator who is none any more finds what everybody finds there.
                let by = by.map(|session| signed_in(tx, session, now)).transpose()?;
                if by.as_ref().is_some_and(|(_, operator)| !operator.operator) {
                    return Err(Error::NoRoute);
                }
                let mut account = named(tx, &name)?.ok_or_else(|| Error::not_found("account"))?;
                if let Some((session, operator)) = &by
                    && gives(&config, &account, &change)
                {
                    must_be_fresh(session, operator, now)?;
                }
                if matches!(change, AccountChange::Disable) && by.as_ref().is_some_and(|(_, operator)| operator.id == account.id) {
                    // Nobody would be left who could undo it from a page.
                    return Err(Error::Forbidden {
                        detail: "you can't disable your own account here: countersign accounts disable".to_owned(),
                    });
                }
                if let Some(what) = apply(tx, &mut account, &change, now)? {
                    tx.save(&account)?;
                    record(tx, account.id, None, what, now, random)?;
                }
                Ok::<_, Error>(view(tx, &account, now)?)
            })
            .await
    }
}

/// Whether the account may do more after a change. Who can't be compared is taken to get more.
fn gives(config: &Config, account: &Account, change: &AccountChange) -> bool {
    let rate = |plan: &String| config.plans.get(plan).map(|plan| plan.requests_per_minute);
    match change {
        AccountChange::Plan(plan) => account.plan != *plan && rate(&account.plan).zip(rate(plan)).is_none_or(|(was, is)| is > was),
        AccountChange::VerifyEmail => !account.email_verified,
        AccountChange::Enable => account.disabled_at.is_some(),
        AccountChange::Disable => false,
    }
}

fn apply(tx: &mut dyn Write, account: &mut Account, change: &AccountChange, now: Timestamp) -> Result<Option<EventKind>, Error> {
    Ok(match change {
        AccountChange::Plan(plan) if account.plan != *plan => {
            account.plan = plan.clone();
            Some(EventKind::PlanChanged { plan: plan.clone() })
        }
        AccountChange::VerifyEmail if !account.email_verified => {
            account.email_verified = true;
            Some(EventKind::EmailVerified)
        }
        AccountChange::Disable if account.disabled_at.is_none() => {
            account.disabled_at = Some(now);
            end_sessions(tx, account.id)?;
            Some(EventKind::AccountDisabled)
        }
        AccountChange::Enable if account.disabled_at.is_some() => {
            account.disabled_at = None;
            Some(EventKind::AccountEnabled)
        }
        AccountChange::Plan(_) | AccountChange::VerifyEmail | AccountChange::Disable | AccountChange::Enable => None,
    })
}
