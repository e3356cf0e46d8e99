//! The claim ceremony.

pub mod poll;
pub mod request;
pub mod transitions;
