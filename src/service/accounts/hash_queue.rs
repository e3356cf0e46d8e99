//! Where passwords are hashed: a few at once, and whoever waits is served in a fair order.
//!
//! argon2 takes 19 MiB and a core each. However many bots ask, no more than [`MAX_CONCURRENT_HASHES`] run: a place belongs to the hash,
//! not to the request, so a client that leaves frees it when argon2 is done and not before.
//!
//! Who finds no place free waits in one of three lanes, which are served in turn: who is signed in already and the
//! commands of this computer, who signs in from where they did before, and everybody else. In a lane every network has
//! its turn, however many of its addresses wait: the bots of one /48 wait for each other.

use crate::{api::error::Error, domain::source::Source};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;

/// 76 MiB of argon2 at most.
pub const MAX_CONCURRENT_HASHES: usize = 4;

/// Those who wait, in a lane. Each is a few hundred bytes; more would wait longer than [`WAIT_TIMEOUT`] anyway.
const MAX_WAITING: usize = 256;

/// Of one network.
const MAX_WAITING_PER_NETWORK: usize = 16;

/// People go before they have waited longer; browsers and proxies wait longer than this.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which of the three queues somebody waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Signed in, or whoever runs this computer.
    SignedIn,
    /// From where the account was signed in to before.
    Known,
    Anybody,
}

/// The places there are. Clones share them.
#[derive(Clone)]
pub struct Hashing(Arc<Mutex<Queue>>);

struct Queue {
    free: usize,
    /// In the order of [`Lane`].
    lanes: [Turns; 3],
    /// Which lane is asked first when a place is free.
    first: usize,
}

/// A right to hash once. Gives its place to the next who waits when it is dropped.
pub struct Place(Option<Hashing>);

type Waiter = oneshot::Sender<Place>;

impl Default for Hashing {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Queue { free: MAX_CONCURRENT_HASHES, lanes: Default::default(), first: 0 })))
    }
}

