//! Limits on what a guesser or a flood may do: so many times per window, counted in the store,
//! so that a restart gives nobody a fresh start.

use crate::domain::{
    account::Account,
    id::{AccountId, KeyId, RegistrationId},
    registration::request::RegistrationRequest,
    source::Source,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

const QUARTER: SignedDuration = SignedDuration::from_mins(15);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Accounts younger than this share an allowance of wrong codes of their own: fresh accounts are free.
pub const YOUNG_ACCOUNT_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Wrong codes that all accounts together may enter in an hour while one request waits; half as many while two wait. Of
/// 20^8 codes: one hit in `20^8 / (MAX_GUESSES_PER_HOUR * 8766 h)` = 11.7 years, however many wait and guess.
pub const MAX_GUESSES_PER_HOUR: u64 = 250_000;

/// Wrong passwords a day: a hundred, with the four that may be hashed while the last one is counted.
const MAX_WRONG_PASSWORDS: u32 = 96;

/// One thing that is counted: against whom, how often, per which window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    name: &'static str,
    subject: String,
    pub max: u32,
    window: SignedDuration,
}

impl Throttle {
    fn new(name: &'static str, subject: String, max: u32, window: SignedDuration) -> Self {
        Self { name, subject, max, window }
    }

    /// Registrations of a caller with a key.
    pub fn registrations_of_account(account: AccountId, max: u32) -> Vec<Self> {
        vec![Self::new("registrations", account.to_string(), max, HOUR)]
    }

    /// Registrations of callers without one. A /48 has three times what one of its 65,536 /64s has, unless the
    /// configuration names so many addresses.
    pub fn registrations(source: &Source, max: u32, of_network: Option<u32>) -> Vec<Self> {
        let network = Self::of_network("registrations_network", source, of_network.unwrap_or(max.saturating_mul(3)), HOUR);
        [Self::new("registrations", source.rate_limit_key(), max, HOUR)].into_iter().chain(network).collect()
    }

    /// Wrong codes of one account: past it, it is told to wait, and learns not even that a code is right. Nobody else can
    /// use this up.
    pub fn wrong_codes(account: AccountId) -> Self {
        Self::new("wrong_codes_account", account.to_string(), 10, HOUR)
    }

    /// Wrong codes that are counted together with others': by address, by network, and over all accounts (young ones
    /// apart: they are free). Past one of these nobody is refused. Instead one code no longer decides anything: it takes
    /// a second, fresh one of the same request ([`Throttle::half_entered`]), which whoever has the agent at hand gets at
    /// once, and whoever guesses would have to guess as well, 25.6 billion to one again. Until that second code right
    /// and wrong codes are answered alike, so what was guessed here is no use later or to another account either.
    ///
    /// The allowance of all shrinks with what waits, because so grow the odds of a guess.
    pub fn shared_wrong_codes(account: &Account, source: &Source, now: Timestamp, pending: u64) -> Vec<Self> {
        let all = |share: u64| u32::try_from(share / pending.max(1)).unwrap_or(u32::MAX);
        let (young, aged) = (all(MAX_GUESSES_PER_HOUR / 5), all(MAX_GUESSES_PER_HOUR / 5 * 4));
        // The operator's own account is not young on its first day.
        let together = if now.duration_since(account.created_at) < YOUNG_ACCOUNT_AGE && !account.operator {
            Self::new("wrong_codes_young", String::new(), young, HOUR)
        } else {
            Self::new("wrong_codes_aged", String::new(), aged, HOUR)
        };
        // No place alone uses up what all have, as long as that is much.
        let mut limits = vec![together, Self::new("wrong_codes_source", source.rate_limit_key(), (aged / 10).max(20), HOUR)];
        limits.extend(Self::of_network("wrong_codes_network", source, (aged / 4).max(100), HOUR));
        limits
    }

    /// Notes that an account entered a right code of that request while one was not enough: by the registration, and by
    /// who asked from where, for agents that can't be known again and register anew to get a fresh code. A guesser gets
    /// no further with the second: his own request counts for strangers' at his own address only, and an address
    /// registers ten times an hour.
    pub fn half_entered(account: AccountId, request: &RegistrationRequest) -> [Self; 2] {
        let agent = format!("{account} {} {}", request.source.rate_limit_key(), request.agent_name);
        [format!("{account} {}", request.id), agent].map(|subject| Self::new("half_entered", subject, 1, HOUR))
    }

