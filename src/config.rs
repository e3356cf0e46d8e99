//! One configuration: defaults < file < environment < flags. An unknown key is an error that names the nearest known one.

use crate::domain::{
    key::{Body, Environment, KeyFormat},
    scope::{Catalogue, Risk, Scope, ScopeInfo},
};
use ipnet::IpNet;
use jiff::{SignedDuration, SpanRelativeTo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::{Table, Value};
use url::{Host, Url};

/// Why the configuration can't be used. The message says which key and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

fn wrong(message: impl Into<String>) -> ConfigError {
    ConfigError(message.into())
}

/// The error envelope outside OAuth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Flat,
    Nested,
    Problem,
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownScopes {
    Drop,
    Reject,
}

/// A length of time, written `10m`, `1h` or `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl(pub SignedDuration);

impl std::str::FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a length of time such as \"10m\", \"1h\" or \"90d\"");
        let span: jiff::Span = text.parse().map_err(|_| wrong())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        // Ten years: a sum of such times stays far from the end of the calendar.
        if duration <= SignedDuration::ZERO || duration > SignedDuration::from_hours(24 * 3660) {
            return Err(format!("`{text}` must be more than zero and at most ten years"));
        }
        Ok(Self(duration))
    }
}

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.as_secs();
        let text = match seconds {
            s if s % 86_400 == 0 => format!("{}d", s / 86_400),
            s if s % 3_600 == 0 => format!("{}h", s / 3_600),
            s if s % 60 == 0 => format!("{}m", s / 60),
            s => format!("{s}s"),
        };
        s.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How long a key lives: a [`Ttl`], or `"none"`: until it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Option<SignedDuration>);

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(duration) => Ttl(duration).serialize(s),
            None => s.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "none" {
            return Ok(Self(None));
        }
        let ttl: Ttl = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(Some(ttl.0)))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    pub service_name: String,
    pub listen: SocketAddr,
    pub public_url: String,
    pub pages_url: String,
    pub environment: Environment,
    pub profile: Profile,
    pub signup: Signup,
    pub trusted_proxies: Vec<IpNet>,
    pub secret_file: String,
    pub metrics_listen: String,
    pub http: Http,
    pub auth: Auth,
    pub brand: Brand,
    pub api: Api,
    pub store: StoreConfig,
    pub keys: Keys,
    pub scopes: BTreeMap<Scope, ScopeInfo>,
    pub plans: BTreeMap<String, Plan>,
    pub claim: Claim,
    pub sessions: Sessions,
    pub signin: Signin,
    pub limits: Limits,
    pub mcp: Mcp,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Http {
    pub cors_origins: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    pub extra_headers: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Brand {
    pub logo_file: String,
    pub accent: String,
    pub terms_url: String,
    pub privacy_url: String,
    pub support_url: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Api {
    pub url: String,
    pub docs_url: String,
    pub key_env: String,
    pub r#try: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    pub url: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Keys {
    pub prefix: String,
    pub format: Body,
    pub environments: bool,
    pub offered_environments: Vec<Environment>,
    pub max_active_per_account: u32,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub requests_per_minute: u32,
}

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

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sessions {
    pub password_grant: bool,
    pub publishable_key: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signin {
    pub url: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub registrations_per_hour: u32,
    /// Past this many waiting registrations the oldest ends.
    pub pending_registrations: u32,
    pub sources: BTreeMap<IpNet, u32>,
}

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
            public_url: String::new(),
            pages_url: String::new(),
            environment: Environment::Live,
            profile: Profile::Flat,
            signup: Signup::Auto,
            trusted_proxies: Vec::new(),
            secret_file: String::new(),
            metrics_listen: String::new(),
            http: Http::default(),
            auth: Auth::default(),
            brand: Brand::default(),
            api: Api::default(),
            store: StoreConfig::default(),
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
            limits: Limits::default(),
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
        Self { url: "sled:".to_owned() }
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
            interval: 5,
            key_ttl: Lifetime(Some(SignedDuration::from_hours(24 * 90))),
            login_hint: LoginHint::Display,
            unknown_scopes: UnknownScopes::Drop,
            grantable: reserved.iter().filter_map(|scope| scope.parse().ok()).collect(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { registrations_per_hour: 10, pending_registrations: 100_000, sources: BTreeMap::new() }
    }
}

impl Default for Mcp {
    fn default() -> Self {
        Self { legacy_sse: true, allow_inline_delivery: false }
    }
}

/// Where settings come from, weakest first.
#[derive(Default)]
pub struct Sources {
    /// A TOML file and what it holds.
    pub file: Option<(PathBuf, String)>,
    /// The process's environment; only `COUNTERSIGN_…` is looked at.
    pub environment: Vec<(String, String)>,
    /// Settings by flag, as dotted paths.
    pub flags: Vec<(&'static str, String)>,
    /// Allows a public address without https.
    pub insecure: bool,
}

const PREFIX: &str = "COUNTERSIGN_";
/// `COUNTERSIGN_…` variables that are no settings.
const NOT_SETTINGS: [&str; 5] = ["API_KEY", "CONFIG", "DATA", "LOG", "SERVER"];

impl Config {
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let known = known_keys()?;
        let mut table = Table::new();
        if let Some((path, text)) = &sources.file {
            table = text.parse().map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        }
        for (name, value) in &sources.environment {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if NOT_SETTINGS.contains(&rest) {
                continue;
            }
            let path = rest.to_ascii_lowercase().replace("__", ".");
            match path.strip_suffix("_file").filter(|_| !is_known(&known, &path)) {
                Some(path) => {
                    let text = std::fs::read_to_string(value).map_err(|error| wrong(format!("{name}: can't read {value}: {error}")))?;
                    insert(&mut table, &known, path, text.trim_end_matches(['\r', '\n']));
                }
                None => insert(&mut table, &known, &path, value),
            }
        }
        for (path, value) in &sources.flags {
            insert(&mut table, &known, path, value);
        }
        let mut unknown = Vec::new();
        let mut track = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let mut config: Self = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(Value::Table(table), &mut track))
            .map_err(|error| wrong(format!("`{}`: {}", error.path(), error.inner())))?;
        if let Some(key) = unknown.first() {
            let nearest = known.iter().map(|setting| &setting.path).min_by_key(|name| strsim::damerau_levenshtein(name, key));
            let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Err(wrong(format!("unknown setting `{key}`{hint}")));
        }
        config.settle(sources.insecure)?;
        Ok(config)
    }

    /// Fills what follows from other settings, and refuses what can't work.
    fn settle(&mut self, insecure: bool) -> Result<(), ConfigError> {
        if self.public_url.is_empty() {
            if !self.listen.ip().is_loopback() {
                return Err(wrong(format!(
                    "listening on {} is reachable by others: say how they reach it with --public-url https://… (or `public_url`)",
                    self.listen
                )));
            }
            self.public_url = format!("http://{}", self.listen);
        }
        self.public_url = origin("public_url", &self.public_url)?;
        self.pages_url = if self.pages_url.is_empty() { self.public_url.clone() } else { origin("pages_url", &self.pages_url)? };
        for (name, url) in [("public_url", &self.public_url), ("pages_url", &self.pages_url)] {
            let url = parse_url(name, url)?;
            let loopback = is_loopback(&url);
            if url.scheme() == "http" && (!loopback || !self.listen.ip().is_loopback()) && !insecure {
                return Err(wrong(format!(
                    "`{name}` = {url} without https would show keys to the network: use https, or --insecure if something else protects it"
                )));
            }
            if loopback && url.scheme() == "http" && self.listen.port() != 0 && url.port_or_known_default() != Some(self.listen.port()) {
                return Err(wrong(format!("`{name}` names port {:?}, but `listen` is {}", url.port_or_known_default(), self.listen)));
            }
        }
        if !(1..=60).contains(&self.claim.interval) {
            return Err(wrong("`claim.interval` must be 1 to 60 seconds"));
        }
        if self.claim.code_ttl.0 > self.claim.registration_ttl.0 {
            return Err(wrong("`claim.code_ttl` must not be longer than `claim.registration_ttl`"));
        }
        let prefix = &self.keys.prefix;
        if prefix.is_empty() || prefix.len() > 24 || !prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(wrong("`keys.prefix` must be 1 to 24 lower-case letters, digits and '_'"));
        }
        if let Some((name, _)) = self.plans.iter().find(|(_, plan)| plan.requests_per_minute == 0) {
            return Err(wrong(format!("`plans.{name}.requests_per_minute` must be at least 1")));
        }
        if !self.plans.contains_key("free") {
            return Err(wrong("`plans.free` must exist: new accounts start on it"));
        }
        if let Some(scope) = self.scopes.keys().find(|scope| Catalogue::is_reserved(scope)) {
            return Err(wrong(format!("`scopes.\"{scope}\"` is reserved; `claim.grantable` says which reserved scopes agents may get")));
        }
        if let Some(scope) = self.claim.grantable.iter().find(|scope| !Catalogue::is_reserved(scope)) {
            return Err(wrong(format!("`claim.grantable` lists reserved scopes only, and `{scope}` is none")));
        }
        if !self.store.url.starts_with("sled:") {
            return Err(wrong(format!("`store.url` = {}: this build knows `sled:` and `sled:PATH`", self.store.url)));
        }
        if !self.api.r#try.starts_with('/') {
            return Err(wrong("`api.try` must be a path that starts with `/`"));
        }
        if self.service_name.parse::<crate::domain::name::Name>().is_err() {
            return Err(wrong("`service_name` must be 1 to 64 visible characters"));
        }
        if !self.brand.accent.is_empty() {
            return Err(wrong("`brand.accent` is not supported yet: leave it empty"));
        }
        Ok(())
    }

    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.scopes.clone(), &self.claim.grantable)
    }

    pub fn key_format(&self) -> KeyFormat {
        KeyFormat { prefix: self.keys.prefix.clone(), body: self.keys.format, environments: self.keys.environments }
    }

    /// What an approver may choose.
    pub fn offered_environments(&self) -> Vec<Environment> {
        if self.keys.offered_environments.is_empty() { vec![self.environment] } else { self.keys.offered_environments.clone() }
    }

    pub fn signup_is_open(&self) -> bool {
        match self.signup {
            Signup::Open => true,
            Signup::Closed => false,
            Signup::Auto => Url::parse(&self.public_url).is_ok_and(|url| is_loopback(&url)),
        }
    }

    /// The resource the keys open (RFC 9728 `resource`).
    pub fn resource(&self) -> &str {
        if self.api.url.is_empty() { &self.public_url } else { &self.api.url }
    }

    /// Where a key works: what `next` suggests to try first.
    pub fn try_url(&self) -> String {
        format!("{}{}", self.resource(), self.api.r#try)
    }

    /// Where the embedded store lives.
    pub fn store_dir(&self, data: &Path) -> PathBuf {
        match self.store.url.strip_prefix("sled:") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => data.to_owned(),
        }
    }

    pub fn secret_path(&self, data: &Path) -> PathBuf {
        if self.secret_file.is_empty() { data.join("secret") } else { PathBuf::from(&self.secret_file) }
    }
}

