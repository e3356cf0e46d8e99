//! Rate limits of plans: GCRA by `governor`, exact under concurrency, decided in memory.
//!
//! All the state GCRA (ITU-T I.371) has is one time per allowance: the theoretical arrival time, at which it is replenished. These
//! times are written to the store behind the requests, so that a restart gives nobody a fresh allowance.

use crate::{
    api::{error::Error, verification::RateLimit},
    cache::{
        cached_account::CachedAccount,
        cached_key::CachedKey,
        meter::{Meter, Meters},
    },
    config::settings::Plan,
    domain::{rate_limit::RateLimitKey, source::Source},
    platform::runtime::Runtime,
    store::{access::Read, error::StoreError},
};
use dashmap::DashMap;
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::DashMapStateStore},
};
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering},
    time::Duration,
};

const SECOND_NANOS: u64 = 1_000_000_000;

const MINUTE_NANOS: u64 = 60 * SECOND_NANOS;

/// Allowances written at once: those that owe most go first, and a store's writer stays free for others.
const MAX_METERS_PER_WRITE: usize = 5_000;

/// The runtime's monotonic clock in governor's terms: Unix nanoseconds. governor keeps its states relative to the first
/// reading of its clock; that one is the epoch, so states mean the same to every limiter and in the store.
#[derive(Clone)]
struct LimitClock {
    runtime: Runtime,
    first: Arc<OnceLock<()>>,
}

impl LimitClock {
    fn new(runtime: &Runtime) -> Self {
        Self { runtime: runtime.clone(), first: Arc::default() }
    }
}

impl Clock for LimitClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        if self.first.set(()).is_ok() { Nanos::default() } else { self.runtime.monotonic_nanos().into() }
    }
}

/// Allowances are kept on meters, which can be read without charging.
struct OnMeters;

impl StateStore for OnMeters {
    type Key = Arc<Meter>;

    fn measure_and_replace<T, F, E>(&self, meter: &Arc<Meter>, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        meter.change(decide)
    }
}

/// One rate. Others may be applied to the same meters.
struct Limiter {
    per_minute: NonZeroU32,
    clock: LimitClock,
    governor: RateLimiter<Arc<Meter>, OnMeters, LimitClock, NoOpMiddleware<Nanos>>,
}

impl Limiter {
    fn new(per_minute: NonZeroU32, runtime: &Runtime) -> Self {
        let clock = LimitClock::new(runtime);
        Self { per_minute, governor: RateLimiter::new(Quota::per_minute(per_minute), OnMeters, clock.clone()), clock }
    }

    fn status(&self, meter: &Meter, wait: Option<Duration>) -> RateLimit {
        let owed = meter.tat().duration_since(self.clock.now()).as_u64();
        let limit = self.per_minute.get();
        let used = u32::try_from(owed.saturating_mul(u64::from(limit)).div_ceil(MINUTE_NANOS)).unwrap_or(limit);
        let refill = i64::try_from(owed.div_ceil(SECOND_NANOS)).unwrap_or(60);
        RateLimit {
            limit,
            remaining: limit.saturating_sub(used),
            reset: self.clock.runtime.now().as_second() + refill,
            retry_after: wait.map(seconds),
        }
    }

    /// Undoes a charge.
    fn give_back(&self, meter: &Meter, cost: u32) {
        let taken = u64::from(cost) * (MINUTE_NANOS / u64::from(self.per_minute.get()));
        let Ok(()) =
            meter.change(|at| Ok::<_, std::convert::Infallible>(((), at.unwrap_or_default().as_u64().saturating_sub(taken).into())));
    }

    fn charge(&self, meter: &Arc<Meter>, cost: u32) -> Result<RateLimit, RateLimit> {
        let Some(cost) = NonZeroU32::new(cost) else { return Ok(self.status(meter, None)) };
        let wait = |not_until: NotUntil<Nanos>| not_until.wait_time_from(self.clock.now());
        match self.governor.check_key_n(meter, cost) {
            Ok(Ok(())) => Ok(self.status(meter, None)),
            Ok(Err(not_until)) => Err(self.status(meter, Some(wait(not_until)))),
            // More than the plan ever allows at once.
            Err(_) => Err(self.status(meter, Some(Duration::from_secs(60)))),
        }
    }
}

/// Whole seconds to wait, at least one.
fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Of two limits that both hold, the one that ends first.
fn tighter(one: RateLimit, other: RateLimit) -> RateLimit {
    if other.remaining < one.remaining { other } else { one }
}

