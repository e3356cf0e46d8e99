//! Rate limits of plans: GCRA by `governor`, exact under concurrency, decided in memory.
//!
//! All the state GCRA has is one time per allowance: when the whole of it is there again. These times are written to
//! the store behind the requests, so that a restart gives nobody a fresh allowance.

use crate::{
    config::Plan,
    domain::{
        id::{AccountId, KeyId},
        key::KeyFacts,
        source::Source,
    },
    service::{Error, Service, view::RateLimit},
    store::{Read, StoreError, Table, Write, rows},
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
use quick_cache::DefaultHashBuilder;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    num::NonZeroU32,
    str::FromStr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
/// Allowances written at once: those that owe most go first, and a store's writer stays free for others.
const BATCH: usize = 5_000;

/// The world's steady clock in governor's terms: Unix nanoseconds. governor keeps its states relative to the first
/// reading of its clock; that one is the epoch, so states mean the same to every limiter and in the store.
#[derive(Clone)]
struct LimitClock {
    world: World,
    first: Arc<OnceLock<()>>,
}

impl Clock for LimitClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        if self.first.set(()).is_ok() { Nanos::default() } else { self.world.steady().into() }
    }
}

/// Per allowance, the time at which the whole of it is there again.
/// Our own map, and not governor's, because that one can't be read without charging.
struct Cells<K>(Arc<CellMap<K>>);

type CellMap<K> = DashMap<K, Nanos, DefaultHashBuilder>;

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

/// One rate, applied to the allowances of a map that other rates may share.
struct Limiter<K: Eq + Hash + Clone> {
    per_minute: NonZeroU32,
    clock: LimitClock,
    cells: Arc<CellMap<K>>,
    governor: RateLimiter<K, Cells<K>, LimitClock, NoOpMiddleware<Nanos>>,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    fn new(per_minute: NonZeroU32, cells: Arc<CellMap<K>>, world: &World) -> Self {
        let clock = LimitClock { world: world.clone(), first: Arc::default() };
        let governor = RateLimiter::new(Quota::per_minute(per_minute), Cells(cells.clone()), clock.clone());
        Self { per_minute, clock, cells, governor }
    }

    fn standing(&self, key: &K, wait: Option<Duration>) -> RateLimit {
        let owed = self.cells.get(key).map_or(0, |cell| cell.duration_since(self.clock.now()).as_u64());
        let limit = self.per_minute.get();
        let used = u32::try_from(owed.saturating_mul(u64::from(limit)).div_ceil(MINUTE)).unwrap_or(limit);
        let refill = i64::try_from(owed.div_ceil(1_000_000_000)).unwrap_or(60);
        RateLimit {
            limit,
            remaining: limit.saturating_sub(used),
            reset: self.clock.world.now().as_second() + refill,
            retry_after: wait.map(|wait| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)),
        }
    }

    /// Undoes a charge.
    fn give_back(&self, key: &K, cost: u32) {
        if let Some(mut cell) = self.cells.get_mut(key) {
            let taken = u64::from(cost) * (MINUTE / u64::from(self.per_minute.get()));
            *cell = cell.as_u64().saturating_sub(taken).into();
        }
    }

    fn charge(&self, key: &K, cost: u32) -> Result<RateLimit, RateLimit> {
        let Some(cost) = NonZeroU32::new(cost) else { return Ok(self.standing(key, None)) };
        let wait = |not_until: NotUntil<Nanos>| not_until.wait_time_from(self.clock.now());
        match self.governor.check_key_n(key, cost) {
            Ok(Ok(())) => Ok(self.standing(key, None)),
            Ok(Err(not_until)) => Err(self.standing(key, Some(wait(not_until)))),
            // More than the plan ever allows at once.
            Err(_) => Err(self.standing(key, Some(Duration::from_secs(60)))),
        }
    }
}

/// Of two limits that both hold, the one that ends first.
fn tighter(one: RateLimit, other: RateLimit) -> RateLimit {
    if other.remaining < one.remaining { other } else { one }
}

/// Forgets allowances that are whole again.
fn forget_whole<K: Eq + Hash>(cells: &CellMap<K>, world: &World) {
    let now = Nanos::from(world.steady());
    cells.retain(|_, cell| *cell > now);
}

