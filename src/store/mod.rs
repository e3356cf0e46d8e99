//! Where things are kept: a contract that engines fulfil, and the only place that names one.
//!
//! The contract, tested by one suite against every engine:
//! * a write is a pure closure over one transaction; it may be run again, and either all of it happens or nothing;
//! * transactions are serializable, so *look, decide, change* inside one closure is safe against races;
//! * a write that returned `Ok` is on disk: a kill or a power cut loses nothing acknowledged but counts
//!   ([`is_written_behind`](declaration::is_written_behind));
//! * a read returns nothing that a crash could still take back;
//! * each commit has a [revision](changes::Revision), and [followers](changes::Follower) in this process know of it before it is
//!   acknowledged: in order, none left out, from a moment between two commits on ([`feed`]);
//! * indexes change in the transaction that changes their row ([`row::save`]), and every list is paged;
//! * on a disk that is nearly full, changes that take rights away go on when others are refused ([`Write::takes_away`](access::Write::takes_away));
//! * a failing disk takes writes away and, once there is room again, gives them back without a restart;
//! * a job that panics, one that reads as well as one that writes, fails alone: nothing of it is kept, and the others of
//!   its group go on. What panics outside a job ends the store, which then says so ([`Engine::ended`](engine::Engine::ended)).

pub mod access;
pub mod backup;
pub mod changes;
pub mod check;
pub mod declaration;
pub mod engine;
pub mod error;
pub mod feed;
pub mod handle;
pub mod journal;
pub mod open;
pub mod row;
pub mod sled;
pub mod table;
pub mod tables;
pub mod tx;
pub mod walk;