fn parse_url(name: &str, text: &str) -> Result<Url, ConfigError> {
    Url::parse(text).map_err(|error| wrong(format!("`{name}` = {text} is no URL: {error}")))
}

/// An origin and nothing more: a path, query or user would break the issuer (RFC 8414 §2).
fn origin(name: &str, text: &str) -> Result<String, ConfigError> {
    let url = parse_url(name, text)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong(format!("`{name}` = {text} must start with https:// (or http:// on this computer)")));
    }
    let bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !bare {
        return Err(wrong(format!("`{name}` = {text} must be scheme, host and port only: published URLs are built on it")));
    }
    Ok(url.origin().ascii_serialization())
}

pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// A setting there is, as its dotted path.
struct Setting {
    path: String,
    is_text: bool,
}

/// Every setting, read off the defaults.
fn known_keys() -> Result<Vec<Setting>, ConfigError> {
    fn walk(prefix: &str, table: &Table, keys: &mut Vec<Setting>) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) => walk(&path, inner, keys),
                _ => keys.push(Setting { path, is_text: value.is_str() }),
            }
        }
    }
    let defaults = Table::try_from(Config::default()).map_err(|error| wrong(error.to_string()))?;
    let mut keys = Vec::new();
    walk("", &defaults, &mut keys);
    Ok(keys)
}

fn is_known(known: &[Setting], path: &str) -> bool {
    known.iter().any(|setting| setting.path == path)
}

/// Puts a value given as text at a dotted path. Where a setting is text it stays text, be it `2026`; elsewhere
/// what reads as a TOML value is that value.
fn insert(table: &mut Table, known: &[Setting], path: &str, text: &str) {
    let is_text = known.iter().any(|setting| setting.path == path && setting.is_text);
    let read = if is_text { None } else { format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v")) };
    let value = read.unwrap_or_else(|| Value::String(text.to_owned()));
    let mut here = table;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            here.insert(part.to_owned(), value);
            return;
        }
        let slot = here.entry(part).or_insert_with(|| Value::Table(Table::new()));
        if !slot.is_table() {
            *slot = Value::Table(Table::new());
        }
        let Value::Table(inner) = slot else { return };
        here = inner;
    }
}
