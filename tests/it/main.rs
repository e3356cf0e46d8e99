//! Facts about the running product. `support` builds it over a temporary store with a clock that the test moves;
//! then one module per subject. A test is about six lines and its name is the fact. Those that cover a case of the
//! attack list start with its number.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and clippy sees only `#[test]` functions as tests, not what they call"
)]

#[macro_use]
mod support;

mod accounts;
mod agents;
mod canary;
mod ceremony;
mod config;
mod connect;
mod delivery;
mod discovery;
mod elsewhere;
mod http_agent;
mod http_hygiene;
mod http_keys;
mod idempotency;
mod keys;
mod keys_edit;
mod keys_rotate;
mod mcp_http;
mod openapi;
mod operations;
mod pages;
mod process;
mod properties;
mod races;
mod review;
mod secrets;
mod store;
mod takeover;
mod tools_contract;
mod usage;
