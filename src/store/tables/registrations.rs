//! What agents asked for, until it is forgotten.

use crate::{
    domain::{digest::Digest, id::RegistrationId, registration::transitions::Registration},
    store::{
        access::{Order, Read},
        changes::ChangedRow,
        error::StoreError,
        row::{Backup, Row, due, due_by, find, load, page, stored_as_json, text},
        table::Table,
    },
};
use jiff::Timestamp;

impl Row for Registration {
    const TABLE: Table = Table::Registrations;
    const INDEXES: &'static [Table] = &[
        Table::ClaimTokens,
        Table::UserCodes,
        Table::Pickups,
        Table::Handles,
        Table::Pending,
        Table::CrowdedPending,
        Table::DueRegistrations,
    ];
    const BACKUP: Backup = Backup::Never;

    stored_as_json!();

    fn key(&self) -> Vec<u8> {
        self.id().to_string().into_bytes()
    }

    fn index(&self) -> Vec<(Table, Vec<u8>)> {
        let (request, id) = (self.request(), self.key());
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

/// Reads registrations.
pub struct Registrations<'a>(pub(in crate::store) &'a dyn Read);

impl Registrations<'_> {
    /// The one with this id.
    pub fn get(&self, id: RegistrationId) -> Result<Option<Registration>, StoreError> {
        load(self.0, id.to_string())
    }

    /// The one whose claim token has this hash.
    pub fn by_claim_token(&self, hash: &Digest) -> Result<Option<Registration>, StoreError> {
        find(self.0, Table::ClaimTokens, hash.as_bytes())
    }

    /// The pending one whose present user code has this hash.
    pub fn by_user_code(&self, hash: &Digest) -> Result<Option<Registration>, StoreError> {
        find(self.0, Table::UserCodes, hash.as_bytes())
    }

    /// The one whose pickup token, used or not, has this hash.
    pub fn by_pickup(&self, hash: &Digest) -> Result<Option<Registration>, StoreError> {
        find(self.0, Table::Pickups, hash.as_bytes())
    }

    /// The one whose handle has this hash.
    pub fn by_handle(&self, hash: &Digest) -> Result<Option<Registration>, StoreError> {
        find(self.0, Table::Handles, hash.as_bytes())
    }

    /// At most `limit` of those with which a sweep has something to do by `now`.
    pub fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Registration>, StoreError> {
        let due = due_by(self.0, Table::DueRegistrations, now, limit)?;
        Ok(due.iter().map(|key| load(self.0, key)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The `limit` oldest ones.
    pub fn oldest(&self, limit: usize) -> Result<Vec<Registration>, StoreError> {
        Ok(page(self.0, Table::Registrations, &[], None, Order::Ascending, limit)?.rows)
    }

    /// The pending one that makes room for another: of those who asked most often the oldest; where everybody asked once, the
    /// oldest of all.
    pub fn first_to_go(&self) -> Result<Option<Registration>, StoreError> {
        for index in [Table::CrowdedPending, Table::Pending] {
            if let Some(first) = page(self.0, index, &[], None, Order::Ascending, 1)?.rows.pop() {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// How many there are.
    pub fn count(&self) -> Result<usize, StoreError> {
        self.0.count(Table::Registrations, usize::MAX)
    }

    /// How many wait for their human.
    pub fn count_pending(&self) -> Result<usize, StoreError> {
        self.0.count(Table::Pending, usize::MAX)
    }
}

impl ChangedRow {
    /// The registration, if the row is one.
    pub fn registration(&self) -> Option<RegistrationId> {
        text(Table::Registrations.own(&self.key)?).ok()
    }

    /// The registration, if the row says that it is pending.
    pub fn pending_registration(&self) -> Option<RegistrationId> {
        text(Table::Pending.own(&self.key)?.get(8..)?).ok()
    }

    /// The hash of a claim token, if the row leads from it to its registration. Saving a registration writes it anew.
    pub fn claim_token(&self) -> Option<&[u8]> {
        Table::ClaimTokens.own(&self.key)
    }
}
