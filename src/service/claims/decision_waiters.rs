//! Who waits for which decision. A waiting poll costs an entry in a map, and is woken by its registration's own change.
//!
//! Places are counted for each account, or else each address, and each claim has a few. Who finds none is answered at
//! once: waiting is a kindness, and no neighbour may turn it into a refusal.

use crate::domain::{
    id::{AccountId, RegistrationId},
    source::Source,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Polls one address or one account may have waiting at once; programs on this computer are not counted.
const MAX_WAITING_EACH: usize = 20;

/// Whose places a poll takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WaiterSource {
    /// A program on this computer.
    Local,
    /// A caller with a credential, wherever it calls from.
    Account(AccountId),
    /// The address's [`Source::rate_limit_key`].
    Address(String),
}

impl WaiterSource {
    /// The account where there is one: behind a shared address each has places of its own.
    pub fn of(source: Source, account: Option<AccountId>) -> Self {
        match (account, source) {
            (Some(account), _) => Self::Account(account),
            (None, Source::Local) => Self::Local,
            (None, source) => Self::Address(source.rate_limit_key()),
        }
    }
}

/// Who waits for one claim.
#[derive(Default)]
struct Queue {
    changed: Arc<Notify>,
    /// Its waits, oldest first.
    places: VecDeque<Place>,
}

struct Place {
    number: u64,
    who: WaiterSource,
    displaced: CancellationToken,
}

#[derive(Default)]
struct WaitingPoll {
    claims: HashMap<RegistrationId, Queue>,
    each: HashMap<WaiterSource, usize>,
    joined: u64,
}

impl WaitingPoll {
    fn give_back(&mut self, who: &WaiterSource) {
        if let Some(count) = self.each.get_mut(who) {
            *count -= 1;
            if *count == 0 {
                self.each.remove(who);
            }
        }
    }
}

/// Who waits for which claim, all within the bounds above.
#[derive(Default)]
pub struct Waiters(Mutex<WaitingPoll>);

/// A place in the queue; dropping it gives it up.
pub struct Waiter<'a> {
    waiters: &'a Waiters,
    id: RegistrationId,
    number: u64,
    notify: Arc<Notify>,
    displaced: CancellationToken,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, WaitingPoll> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of the claim's places, of which there are `most`; whoever had the oldest is told to come again. `None`
    /// when the caller has too many. Programs on this computer take none from anybody.
    pub fn join(&self, id: RegistrationId, who: &WaiterSource, most: usize) -> Option<Waiter<'_>> {
        let mut waiting = self.lock();
        let most = if *who == WaiterSource::Local { usize::MAX } else { most };
        let oldest = waiting.claims.get(&id).filter(|queue| queue.places.len() >= most).and_then(|queue| queue.places.front());
        // Whoever repeats itself takes its own place again.
        let others = waiting.each.get(who).map_or(0, |count| count - usize::from(oldest.is_some_and(|oldest| oldest.who == *who)));
        if *who != WaiterSource::Local && others >= MAX_WAITING_EACH {
            return None;
        }
        waiting.joined += 1;
        *waiting.each.entry(who.clone()).or_default() += 1;
        let (number, displaced) = (waiting.joined, CancellationToken::new());
        let queue = waiting.claims.entry(id).or_default();
        let oldest = if queue.places.len() >= most { queue.places.pop_front() } else { None };
        queue.places.push_back(Place { number, who: who.clone(), displaced: displaced.clone() });
        let notify = queue.changed.clone();
        if let Some(oldest) = oldest {
            oldest.displaced.cancel();
            waiting.give_back(&oldest.who);
        }
        Some(Waiter { waiters: self, id, number, notify, displaced })
    }

    /// How many polls wait now.
    pub fn count(&self) -> usize {
        self.lock().claims.values().map(|queue| queue.places.len()).sum()
    }

    /// Wakes whoever waits for this registration.
    pub fn wake(&self, id: RegistrationId) {
        if let Some(queue) = self.lock().claims.get(&id) {
            queue.changed.notify_waiters();
        }
    }

    /// Wakes everybody who waits.
    pub fn wake_all(&self) {
        self.lock().claims.values().for_each(|queue| queue.changed.notify_waiters());
    }
}

impl Waiter<'_> {
    /// Resolves at the registration's next change. Create it before looking, so that none is missed.
    pub fn on_decision(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }

    /// Resolves when somebody else took the place.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        let Some(queue) = waiting.claims.get_mut(&self.id) else { return };
        // One that was displaced has been given back.
        let place = queue.places.iter().position(|place| place.number == self.number).and_then(|at| queue.places.remove(at));
        if queue.places.is_empty() {
            waiting.claims.remove(&self.id);
        }
        if let Some(place) = place {
            waiting.give_back(&place.who);
        }
    }
}
