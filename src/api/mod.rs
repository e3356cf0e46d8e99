//! What travels over the wire, whichever transport carries it: types and the one error catalogue.

pub mod accounts;
pub mod agents;
pub mod claims;
pub mod error;
pub mod error_catalogue;
pub mod keys;
pub mod next_step;
pub mod restored;
pub mod usage;
pub mod values;
pub mod verification;
