//! Countersign: an AI agent asks for access, a human countersigns, the agent receives its own scoped API key.
//!
//! The rooms, from the roof down. A file may use what stands below its room, never what stands above:
//!
//! * [`cli`]: the command line: parse, one call, print.
//! * [`server`]: what surrounds every request: listener, guard, routes.
//! * [`mcp`]: tools for agents; [`web`]: pages for humans; [`http`]: JSON for programs.
//! * [`client`]: the use cases wherever they run: here, in another process of this computer, on a server.
//! * [`instance`]: which process of this computer holds the data, and how the others reach it.
//! * [`service`]: the use cases. A rule that two transports need lives here.
//! * [`local_keys`]: keys that this computer's user received.
//! * [`cache`]: what is held in memory of what is stored.
//! * [`store`]: where things are kept; the only place that names an engine.
//! * [`api`]: what travels over the wire, and the one catalogue of errors.
//! * [`config`]: one configuration.
//! * [`guide`]: the manual, compiled in: `/docs` and `countersign docs`.
//! * [`domain`]: the rules. No I/O, no clock, no global randomness. Start with [`domain::registration`].
//! * [`platform`]: what the operating system gives: time, randomness, memory, private files.

// Of times and lengths of time, that is: see `.clippy.toml`.
#![deny(clippy::arithmetic_side_effects)]
// They end the process when nobody reads: `cli/print.rs` writes.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod api;
pub mod cache;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod guide;
pub mod http;
pub mod instance;
pub mod local_keys;
pub mod mcp;
pub mod platform;
pub mod server;
pub mod service;
pub mod store;
pub mod web;