/// One limiter per rate; every allowance is there once, so changing a plan frees nobody.
pub struct PlanLimits {
    plans: BTreeMap<String, Arc<Limiter>>,
    /// Of keys that have a rate of their own.
    limiters: DashMap<NonZeroU32, Arc<Limiter>>,
    meters: Arc<Meters>,
    /// Meters the store is to learn of.
    charged: Mutex<Vec<Arc<Meter>>>,
    /// What the store holds.
    stored: Mutex<HashMap<RateLimitKey, Nanos>>,
    runtime: Runtime,
}

/// What the store should learn: allowances that were charged, and those that are replenished.
pub(crate) struct Unwritten {
    pub(crate) charged: Vec<(Arc<Meter>, Nanos)>,
    pub(crate) replenished: Vec<RateLimitKey>,
}

impl PlanLimits {
    /// A limiter for each plan. Those of keys with a limit of their own are made when they are first used.
    pub fn new(plans: &BTreeMap<String, Plan>, meters: Arc<Meters>, runtime: &Runtime) -> Self {
        let limiter = |plan: &Plan| Some(Arc::new(Limiter::new(NonZeroU32::new(plan.requests_per_minute)?, runtime)));
        Self {
            plans: plans.iter().filter_map(|(name, plan)| Some((name.clone(), limiter(plan)?))).collect(),
            limiters: DashMap::new(),
            meters,
            charged: Mutex::default(),
            stored: Mutex::default(),
            runtime: runtime.clone(),
        }
    }

    /// Goes on where the last process stopped. No allowance is owed for longer than a minute, so a clock that was set
    /// back in between blocks nobody for long.
    pub fn restore(&self, stored: Vec<(RateLimitKey, u64)>) {
        let now = self.runtime.monotonic_nanos();
        for (key, tat) in stored {
            self.stored().insert(key, tat.into());
            if tat > now {
                self.meters.of(key).set_tat(tat.min(now + MINUTE_NANOS).into());
            }
        }
    }

    fn stored(&self) -> MutexGuard<'_, HashMap<RateLimitKey, Nanos>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What limits a key: its own rate, else its plan's. A plan that left the configuration fails closed onto the
    /// smallest one.
    fn limiter_of(&self, plan: &str, own: Option<u32>) -> Option<Arc<Limiter>> {
        let of_plan = || self.plans.get(plan).or_else(|| self.plans.values().min_by_key(|plan| plan.per_minute)).cloned();
        own.and_then(NonZeroU32::new).map(|rate| self.limiter(rate)).or_else(of_plan)
    }

    fn limiter(&self, rate: NonZeroU32) -> Arc<Limiter> {
        if let Some(limiter) = self.limiters.get(&rate) {
            return limiter.clone();
        }
        self.limiters.entry(rate).or_insert_with(|| Arc::new(Limiter::new(rate, &self.runtime))).clone()
    }

    /// Takes `cost` from what an account's programs may use.
    ///
    /// # Errors
    /// Where the limit stands, when so much was not there; nothing was taken.
    pub fn charge_account(&self, account: &CachedAccount, cost: u32) -> Result<Option<RateLimit>, RateLimit> {
        let charge = |limiter: Arc<Limiter>| self.charge(&limiter, &self.meters.of(RateLimitKey::Account(account.id)), cost);
        self.limiter_of(&account.plan, None).map(charge).transpose()
    }

    /// Takes `cost` from what a key may use: the limits it and its ancestors have of their own, and its lineage's.
    ///
    /// # Errors
    /// Where the limit stands that has no room; nothing was taken from any.
    pub fn charge_key(&self, key: &CachedKey, cost: u32) -> Result<Option<RateLimit>, RateLimit> {
        let mut tightest = None;
        for (before, (limiter, meter)) in self.limiters_of(key).enumerate() {
            match self.charge(&limiter, meter, cost) {
                Ok(status) => tightest = Some(tightest.map_or(status, |so_far| tighter(so_far, status))),
                Err(over) => {
                    // A refused call costs nothing anywhere.
                    self.limiters_of(key).take(before).for_each(|(limiter, meter)| limiter.give_back(meter, cost));
                    return Err(over);
                }
            }
        }
        Ok(tightest)
    }

    fn charge(&self, limiter: &Limiter, meter: &Arc<Meter>, cost: u32) -> Result<RateLimit, RateLimit> {
        let status = limiter.charge(meter, cost)?;
        if self.is_depleted(meter) {
            self.list(meter);
        }
        Ok(status)
    }

    /// Whether a restart within a second would give something back: what is replenished by then is not written.
    fn is_depleted(&self, meter: &Meter) -> bool {
        meter.tat().as_u64() > self.runtime.monotonic_nanos() + SECOND_NANOS
    }

