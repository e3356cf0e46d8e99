//! Countersign: an AI agent asks for access, a human countersigns, the agent receives its own scoped API key.
//!
//! The rooms, and the one way the arrows point: `main → http, web, mcp → service → store → domain`.
//!
//! * [`domain`]: the rules. No I/O, no clock, no global randomness. Start with [`domain::registration`].
//! * [`store`]: where things are kept; the only place that names an engine.
//! * [`service`]: the use cases. A rule that two transports need lives here.
//! * [`http`]: JSON for programs; [`web`]: pages for humans; [`mcp`]: tools for agents.
//! * [`owner`]: which process of this computer holds the store, and how the others reach it.
//! * [`credentials`]: keys this computer's user received.
//! * [`memory`]: small pages for few keys, huge ones for many.
//! * [`guide`]: the manual, compiled in: `/docs` and `countersign docs`.
//! * [`cli`]: the command line; [`config`]: one configuration; [`world`]: time and randomness.

// Of times and lengths of time, that is: see `.clippy.toml`.
#![deny(clippy::arithmetic_side_effects)]
// They end the process when nobody reads: `cli/print.rs` writes.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod config;
pub mod credentials;
pub mod domain;
pub mod guide;
pub mod http;
pub mod mcp;
pub mod memory;
pub mod owner;
pub mod service;
pub mod store;
pub mod web;
pub mod world;
