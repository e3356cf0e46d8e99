//! JSON for programs: agent-auth, the OAuth endpoints, keys, discovery, health. Handlers parse, make one service
//! call, render; errors travel as values and get their envelope once, at the edge of their family (`envelope`).

pub mod agent_auth;
pub mod discovery;
pub mod envelope;
pub(crate) mod error;
pub mod extract;
pub(crate) mod functions;
pub(crate) mod health;
pub mod key_response;
pub mod oauth;
pub mod openapi;
pub(crate) mod password_grant;
pub mod rate_limit_headers;
pub(crate) mod response;
pub(crate) mod routes;
pub mod shared_body;
pub mod v1;