/// What has one allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// A key and all that descends from it, by the first of them.
    Key(KeyId),
    /// An account's programs that signed in with its password, all together.
    Account(AccountId),
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
        }
    }
}

impl FromStr for Bucket {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let key = || text.parse().map(Self::Key);
        let account = || text.parse().map(Self::Account);
        key().or_else(|_| account()).map_err(|_| StoreError::Corrupt(format!("a rate limit of {text}")))
    }
}

/// One limiter per rate; every allowance is there once, so changing a plan frees nobody.
pub struct PlanLimits {
    plans: BTreeMap<String, Arc<Limiter<Bucket>>>,
    /// Of keys that have a rate of their own.
    limiters: DashMap<NonZeroU32, Arc<Limiter<Bucket>>>,
    cells: Arc<CellMap<Bucket>>,
    /// What the store holds of `cells`.
    stored: Mutex<HashMap<Bucket, Nanos>>,
    world: World,
}

impl PlanLimits {
    pub fn new(plans: &BTreeMap<String, Plan>, world: &World) -> Self {
        let cells: Arc<CellMap<Bucket>> = Arc::default();
        let limiter = |plan: &Plan| Some(Arc::new(Limiter::new(NonZeroU32::new(plan.requests_per_minute)?, cells.clone(), world)));
        Self {
            plans: plans.iter().filter_map(|(name, plan)| Some((name.clone(), limiter(plan)?))).collect(),
            limiters: DashMap::new(),
            cells,
            stored: Mutex::default(),
            world: world.clone(),
        }
    }

    /// Goes on where the last process stopped. No allowance is owed for longer than a minute, so a clock that was set
    /// back in between blocks nobody for long.
    pub fn restore(&self, stored: Vec<(Bucket, u64)>) {
        let now = self.world.steady();
        let mut known = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        for (bucket, whole_at) in stored {
            known.insert(bucket, whole_at.into());
            if whole_at > now {
                self.cells.insert(bucket, whole_at.min(now + MINUTE).into());
            }
        }
    }

    /// What limits a key: its own rate, else its plan's. A plan that left the configuration fails closed onto the
    /// smallest one.
    fn limiter_of(&self, plan: &str, own: Option<u32>) -> Option<Arc<Limiter<Bucket>>> {
        let of_plan = || self.plans.get(plan).or_else(|| self.plans.values().min_by_key(|plan| plan.per_minute)).cloned();
        own.and_then(NonZeroU32::new).map(|rate| self.limiter(rate)).or_else(of_plan)
    }

    fn limiter(&self, rate: NonZeroU32) -> Arc<Limiter<Bucket>> {
        if let Some(limiter) = self.limiters.get(&rate) {
            return limiter.clone();
        }
        self.limiters.entry(rate).or_insert_with(|| Arc::new(Limiter::new(rate, self.cells.clone(), &self.world))).clone()
    }

    /// Takes `cost` from an allowance. `Err`: it was not there, and nothing was taken.
    pub fn charge(&self, plan: &str, own: Option<u32>, bucket: Bucket, cost: u32) -> Result<Option<RateLimit>, RateLimit> {
        self.limiter_of(plan, own).map(|limiter| limiter.charge(&bucket, cost)).transpose()
    }

    /// Takes `cost` from what a key may use: the limits it and its ancestors have of their own, and its lineage's.
    pub fn charge_key(&self, key: &KeyFacts, cost: u32) -> Result<Option<RateLimit>, RateLimit> {
        let mut tightest = None;
        for (before, (limiter, bucket)) in self.limiters_of(key).enumerate() {
            match limiter.charge(&bucket, cost) {
                Ok(standing) => tightest = Some(tightest.map_or(standing, |so_far| tighter(so_far, standing))),
                Err(over) => {
                    // A refused call costs nothing anywhere.
                    self.limiters_of(key).take(before).for_each(|(limiter, bucket)| limiter.give_back(&bucket, cost));
                    return Err(over);
                }
            }
        }
        Ok(tightest)
    }

    /// Where a key stands; takes nothing.
    pub fn standing_of_key(&self, key: &KeyFacts) -> Option<RateLimit> {
        self.limiters_of(key).map(|(limiter, bucket)| limiter.standing(&bucket, None)).reduce(tighter)
    }

