//! What accounts hold in memory.

use std::sync::Mutex;

/// How far the upkeep's walk through all lines has come: accounts one after the other, newest lines first.
#[derive(Default)]
pub struct ActivitySweep(pub(crate) Mutex<Steps>);

#[derive(Default, Clone)]
pub struct Steps {
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) account: Vec<u8>,
    pub(crate) seen: usize,
}
