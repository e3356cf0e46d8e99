//! The activity of accounts.

use crate::{
    domain::{
        activity::Event,
        id::{AccountId, EventId},
    },
    store::{
        access::{Order, Read, Write},
        error::StoreError,
        row::{Backup, Page, Row, entry, owned_by, page, stored_as_json, text},
        table::Table,
    },
};

impl Row for Event {
    const TABLE: Table = Table::Events;
    const BACKUP: Backup = Backup::Kept;

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        key(self.account, self.id)
    }
}

fn key(account: AccountId, id: EventId) -> Vec<u8> {
    entry(&[&account.to_string(), &id.to_string()])
}

/// Reads events.
pub struct Events<'a>(pub(in crate::store) &'a dyn Read);

impl Events<'_> {
    /// A page of an account's, newest first, after the event `after`.
    pub fn of_account(&self, account: AccountId, after: Option<EventId>, limit: usize) -> Result<Page<Event>, StoreError> {
        let after = after.map(|id| key(account, id));
        page(self.0, Table::Events, &owned_by(account), after.as_deref(), Order::Descending, limit)
    }

    /// The names of the next `limit` events of all accounts, one account after the other, newest first within each. Loads
    /// none of them.
    pub fn names(&self, after: Option<(AccountId, EventId)>, limit: usize) -> Result<Vec<(AccountId, EventId)>, StoreError> {
        let after = after.map(|(account, id)| key(account, id));
        let keys = self.0.scan_keys(Table::Events, &[], after.as_deref(), Order::Descending, limit)?;
        let name = |key: &Vec<u8>| {
            let bar = key.iter().position(|byte| *byte == b'|')?;
            Some((text(&key[..bar]).ok()?, text(&key[bar + 1..]).ok()?))
        };
        // One that is damaged is a matter for the check.
        Ok(keys.iter().filter_map(name).collect())
    }
}

impl dyn Write + '_ {
    /// Forgets an event.
    pub fn erase_event(&mut self, account: AccountId, id: EventId) {
        self.remove(Table::Events, &key(account, id));
    }
}