    /// The most one call of a key may cost.
    pub fn most_at_once(&self, key: &KeyFacts) -> Option<u32> {
        self.limiters_of(key).map(|(limiter, _)| limiter.per_minute.get()).min()
    }

    /// Everything a key's calls count against; its lineage's allowance last.
    fn limiters_of(&self, key: &KeyFacts) -> impl Iterator<Item = (Arc<Limiter<Bucket>>, Bucket)> {
        let own = key.limits.own.iter().filter_map(|(id, limit)| Some((self.limiter(NonZeroU32::new(*limit)?), Bucket::Key(*id))));
        let lineage = self.limiter_of(&key.account.plan, key.limits.lineage).map(|limiter| (limiter, Bucket::Key(key.root)));
        own.chain(lineage)
    }

    pub fn forget_idle(&self) {
        forget_whole(&self.cells, &self.world);
    }

    /// What the store should learn: allowances charged since it last did, and (`None`) those that are whole again. Unless
    /// `all` are asked for, not those that will be whole by the time they are asked for again.
    fn unwritten(&self, all: bool) -> Vec<(Bucket, Option<Nanos>)> {
        let most = if all { usize::MAX } else { BATCH };
        let now = Nanos::from(self.world.steady());
        let soon = if all { now } else { now + Nanos::from(SECOND) };
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut charged: Vec<_> = self
            .cells
            .iter()
            .filter(|cell| *cell.value() > soon && stored.get(cell.key()) != Some(cell.value()))
            .map(|cell| (*cell.key(), Some(*cell.value())))
            .collect();
        charged.sort_unstable_by_key(|(_, whole_at)| std::cmp::Reverse(*whole_at));
        charged.truncate(most);
        charged.extend(stored.iter().filter(|(_, whole_at)| **whole_at <= now).map(|(bucket, _)| (*bucket, None)).take(most));
        charged
    }

    fn written(&self, changes: &[(Bucket, Option<Nanos>)]) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        for (bucket, whole_at) in changes {
            match whole_at {
                Some(whole_at) => stored.insert(*bucket, *whole_at),
                None => stored.remove(bucket),
            };
        }
    }
}

/// The allowances the last process left behind.
pub fn stored_limits(rows: &dyn Read) -> Result<Vec<(Bucket, u64)>, StoreError> {
    let found = rows.scan(Table::RateLimits, &[], None, crate::store::Order::Ascending, usize::MAX - 1)?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| Ok((String::from_utf8_lossy(&key).parse()?, rows::decode(&value)?));
    found.into_iter().map(read).collect()
}

impl Service {
    /// Writes what the store does not know yet of the limits. A kill forgets at most what was used since.
    pub(super) async fn flush_limits(&self, all: bool) -> Result<(), Error> {
        let changes = self.plans.unwritten(all);
        if changes.is_empty() {
            return Ok(());
        }
        let rows_to_write = changes.clone();
        self.store()
            .write(move |rows: &mut dyn Write| {
                for (bucket, whole_at) in &rows_to_write {
                    let key = bucket.to_string();
                    match whole_at {
                        Some(whole_at) => rows.put(Table::RateLimits, key.as_bytes(), whole_at.as_u64().to_string().into_bytes()),
                        None => rows.remove(Table::RateLimits, key.as_bytes()),
                    }
                }
                Ok::<_, Error>(())
            })
            .await?;
        self.plans.written(&changes);
        Ok(())
    }
}

/// A brake on polls with claim tokens nobody issued: 60 a minute per source.
pub struct SourceLimit(Limiter<String>);

impl SourceLimit {
    pub fn new(world: &World) -> Self {
        Self(Limiter::new(NonZeroU32::MIN.saturating_add(59), Arc::default(), world))
    }

    pub fn charge(&self, source: &Source) -> Result<(), Error> {
        self.0.charge(&source.bucket(), 1).map(|_| ()).map_err(|standing| Error::TooMany {
            detail: "too many polls with unknown claim tokens from this address".to_owned(),
            retry_after: standing.retry_after.unwrap_or(60),
        })
    }

    pub fn forget_idle(&self) {
        forget_whole(&self.0.cells, &self.0.clock.world);
    }
}
