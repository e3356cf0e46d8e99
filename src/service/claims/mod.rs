//! The claim ceremony: register, enter a code, review, decide, poll, deliver.

pub mod agents;
pub mod attempt;
pub mod decide;
pub(crate) mod decision_waiters;
pub mod deliver;
pub mod enter_code;
pub mod pickup;
pub(crate) mod poll;
pub mod register;
pub mod registrations;
pub mod review;
pub mod state;
