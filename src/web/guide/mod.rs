//! `/docs`: the guide, its search and the list of calls. Everything is read from the program itself.

pub mod frame;
pub mod markdown;
pub mod pages;
pub mod search;
pub mod welcome;
