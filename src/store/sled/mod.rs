//! The embedded engine: sled 0.34. One thread writes (`writer`), everybody reads (`view`), and a database that
//! failed is opened again within the process.

pub mod engine;
pub(crate) mod files;
pub(crate) mod room;
pub(crate) mod snapshot;
pub(crate) mod view;
pub(crate) mod writer;
