//! Rate limits of plans: GCRA by `governor`, exact under concurrency, in memory.

use crate::{
    config::Plan,
    domain::{
        id::{AccountId, KeyId},
        source::Source,
    },
    service::{Error, view::RateLimit},
    world::World,
};
use dashmap::DashMap;
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::StateStore,
};
use std::{
    collections::BTreeMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// The world's clock in governor's terms: nanoseconds since it was first asked.
#[derive(Clone)]
struct LimitClock {
    world: World,
    origin: Arc<OnceLock<u64>>,
}

impl LimitClock {
    fn new(world: &World) -> Self {
        Self { world: world.clone(), origin: Arc::default() }
    }
}

impl Clock for LimitClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let now = u64::try_from(self.world.now().as_nanosecond()).unwrap_or(0);
        now.saturating_sub(*self.origin.get_or_init(|| now)).into()
    }
}

/// Per key, the time at which its whole allowance is there again: all the state GCRA has.
/// Our own map, and not governor's, because that one can't be read without charging.
struct Cells<K>(Arc<DashMap<K, Nanos>>);

impl<K: Eq + Hash + Clone> StateStore for Cells<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut cell = self.0.entry(key.clone()).or_default();
        let before = (*cell != Nanos::default()).then_some(*cell);
        let (outcome, after) = decide(before)?;
        *cell = after;
        Ok(outcome)
    }
}

struct Limiter<K: Eq + Hash + Clone> {
    per_minute: NonZeroU32,
    clock: LimitClock,
    cells: Arc<DashMap<K, Nanos>>,
    governor: RateLimiter<K, Cells<K>, LimitClock, NoOpMiddleware<Nanos>>,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    fn per_minute(per_minute: NonZeroU32, world: &World) -> Self {
        let (cells, clock) = (Arc::new(DashMap::new()), LimitClock::new(world));
        let governor = RateLimiter::new(Quota::per_minute(per_minute), Cells(cells.clone()), clock.clone());
        Self { per_minute, clock, cells, governor }
    }

    /// Nanoseconds until the key's whole allowance is there again.
    fn owed(&self, key: &K) -> u64 {
        self.cells.get(key).map_or(0, |cell| cell.duration_since(self.clock.now()).as_u64())
    }

    fn standing(&self, key: &K, wait: Option<Duration>) -> RateLimit {
        let (limit, minute) = (self.per_minute.get(), 60_000_000_000);
        let owed = self.owed(key);
        let used = u32::try_from(owed.saturating_mul(u64::from(limit)).div_ceil(minute)).unwrap_or(limit);
        let refill = i64::try_from(owed.div_ceil(1_000_000_000)).unwrap_or(60);
        RateLimit {
            limit,
            remaining: limit.saturating_sub(used),
            reset: self.clock.world.now().as_second() + refill,
            retry_after: wait.map(|wait| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)),
        }
    }

    fn charge(&self, key: &K, cost: u32) -> Result<RateLimit, RateLimit> {
        let Some(cost) = NonZeroU32::new(cost) else { return Ok(self.standing(key, None)) };
        let wait = |not_until: NotUntil<Nanos>| not_until.wait_time_from(self.clock.now());
        match self.governor.check_key_n(key, cost) {
            Ok(Ok(_)) => Ok(self.standing(key, None)),
            Ok(Err(not_until)) => Err(self.standing(key, Some(wait(not_until)))),
            // More than the plan ever allows at once.
            Err(_) => Err(self.standing(key, Some(Duration::from_secs(60)))),
        }
    }

    /// Forgets keys whose allowance is whole again.
    fn forget_idle(&self) {
        let now = self.clock.now();
        self.cells.retain(|_, cell| *cell > now);
    }
}

/// What has one allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// A key and all that descends from it, by the first of them.
    Key(KeyId),
    /// An account's programs that signed in with its password, all together.
    Account(AccountId),
}

/// One limiter per rate, one cell per bucket.
pub struct PlanLimits {
    plans: BTreeMap<String, NonZeroU32>,
    limiters: DashMap<NonZeroU32, Arc<Limiter<Bucket>>>,
    world: World,
}

impl PlanLimits {
    pub fn new(plans: &BTreeMap<String, Plan>, world: &World) -> Self {
        let rate = |plan: &Plan| NonZeroU32::new(plan.requests_per_minute);
        Self {
            plans: plans.iter().filter_map(|(name, plan)| Some((name.clone(), rate(plan)?))).collect(),
            limiters: DashMap::new(),
            world: world.clone(),
        }
    }

    /// How many requests a minute there are: a key's own limit, else its plan's. A plan that left the configuration
    /// fails closed onto the smallest one.
    fn rate(&self, plan: &str, own: Option<u32>) -> Option<NonZeroU32> {
        own.and_then(NonZeroU32::new).or_else(|| self.plans.get(plan).or_else(|| self.plans.values().min()).copied())
    }

    fn limiter(&self, rate: NonZeroU32) -> Arc<Limiter<Bucket>> {
        if let Some(limiter) = self.limiters.get(&rate) {
            return limiter.clone();
        }
        self.limiters.entry(rate).or_insert_with(|| Arc::new(Limiter::per_minute(rate, &self.world))).clone()
    }

    /// The most one call may cost.
    pub fn per_minute(&self, plan: &str, own: Option<u32>) -> Option<u32> {
        self.rate(plan, own).map(NonZeroU32::get)
    }

    /// Takes `cost` from an allowance. `Err`: it was not there, and nothing was taken.
    pub fn charge(&self, plan: &str, own: Option<u32>, bucket: Bucket, cost: u32) -> Result<Option<RateLimit>, RateLimit> {
        self.rate(plan, own).map(|rate| self.limiter(rate).charge(&bucket, cost)).transpose()
    }

    /// Where an allowance stands; takes nothing.
    pub fn standing(&self, plan: &str, own: Option<u32>, bucket: Bucket) -> Option<RateLimit> {
        self.rate(plan, own).map(|rate| self.limiter(rate).standing(&bucket, None))
    }

    pub fn forget_idle(&self) {
        self.limiters.iter().for_each(|limiter| limiter.forget_idle());
    }
}

/// A brake on polls with claim tokens nobody issued: 60 a minute per source.
pub struct SourceLimit(Limiter<String>);

impl SourceLimit {
    pub fn new(world: &World) -> Self {
        Self(Limiter::per_minute(NonZeroU32::MIN.saturating_add(59), world))
    }

    pub fn charge(&self, source: &Source) -> Result<(), Error> {
        self.0.charge(&source.bucket(), 1).map(|_| ()).map_err(|standing| Error::TooMany {
            detail: "too many polls with unknown claim tokens from this address".to_owned(),
            retry_after: standing.retry_after.unwrap_or(60),
        })
    }

    pub fn forget_idle(&self) {
        self.0.forget_idle();
    }
}
