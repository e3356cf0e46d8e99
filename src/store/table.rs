//! The names and numbers of the tables. What each holds is declared in [`tables`](crate::store::tables).

use crate::store::error::StoreError;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// The tables. The number is the first byte of every stored key: frozen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Table {
            $($(#[$doc])* $name = $number,)+
        }

        impl Table {
            /// Every table there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

tables! {
    /// Settings of the whole store.
    Meta = 1,
    /// What agents asked for.
    Registrations = 2,
    /// Registrations by the hash of their claim token.
    ClaimTokens = 3,
    /// Pending registrations by the hash of their user code.
    UserCodes = 4,
    /// Registrations by the hash of their pickup token.
    Pickups = 5,
    /// Registrations by the hash of the handle their agent keeps.
    Handles = 6,
    /// Pending registrations, oldest first.
    Pending = 7,
    /// Registrations by the second at which a sweep has something to do.
    DueRegistrations = 8,
    /// Portal sessions by the second at which they end.
    DuePortalSessions = 9,
    /// Accounts of humans.
    Accounts = 10,
    /// Accounts by e-mail address.
    Emails = 11,
    /// Browsers that are signed in, by the hash of their cookie.
    Sessions = 12,
    /// The same by account.
    AccountSessions = 13,
    /// The same by the second at which they end.
    DueSessions = 14,
    /// Programs that signed in with an account's password.
    ProgramSessions = 15,
    /// The same by account.
    AccountProgramSessions = 16,
    /// The same by the second at which they end.
    DueProgramSessions = 17,
    /// Accounts by the name a service has for them.
    ExternalIds = 18,
    /// Sign-in links of a service's portal, by the hash of their ticket.
    PortalSessions = 19,
    /// API keys.
    Keys = 20,
    /// Keys by their hash.
    KeyHashes = 21,
    /// Keys by account.
    AccountKeys = 22,
    /// Keys by the key that made them.
    Children = 23,
    /// What a key was used for in its whole life.
    Usage = 24,
    /// Requests that are done once, by the hash of their name: calls of local programs, and those with an `Idempotency-Key`.
    Done = 25,
    /// The same by the second at which they are forgotten.
    DueDone = 26,
    /// What a key was used for, a row a key and day.
    UsageDays = 27,
    /// When allowances are whole again.
    RateLimits = 28,
    /// How often agents asked and humans decided, a row a day and kind.
    Tallies = 29,
    /// What was approved.
    Grants = 30,
    /// The same by account.
    AccountGrants = 31,
    /// Where accounts were signed in to.
    KnownPlaces = 37,
    /// Pending registrations of those who asked more than once in an hour: most often first, then oldest first.
    CrowdedPending = 38,
    /// The activity of accounts.
    Events = 40,
    /// How often limits were charged.
    Counters = 50,
    /// The same by the second at which their window ends.
    DueCounters = 51,
    /// Sources a human disowned a request from.
    FlaggedSources = 52,
    /// Calls of local programs that a version before carried out, for an hour. Only read.
    Operations = 60,
    /// The same by the second at which they are forgotten.
    DueOperations = 61,
}

impl Table {
    /// The row's key, if a stored key is one of this table.
    pub fn own(self, full_key: &[u8]) -> Option<&[u8]> {
        full_key.split_first().filter(|(table, _)| **table == self as u8).map(|(_, key)| key)
    }

    /// The table a stored key belongs to.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a number that is none: a newer version made it.
    pub fn of(full_key: &[u8]) -> Result<Self, StoreError> {
        let number = full_key.first().copied().unwrap_or_default();
        let unknown = || StoreError::Corrupt(format!("there is a row of table {number}, which this version does not know"));
        Self::ALL.iter().copied().find(|table| *table as u8 == number).ok_or_else(unknown)
    }
}