    /// Attempts to sign in, right or wrong. Where the account was signed in to before (`known`), others who guess from
    /// there take nothing from its owner but these ten.
    pub fn logins(email: &str, source: &Source, known: bool) -> Vec<Self> {
        let mut limits = vec![Self::new("logins", format!("{email} {}", source.rate_limit_key()), 10, QUARTER)];
        if !known {
            // One password tried on many accounts.
            limits.push(Self::new("logins_source", source.rate_limit_key(), 100, HOUR));
            limits.extend(Self::of_network("logins_network", source, 1_000, HOUR));
        }
        limits
    }

    /// Wrong passwords of one account. A right one gives none of them back.
    ///
    /// NIST SP 800-63B allows 100 in a row for an account, and names the places it was signed in to before as the way not
    /// to lock its owner out. So all places the account does not know share a hundred a day, from however many addresses
    /// they come, and each place it knows has a hundred of its own, whatever is tried elsewhere. An e-mail without an
    /// account is counted alike.
    pub fn refused_logins(email: &str, source: &Source, known: bool) -> Self {
        if known {
            Self::new("logins_place", format!("{email} {}", source.rate_limit_key()), MAX_WRONG_PASSWORDS, DAY)
        } else {
            Self::new("logins_account", email.to_owned(), MAX_WRONG_PASSWORDS, DAY)
        }
    }

    /// The password asked again of a session, by its public name: before a risky approval, and to change it.
    pub fn reauthentications(session: &str) -> Self {
        Self::new("reauthentications", session.to_owned(), 10, QUARTER)
    }

    /// Wrong passwords of a session that is asked again. Whoever stole a cookie guesses no more than whoever signs in.
    pub fn refused_reauthentications(session: &str) -> Self {
        Self::new("reauthentications_refused", session.to_owned(), MAX_WRONG_PASSWORDS, DAY)
    }

    /// New accounts of one address, and of the network around it.
    pub fn signups(source: &Source) -> Vec<Self> {
        let network = Self::of_network("signups_network", source, 15, HOUR);
        [Self::new("signups", source.rate_limit_key(), 5, HOUR)].into_iter().chain(network).collect()
    }

    /// `round` tells one printed code from the next.
    pub fn setup_codes(source: &Source, round: i64) -> Vec<Self> {
        let network = Self::of_network("setup_codes_network", source, 100, HOUR).map(|limit| limit.also(round));
        [Self::new("setup_codes", format!("{} {round}", source.rate_limit_key()), 10, HOUR)].into_iter().chain(network).collect()
    }

    /// An IPv6 /48 beside the /64 in it; an IPv4 address has no more than itself.
    fn of_network(name: &'static str, source: &Source, max: u32, window: SignedDuration) -> Option<Self> {
        (source.network() != source.rate_limit_key()).then(|| Self::new(name, source.network(), max, window))
    }

    fn also(mut self, round: i64) -> Self {
        self.subject = format!("{} {round}", self.subject);
        self
    }

    /// One note an hour and key that it was used in the wrong environment.
    pub fn wrong_environment_notes(key: KeyId) -> Self {
        Self::new("wrong_environment", key.to_string(), 1, HOUR)
    }

    /// Ten notes an hour and registration that somebody polled without its verifier.
    pub fn wrong_verifier_notes(registration: RegistrationId) -> Self {
        Self::new("wrong_verifier", registration.to_string(), 10, HOUR)
    }

    /// The start of the window `now` falls in, in Unix seconds.
    fn window_start(&self, now: Timestamp) -> i64 {
        now.as_second() - now.as_second().rem_euclid(self.window.as_secs())
    }

    /// The row this counter lives in.
    pub fn row(&self, now: Timestamp) -> String {
        format!("{}|{}|{}", self.name, self.subject, self.window_start(now))
    }

    /// Seconds until the window ends.
    pub fn retry_after(&self, now: Timestamp) -> u64 {
        u64::try_from(self.window_start(now) + self.window.as_secs() - now.as_second()).unwrap_or(1).max(1)
    }

    /// Unix seconds at which the window that `now` falls in ends.
    pub fn ends_at(&self, now: Timestamp) -> i64 {
        self.window_start(now) + self.window.as_secs()
    }
}

/// How often a limit was charged in one window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThrottleCounter {
    pub row: String,
    pub count: u32,
    /// Unix seconds after which the row is purged.
    pub ends_at: i64,
}
