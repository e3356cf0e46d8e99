//! Facts about the running product. `support` builds it over a temporary store with a clock that the test moves;
//! then one module per subject. A test is about six lines and its name is the fact. Those that cover a case of the
//! attack list (`attacks.md`) start with its number.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and clippy sees only `#[test]` functions as tests, not what they call"
)]

#[macro_use]
mod support;

mod accounts;
mod accounts_operator;
mod admin;
mod agents;
mod attack_list;
mod authorize;
mod backup;
mod brand;
mod browsers;
mod callers;
mod canary;
mod ceremony;
mod ceremony_delivery;
mod ceremony_polls;
mod clients;
mod clock_back;
mod codes;
mod config;
mod connect;
mod crash;
mod delivery;
mod discovery;
mod disk;
mod documented;
mod durable;
mod elsewhere;
mod ended;
mod errors;
mod extremes;
mod floods;
mod functions;
mod guide;
mod guide_links;
mod hosts;
mod house;
mod http_agent;
mod http_credentials;
mod http_hygiene;
mod http_keys;
mod http_token;
mod http_verify;
mod humans;
mod idempotency;
mod introspect;
mod kept;
mod keys;
mod keys_edit;
mod keys_rotate;
mod keys_verdicts;
mod left;
mod limits;
mod lineage;
mod masked;
mod mcp_clients;
mod mcp_eras;
mod mcp_http;
mod mcp_http_refused;
mod mcp_http_sessions;
mod mcp_lives;
mod mcp_sse;
mod names;
mod negotiation;
mod next_steps;
mod openapi;
mod operations;
mod own_files;
mod pages;
mod pages_activity;
mod pages_agents;
mod pages_claim;
mod pages_forms;
mod pages_keys;
mod pages_security;
mod pasted;
mod portal;
mod process;
mod process_killed;
mod process_stdio;
mod products;
mod program_sessions;
mod promises;
mod promises_keys;
mod promises_magpipe;
mod properties;
mod races;
mod read_path;
mod review;
mod revoked;
mod seals;
mod secrets;
mod spelling;
mod squatters;
mod step_up;
mod store;
mod store_feed;
mod takeover;
mod terminal;
mod tools_contract;
mod untaken;
mod usage;
mod waits;
