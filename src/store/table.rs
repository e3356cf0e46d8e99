//! The tables.

use crate::store::error::StoreError;

/// The setting that holds the latest time seen.
pub const CLOCK: &str = "clock";

/// The setting that holds how long the journal was when it was last written to.
pub const JOURNAL: &str = "journal";

/// Whether a table's rows are part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backup {
    Kept,
    /// What must not come back: codes, sessions and counters of another day.
    Never,
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $number:literal $backup:ident,)+) => {
        /// The tables. The number is the first byte of every stored key: frozen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Table {
            $($(#[$doc])* $name = $number,)+
        }

        impl Table {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            pub fn is_backed_up(self) -> bool {
                match self {
                    $(Self::$name => Backup::$backup == Backup::Kept,)+
                }
            }
        }
    };
}

tables! {
    Meta = 1 Kept,
    Registrations = 2 Never,
    ClaimTokens = 3 Never,
    UserCodes = 4 Never,
    Pickups = 5 Never,
    Handles = 6 Never,
    /// Pending registrations, oldest first.
    Pending = 7 Never,
    /// Pending registrations of those who asked more than once in an hour: most often first, then oldest first.
    CrowdedPending = 38 Never,
    /// Registrations by the second at which a sweep has something to do.
    DueRegistrations = 8 Never,
    DuePortalSessions = 9 Never,
    Accounts = 10 Kept,
    Emails = 11 Kept,
    Sessions = 12 Never,
    AccountSessions = 13 Never,
    DueSessions = 14 Never,
    ProgramSessions = 15 Never,
    AccountProgramSessions = 16 Never,
    DueProgramSessions = 17 Never,
    ExternalIds = 18 Kept,
    PortalSessions = 19 Never,
    Keys = 20 Kept,
    KeyHashes = 21 Kept,
    AccountKeys = 22 Kept,
    Children = 23 Kept,
    Usage = 24 Kept,
    /// Requests that are done once, by the hash of their name: calls of local programs, and those with an `Idempotency-Key`.
    Done = 25 Never,
    DueDone = 26 Never,
    /// What a key was used for, a row a key and day.
    UsageDays = 27 Kept,
    /// When allowances are whole again.
    RateLimits = 28 Never,
    /// How often agents asked and humans decided, a row a day and kind.
    Tallies = 29 Kept,
    Grants = 30 Kept,
    AccountGrants = 31 Kept,
    /// Where accounts were signed in to.
    KnownPlaces = 37 Never,
    Events = 40 Kept,
    Counters = 50 Never,
    DueCounters = 51 Never,
    FlaggedSources = 52 Kept,
    /// Calls of local programs that a version before carried out, for an hour. Only read.
    Operations = 60 Never,
    DueOperations = 61 Never,
}

impl Table {
    /// Whether a stored key is of a row that is written behind the requests it counts, the latest time seen among them. A kill loses none of those; a power
    /// cut may take back the last, so nobody waits for them to be on disk.
    pub fn is_count(full_key: &[u8]) -> bool {
        let table = [Self::Usage, Self::UsageDays, Self::RateLimits].iter().any(|table| table.own(full_key).is_some());
        table || Self::Meta.own(full_key) == Some(CLOCK.as_bytes())
    }

    /// The row's key, if a stored key is one of this table.
    pub fn own(self, full_key: &[u8]) -> Option<&[u8]> {
        full_key.split_first().filter(|(table, _)| **table == self as u8).map(|(_, key)| key)
    }

    /// The table a stored key belongs to.
    pub fn of(full_key: &[u8]) -> Result<Self, StoreError> {
        let number = full_key.first().copied().unwrap_or_default();
        let unknown = || StoreError::Corrupt(format!("there is a row of table {number}, which this version does not know"));
        Self::ALL.iter().copied().find(|table| *table as u8 == number).ok_or_else(unknown)
    }
}