impl Hashing {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, or waits for one.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many wait, or none came in time. Nothing was tried then, and nobody is charged for it.
    pub async fn place(&self, lane: Lane, from: &Source) -> Result<Place, Error> {
        let waits = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return Ok(Place(Some(self.clone())));
            }
            let (waiter, waits) = oneshot::channel();
            queue.lanes[lane as usize].join(from.network(), waiter)?;
            waits
        };
        match tokio::time::timeout(WAIT_TIMEOUT, waits).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Error::Busy),
        }
    }

    /// Runs `work` in this place, on a thread of its own. It runs to its end, and keeps the place until then, whether or
    /// not anybody still waits for it.
    ///
    /// # Errors
    /// [`Error::Internal`] when the work panicked.
    pub async fn run<T: Send + 'static>(place: Place, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let placed = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(placed).await.map_err(Error::internal)
    }

    fn hand_on(self) {
        loop {
            let waiter = {
                let mut queue = self.queue();
                let Some(waiter) = queue.next() else {
                    queue.free += 1;
                    return;
                };
                waiter
            };
            match waiter.send(Place(Some(self.clone()))) {
                Ok(()) => return,
                // Whoever waited has left: the place goes on to the next.
                Err(mut place) => place.0 = None,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(hashing) = self.0.take() {
            hashing.hand_on();
        }
    }
}

impl Queue {
    fn next(&mut self) -> Option<Waiter> {
        for lane in [self.first, self.first + 1, self.first + 2].map(|lane| lane % 3) {
            if let Some(waiter) = self.lanes[lane].next() {
                self.first = (lane + 1) % 3;
                return Some(waiter);
            }
        }
        None
    }
}

/// A lane: each network that waits has its turn.
#[derive(Default)]
struct Turns {
    order: VecDeque<String>,
    waiting: HashMap<String, VecDeque<Waiter>>,
    count: usize,
}

impl Turns {
    fn join(&mut self, network: String, waiter: Waiter) -> Result<(), Error> {
        if self.count >= MAX_WAITING || self.waiting.get(&network).is_some_and(|of_it| of_it.len() >= MAX_WAITING_PER_NETWORK) {
            self.forget_who_left();
        }
        let already = self.waiting.get(&network).map_or(0, VecDeque::len);
        if already >= MAX_WAITING_PER_NETWORK {
            return Err(Error::Busy);
        }
        if self.count >= MAX_WAITING {
            // Full: the network that takes most gives its last place to one that takes less.
            let most = self.waiting.iter().max_by_key(|(_, of_it)| of_it.len()).map(|(name, of_it)| (name.clone(), of_it.len()));
            match most {
                Some((most, length)) if length > already + 1 => {
                    if let Some(of_it) = self.waiting.get_mut(&most) {
                        of_it.pop_back();
                        self.count -= 1;
                    }
                }
                _ => return Err(Error::Busy),
            }
        }
        let of_it = self.waiting.entry(network.clone()).or_default();
        if of_it.is_empty() {
            self.order.push_back(network);
        }
        of_it.push_back(waiter);
        self.count += 1;
        Ok(())
    }

    fn next(&mut self) -> Option<Waiter> {
        let network = self.order.pop_front()?;
        let of_it = self.waiting.get_mut(&network)?;
        let waiter = of_it.pop_front();
        self.count -= usize::from(waiter.is_some());
        if of_it.is_empty() {
            self.waiting.remove(&network);
        } else {
            self.order.push_back(network);
        }
        waiter
    }

    fn forget_who_left(&mut self) {
        for of_it in self.waiting.values_mut() {
            of_it.retain(|waiter| !waiter.is_closed());
        }
        self.waiting.retain(|_, of_it| !of_it.is_empty());
        self.order.retain(|network| self.waiting.contains_key(network));
        self.count = self.waiting.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, future::BoxFuture};
    use std::sync::mpsc;

    fn at(address: &str) -> Source {
        Source::address(address.parse().unwrap())
    }

    type Waits = BoxFuture<'static, Result<Place, Error>>;

    /// Asks for a place; it must not be there at once.
    fn waits(hashing: &Hashing, lane: Lane, from: &Source) -> Waits {
        let (hashing, from) = (hashing.clone(), *from);
        let mut waits = async move { hashing.place(lane, &from).await }.boxed();
        assert!((&mut waits).now_or_never().is_none(), "no place is free");
        waits
    }

    async fn all_taken() -> (Hashing, Vec<Place>) {
        let hashing = Hashing::default();
        let mut places = Vec::new();
        for _ in 0..MAX_CONCURRENT_HASHES {
            places.push(hashing.place(Lane::Anybody, &at("203.0.113.1")).await.unwrap());
        }
        (hashing, places)
    }

    /// Frees a place; which of those who wait has it now.
    fn served(free: Place, waiting: &mut Vec<(&'static str, Waits)>) -> (&'static str, Place) {
        drop(free);
        for n in 0..waiting.len() {
            if let Some(place) = (&mut waiting[n].1).now_or_never() {
                return (waiting.remove(n).0, place.unwrap());
            }
        }
        panic!("nobody was served");
    }

    #[tokio::test]
    async fn a91_a_hash_keeps_its_place_when_its_client_leaves() {
        let (hashing, mut places) = all_taken().await;
        let (go, gone) = mpsc::channel::<()>();
        let mut run = Hashing::run(places.pop().unwrap(), move || gone.recv()).boxed();
        assert!((&mut run).now_or_never().is_none());
        drop(run);
        let mut next = waits(&hashing, Lane::Known, &at("192.0.2.1"));
        assert!((&mut next).now_or_never().is_none(), "argon2 still runs");
        drop(go);
        next.await.unwrap();
    }

    #[tokio::test]
    async fn a91_who_leaves_while_waiting_takes_no_place_along() {
        let (hashing, mut places) = all_taken().await;
        for n in 0..50 {
            drop(waits(&hashing, Lane::Anybody, &at(&format!("192.0.2.{n}"))));
        }
        let mut last = waits(&hashing, Lane::Anybody, &at("192.0.2.99"));
        drop(places.pop());
        drop((&mut last).now_or_never().expect("the first who still waits has it").unwrap());
        drop(places);
        assert_eq!(hashing.queue().free, MAX_CONCURRENT_HASHES);
        // Even with a place on its way.
        let (hashing, mut places) = all_taken().await;
        let leaves = waits(&hashing, Lane::Anybody, &at("192.0.2.1"));
        drop(places.pop());
        drop(leaves);
        drop(places);
        assert_eq!(hashing.queue().free, MAX_CONCURRENT_HASHES);
    }

    #[tokio::test]
    async fn a96_bots_of_one_48_wait_for_each_other_and_a_human_has_the_next_turn() {
        let (hashing, mut places) = all_taken().await;
        let mut waiting = Vec::new();
        for n in 0..MAX_WAITING_PER_NETWORK {
            waiting.push(("bot", waits(&hashing, Lane::Anybody, &at(&format!("2001:db8:1:{n:x}::1")))));
        }
        let one_more = hashing.place(Lane::Anybody, &at("2001:db8:1:ffff::1")).now_or_never();
        assert!(matches!(one_more, Some(Err(Error::Busy))), "told at once");
        waiting.push(("human", waits(&hashing, Lane::Anybody, &at("198.51.100.7"))));
        let (first, place) = served(places.pop().unwrap(), &mut waiting);
        let (second, place) = served(place, &mut waiting);
        let (third, _place) = served(place, &mut waiting);
        assert_eq!((first, second, third), ("bot", "human", "bot"));
    }

    #[tokio::test]
    async fn a96_lanes_are_served_in_turn_however_many_strangers_wait() {
        let (hashing, mut places) = all_taken().await;
        let mut waiting = Vec::new();
        for n in 0..100 {
            waiting.push(("stranger", waits(&hashing, Lane::Anybody, &at(&format!("198.51.100.{n}")))));
        }
        for _ in 0..2 {
            waiting.push(("known", waits(&hashing, Lane::Known, &at("192.0.2.1"))));
            waiting.push(("signed in", waits(&hashing, Lane::SignedIn, &at("192.0.2.1"))));
        }
        let (mut place, mut order) = (places.pop().unwrap(), Vec::new());
        for _ in 0..8 {
            let (who, next) = served(place, &mut waiting);
            order.push(who);
            place = next;
        }
        assert_eq!(order, ["signed in", "known", "stranger", "signed in", "known", "stranger", "stranger", "stranger"]);
    }

    #[tokio::test]
    async fn a96_a_full_queue_has_room_for_who_takes_less() {
        let (hashing, _places) = all_taken().await;
        let bots: Vec<_> = (0..MAX_WAITING)
            .map(|n| waits(&hashing, Lane::Anybody, &at(&format!("2001:db8:{:x}:{n:x}::1", n / MAX_WAITING_PER_NETWORK))))
            .collect();
        let _human = waits(&hashing, Lane::Anybody, &at("198.51.100.7"));
        let refused = futures::future::join_all(bots.into_iter().map(|bot| async { bot.now_or_never() })).await;
        assert_eq!(refused.iter().filter(|answer| matches!(answer, Some(Err(Error::Busy)))).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a96_nobody_waits_for_ever() {
        let (hashing, _places) = all_taken().await;
        let answer = hashing.place(Lane::Known, &at("192.0.2.1")).await;
        assert!(matches!(answer, Err(Error::Busy)));
        assert_eq!(Error::Busy.retry_after(), Some(1));
    }
}
