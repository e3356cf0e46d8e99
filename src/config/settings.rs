//! The settings, their defaults and what each means.

use crate::{
    config::{
        brand,
        values::{Lifetime, Ttl},
    },
    domain::{
        environment::Environment,
        key_format::Body,
        registration::poll::USUAL_INTERVAL_SECONDS,
        scope::{Risk, Scope, ScopeInfo},
    },
};
use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr};

/// The error envelope outside OAuth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Flat,
    Nested,
    Problem,
}

/// Who may make an account from a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signup {
    Open,
    Closed,
    /// Open on a loopback `public_url` only.
    Auto,
}

/// What an agent's e-mail hint means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginHint {
    /// Shown, nothing more.
    Display,
    /// Only that account, with a verified e-mail, may decide.
    Bind,
}

/// What becomes of a registration that asks for scopes agents can't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownScopes {
    Drop,
    Reject,
}

/// One deployment's settings: a member each, a table of the file for each group of them. `src/guide/configuration.md` says what
/// they do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    pub service_name: String,
    pub listen: SocketAddr,
    /// Whether that port was chosen, rather than being what it is by default.
    #[serde(skip)]
    pub port_is_chosen: bool,
    /// Variables of the environment that start like ours and are no settings.
    #[serde(skip)]
    pub left_alone: Vec<String>,
    /// Settings there were once and that are set all the same.
    #[serde(skip)]
    pub retired: Vec<String>,
    pub public_url: String,
    pub pages_url: String,
    /// What programs may call us beside the published names, as they write it in `Host`.
    pub hosts: Vec<String>,
    pub environment: Environment,
    pub profile: Profile,
    pub signup: Signup,
    pub trusted_proxies: Vec<IpNet>,
    pub secret_file: String,
    pub http: Http,
    pub auth: Auth,
    pub brand: Brand,
    pub api: Api,
    pub store: StoreConfig,
    pub backup: Backup,
    pub keys: Keys,
    pub scopes: BTreeMap<Scope, ScopeInfo>,
    pub plans: BTreeMap<String, Plan>,
    pub claim: Claim,
    pub sessions: Sessions,
    pub signin: Signin,
    pub limits: LimitSettings,
    pub mcp: Mcp,
}

/// `[http]`: what browsers of other origins may do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    pub cors_origins: Vec<String>,
}

/// `[auth]`: where a key is read from beside `Authorization`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    pub extra_headers: bool,
}

/// `[brand]`: what pages look like and link to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Brand {
    pub logo_file: String,
    pub accent: String,
    pub terms_url: String,
    pub privacy_url: String,
    pub support_url: String,
    /// Made of `accent`.
    #[serde(skip)]
    pub colours: Option<brand::Accent>,
    /// What `logo_file` holds.
    #[serde(skip)]
    pub logo: Option<brand::Logo>,
}

/// `[api]`: the service whose keys these are, for texts that tell agents where to use them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Api {
    pub url: String,
    pub docs_url: String,
    pub key_env: String,
    pub r#try: String,
}

/// `[store]`: where rows are kept, and how many of them in memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    pub url: String,
    /// Keys held in memory for verification, about 300 bytes each.
    pub cached_keys: usize,
}

/// `[backup]`: what a restore needs beside the backup.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Backup {
    /// The file that notes what is taken away from keys and accounts, best on another disk.
    pub journal: String,
}

/// `[keys]`: how keys look, and how many an account may have.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Keys {
    pub prefix: String,
    pub format: Body,
    pub environments: bool,
    pub offered_environments: Vec<Environment>,
    pub max_active_per_account: u32,
}

/// `[plans.NAME]`: what an account's keys may use.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub requests_per_minute: u32,
}

/// `[claim]`: how long each step of the ceremony may take, and what agents may ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Claim {
    pub code_ttl: Ttl,
    pub registration_ttl: Ttl,
    pub interval: u16,
    pub key_ttl: Lifetime,
    pub login_hint: LoginHint,
    pub unknown_scopes: UnknownScopes,
    pub grantable: Vec<Scope>,
}

/// `[sessions]`: whether programs may sign in with a human's password, and by which public key they name themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sessions {
    pub password_grant: bool,
    pub publishable_key: String,
}

/// `[signin]`: where humans sign in, if a service does that itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signin {
    pub url: String,
}

/// `[limits]`: how many registrations there may be, of one address and of all.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitSettings {
    pub registrations_per_hour: u32,
    /// Past this many waiting registrations the oldest ends.
    pub pending_registrations: u32,
    pub sources: BTreeMap<IpNet, u32>,
}

/// `[mcp]`: what the tools offer beside the present transport and delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Mcp {
    pub legacy_sse: bool,
    pub allow_inline_delivery: bool,
}

impl Default for Config {
    fn default() -> Self {
        let scope = |name: &str, title: &str, risk, default| {
            let info = ScopeInfo { title: title.to_owned(), risk, default, agents: true };
            name.parse().ok().map(|scope: Scope| (scope, info))
        };
        Self {
            service_name: "Countersign".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 4080)),
            port_is_chosen: false,
            left_alone: Vec::new(),
            retired: Vec::new(),
            public_url: String::new(),
            pages_url: String::new(),
            environment: Environment::Live,
            profile: Profile::Flat,
            signup: Signup::Auto,
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            secret_file: String::new(),
            http: Http::default(),
            auth: Auth::default(),
            brand: Brand::default(),
            api: Api::default(),
            store: StoreConfig::default(),
            backup: Backup::default(),
            keys: Keys::default(),
            scopes: [
                scope("audience:read", "View subscribers, tags and segments", Risk::Low, true),
                scope("email:send", "Send e-mails to subscribers", Risk::High, false),
            ]
            .into_iter()
            .flatten()
            .collect(),
            plans: [("free", 10), ("pro", 100), ("enterprise", 1000)]
                .map(|(name, requests_per_minute)| (name.to_owned(), Plan { requests_per_minute }))
                .into(),
            claim: Claim::default(),
            sessions: Sessions::default(),
            signin: Signin::default(),
            limits: LimitSettings::default(),
            mcp: Mcp::default(),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self { extra_headers: true }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self { url: String::new(), docs_url: String::new(), key_env: "COUNTERSIGN_API_KEY".to_owned(), r#try: "/v1/projects".to_owned() }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "sled:".to_owned(), cached_keys: 1_000_000 }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            prefix: "cs".to_owned(),
            format: Body::Checksummed,
            environments: true,
            offered_environments: Vec::new(),
            max_active_per_account: 0,
        }
    }
}

impl Default for Claim {
    fn default() -> Self {
        let reserved = ["keys:read", "keys:revoke"];
        Self {
            code_ttl: Ttl(SignedDuration::from_mins(10)),
            registration_ttl: Ttl(SignedDuration::from_hours(1)),
            interval: USUAL_INTERVAL_SECONDS,
            key_ttl: Lifetime(Some(SignedDuration::from_hours(24 * 90))),
            login_hint: LoginHint::Display,
            unknown_scopes: UnknownScopes::Drop,
            grantable: reserved.iter().filter_map(|scope| scope.parse().ok()).collect(),
        }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { registrations_per_hour: 10, pending_registrations: 100_000, sources: BTreeMap::new() }
    }
}

impl Default for Mcp {
    fn default() -> Self {
        Self { legacy_sse: true, allow_inline_delivery: false }
    }
}