    /// Puts a meter that was charged among those to write, once.
    pub(crate) fn list(&self, meter: &Arc<Meter>) {
        if !meter.listed.swap(true, Ordering::AcqRel) {
            self.charged.lock().unwrap_or_else(PoisonError::into_inner).push(meter.clone());
        }
    }

    /// Where a key stands; takes nothing.
    pub fn rate_limit_status_of_key(&self, key: &CachedKey) -> Option<RateLimit> {
        self.limiters_of(key).map(|(limiter, meter)| limiter.status(meter, None)).reduce(tighter)
    }

    /// The most one call of a key may cost.
    pub fn max_cost(&self, key: &CachedKey) -> Option<u32> {
        self.limiters_of(key).map(|(limiter, _)| limiter.per_minute.get()).min()
    }

    /// Everything a key's calls count against; its lineage's allowance last.
    fn limiters_of<'a>(&self, key: &'a CachedKey) -> impl Iterator<Item = (Arc<Limiter>, &'a Arc<Meter>)> {
        let own = key.own_limits().iter().filter_map(|(meter, limit)| Some((self.limiter(NonZeroU32::new(*limit)?), meter)));
        let lineage = self.limiter_of(&key.account.plan, key.lineage_limit()).map(|limiter| (limiter, key.allowance()));
        own.chain(lineage)
    }

    /// What the store should learn now; `all` of it, or what is worth it.
    pub(crate) fn unwritten(&self, all: bool) -> Unwritten {
        let now = Nanos::from(self.runtime.monotonic_nanos());
        let listed = std::mem::take(&mut *self.charged.lock().unwrap_or_else(PoisonError::into_inner));
        // Before they are read: who charges from now on lists them again.
        listed.iter().for_each(|meter| meter.listed.store(false, Ordering::Release));
        let candidates = if all { self.meters.depleted(now) } else { listed.into_iter().filter(|meter| self.is_depleted(meter)).collect() };
        let stored = self.stored();
        let unknown = |meter: Arc<Meter>| Some(meter.tat()).filter(|at| stored.get(&meter.of) != Some(at)).map(|at| (meter, at));
        let mut charged: Vec<_> = candidates.into_iter().filter_map(unknown).collect();
        let most = if all { usize::MAX } else { MAX_METERS_PER_WRITE };
        if charged.len() > most {
            charged.sort_unstable_by_key(|(_, tat)| std::cmp::Reverse(*tat));
            charged.drain(most..).for_each(|(meter, _)| self.list(&meter));
        }
        // One whose stored time has passed may have been charged again since.
        let is_replenished = |key: RateLimitKey| self.meters.find(key).is_none_or(|meter| meter.tat() <= now);
        let passed = stored.iter().filter(|(_, tat)| **tat <= now).map(|(key, _)| *key);
        let replenished = passed.filter(|key| is_replenished(*key)).take(most).collect();
        Unwritten { charged, replenished }
    }

    /// Takes note that these rows are stored now.
    pub(crate) fn written(&self, Unwritten { charged, replenished }: &Unwritten) {
        let mut stored = self.stored();
        stored.extend(charged.iter().map(|(meter, at)| (meter.of, *at)));
        for key in replenished {
            stored.remove(key);
        }
    }
}

/// The allowances the last process left behind.
pub fn stored_limits(tx: &dyn Read) -> Result<Vec<(RateLimitKey, u64)>, StoreError> {
    Ok(tx.rate_limits().all()?.into_iter().map(|stored| (stored.of, stored.tat)).collect())
}

/// A limit on polls with claim tokens nobody issued: 60 a minute per source.
pub struct SourceLimit {
    clock: LimitClock,
    governor: RateLimiter<String, DashMapStateStore<String>, LimitClock, NoOpMiddleware<Nanos>>,
}

impl SourceLimit {
    /// Empty: what an address did before the start is forgotten.
    pub fn new(runtime: &Runtime) -> Self {
        let (clock, quota) = (LimitClock::new(runtime), Quota::per_minute(NonZeroU32::MIN.saturating_add(59)));
        Self { governor: RateLimiter::new(quota, DashMapStateStore::default(), clock.clone()), clock }
    }

    /// Counts one poll with an unknown token against an address.
    ///
    /// # Errors
    /// [`Error::TooMany`] past sixty in a minute.
    pub fn charge(&self, source: &Source) -> Result<(), Error> {
        self.governor.check_key(&source.rate_limit_key()).map_err(|not_until| Error::TooMany {
            detail: "too many polls with unknown claim tokens from this address".to_owned(),
            retry_after: seconds(not_until.wait_time_from(self.clock.now())),
        })
    }

    /// Drops addresses whose allowance is whole again.
    pub fn forget_idle(&self) {
        self.governor.retain_recent();
    }
}
