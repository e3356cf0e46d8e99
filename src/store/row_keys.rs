//! Under which key each row lies, which index entries lead to it, and which of its changes the journal notes.

use crate::{
    domain::{
        account::{Account, KnownPlaces},
        activity::Event,
        daily_count::DailyCount,
        grant::Grant,
        idempotency::{IdempotencyRecord, OPERATION_RETENTION},
        journal_entry::JournalEntry,
        key::Key,
        operation::OperationRecord,
        program_session::ProgramSession,
        registration::transitions::Registration,
        session::{BrowserSession, PortalSession},
        throttle::ThrottleCounter,
        time::after,
    },
    store::{
        rows::{Row, due, due_second, entry, tally_key},
        table::Table,
    },
};

impl Row for Registration {
    const TABLE: Table = Table::Registrations;

    fn key(&self) -> Vec<u8> {
        self.id().to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let request = self.request();
        let id = request.id.to_string();
        let mut index =
            vec![(Table::ClaimTokens, request.claim_token.as_bytes().to_vec()), (Table::DueRegistrations, due(self.due_at(), &id))];
        if let Some(handle) = &request.handle {
            index.push((Table::Handles, handle.hash.as_bytes().to_vec()));
        }
        match self {
            Self::Pending { attempt, .. } => {
                index.push((Table::UserCodes, attempt.code.as_bytes().to_vec()));
                index.push((Table::Pending, due(request.created_at, &id)));
                if request.before > 0 {
                    let most_first = (u32::MAX - request.before).to_be_bytes();
                    index.push((Table::CrowdedPending, [most_first.as_slice(), &due(request.created_at, &id)].concat()));
                }
            }
            Self::Approved { pickup: Some(pickup), .. } => index.push((Table::Pickups, pickup.token.as_bytes().to_vec())),
            Self::Delivered { spent_pickup: Some(token), .. } => index.push((Table::Pickups, token.as_bytes().to_vec())),
            Self::Approved { .. } | Self::Delivered { .. } | Self::Denied { .. } | Self::Expired { .. } => {}
        }
        index
    }
}

impl Row for Account {
    const TABLE: Table = Table::Accounts;

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let mut index = vec![(Table::Emails, self.email.as_str().as_bytes().to_vec())];
        index.extend(self.external_id.as_ref().map(|id| (Table::ExternalIds, id.as_str().as_bytes().to_vec())));
        index
    }

    fn loss_since(&self, before: &Self) -> Option<JournalEntry> {
        self.loss_since(before)
    }
}

impl Row for KnownPlaces {
    const TABLE: Table = Table::KnownPlaces;

    fn key(&self) -> Vec<u8> {
        self.account.to_string().into_bytes()
    }
}

impl Row for BrowserSession {
    const TABLE: Table = Table::Sessions;

    fn key(&self) -> Vec<u8> {
        self.token.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let mut by_account = entry(&[&self.account.to_string(), ""]);
        by_account.extend_from_slice(self.token.as_bytes());
        let mut due = due_second(self.ends_at(), "");
        due.extend_from_slice(self.token.as_bytes());
        vec![(Table::AccountSessions, by_account), (Table::DueSessions, due)]
    }
}

impl Row for ProgramSession {
    const TABLE: Table = Table::ProgramSessions;

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let id = self.id.to_string();
        vec![
            (Table::AccountProgramSessions, entry(&[&self.account.to_string(), &id])),
            (Table::DueProgramSessions, due(self.ends_at(), &id)),
        ]
    }
}

impl Row for PortalSession {
    const TABLE: Table = Table::PortalSessions;

    fn key(&self) -> Vec<u8> {
        self.ticket.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let mut entry = due(self.expires_at, "");
        entry.extend_from_slice(self.ticket.as_bytes());
        vec![(Table::DuePortalSessions, entry)]
    }
}

impl Row for Key {
    const TABLE: Table = Table::Keys;

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let id = self.id.to_string();
        let mut index =
            vec![(Table::KeyHashes, self.hash.as_bytes().to_vec()), (Table::AccountKeys, entry(&[&self.account.to_string(), &id]))];
        if let Some(parent) = self.parent {
            index.push((Table::Children, entry(&[&parent.to_string(), &id])));
        }
        index
    }

    fn loss_since(&self, before: &Self) -> Option<JournalEntry> {
        self.loss_since(before)
    }
}

impl Row for IdempotencyRecord {
    const TABLE: Table = Table::Done;

    fn key(&self) -> Vec<u8> {
        self.request.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let mut due = due(self.ends_at, "");
        due.extend_from_slice(self.request.as_bytes());
        vec![(Table::DueDone, due)]
    }
}

impl Row for Grant {
    const TABLE: Table = Table::Grants;

    fn key(&self) -> Vec<u8> {
        self.id.to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        vec![(Table::AccountGrants, entry(&[&self.account.to_string(), &self.id.to_string()]))]
    }
}

impl Row for Event {
    const TABLE: Table = Table::Events;

    fn key(&self) -> Vec<u8> {
        entry(&[&self.account.to_string(), &self.id.to_string()])
    }
}

impl Row for DailyCount {
    const TABLE: Table = Table::Tallies;

    fn key(&self) -> Vec<u8> {
        tally_key(self.day, self.what)
    }
}

impl Row for ThrottleCounter {
    const TABLE: Table = Table::Counters;

    fn key(&self) -> Vec<u8> {
        self.row.clone().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        vec![(Table::DueCounters, due_second(self.ends_at, &self.row))]
    }
}

impl Row for OperationRecord {
    const TABLE: Table = Table::Operations;

    fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let mut due = due(after(self.at, OPERATION_RETENTION), "");
        due.extend_from_slice(self.id.as_bytes());
        vec![(Table::DueOperations, due)]
    }
}
