//! From file, environment and flags to one checked [`Config`].

use crate::{
    config::{
        brand::{Accent, Logo},
        error::{ConfigError, wrong},
        settings::{Config, Signup},
        url::{is_loopback, is_loopback_url, origin, parse_url},
        variables::{Meant, meant},
    },
    domain::{
        environment::Environment, key_format::KeyFormat, name::Name, nearest::nearest, place, registration::poll::MAX_INTERVAL_SECONDS,
        scope::Catalogue, visible::visible,
    },
};
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use url::Url;

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

/// Settings there were once, as their dotted paths. They did nothing, or do nothing any more: what still sets them starts, and is told.
const RETIRED: [&str; 1] = ["metrics_listen"];

/// Room for them is taken at the start.
const MAX_CACHED_KEYS: usize = 100_000_000;

impl Config {
    /// Puts file and environment together, checks all of it, and fills in what follows from other settings.
    ///
    /// # Errors
    /// The first thing that is wrong, and what to write instead.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let known = known_keys()?;
        let paths: Vec<&str> = known.iter().map(|setting| setting.path.as_str()).collect();
        let once: Vec<&str> = paths.iter().copied().chain(RETIRED).collect();
        let (mut table, mut left_alone) = (Table::new(), Vec::new());
        if let Some((path, text)) = &sources.file {
            table = text.parse().map_err(|error| wrong(format!("{}: {error}", path.display())))?;
        }
        for (name, value) in &sources.environment {
            match meant(name, value, &once) {
                None | Some(Meant::Others) => {}
                Some(Meant::Unknown) => left_alone.push(name.clone()),
                Some(Meant::Setting(path)) => insert(&mut table, &known, &path, value),
                Some(Meant::FileOf(path)) => {
                    place::check(value).map_err(|error| wrong(format!("{name} = {value}: {error}")))?;
                    let text = std::fs::read_to_string(value).map_err(|error| wrong(format!("{name}: can't read {value}: {error}")))?;
                    insert(&mut table, &known, &path, text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']));
                }
            }
        }
        for (path, value) in &sources.flags {
            insert(&mut table, &known, path, value);
        }
        let retired = RETIRED.iter().filter(|path| remove(&mut table, path)).map(|path| (*path).to_owned()).collect();
        // A published address comes with the port it leads to.
        let port_is_chosen = table.contains_key("listen") || table.contains_key("public_url");
        let mut unknown = Vec::new();
        let mut track = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let mut config: Self = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(Value::Table(table), &mut track))
            .map_err(|error| wrong(format!("`{}`: {}", error.path(), error.inner().message())))?;
        if let Some(key) = unknown.first() {
            let nearest = nearest(key, paths.iter().copied());
            let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Err(wrong(format!("unknown setting `{key}`{hint}")));
        }
        config.left_alone = left_alone;
        config.retired = retired;
        config.port_is_chosen = port_is_chosen && config.listen.port() != 0;
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
                let named = url.port_or_known_default().unwrap_or_default();
                return Err(wrong(format!("`{name}` names port {named}, but `listen` is {}: give both the same port", self.listen)));
            }
        }
        for named in &mut self.hosts {
            *named = host(named)?;
        }
        if !(1..=MAX_INTERVAL_SECONDS).contains(&self.claim.interval) {
            return Err(wrong(format!("`claim.interval` must be 1 to {MAX_INTERVAL_SECONDS} seconds")));
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
        if self.store.cached_keys > MAX_CACHED_KEYS {
            return Err(wrong(format!("`store.cached_keys` must be at most {MAX_CACHED_KEYS}: each takes about 300 bytes")));
        }
        let store = self.store.url.strip_prefix("sled:").unwrap_or_default();
        for (name, path) in [
            ("secret_file", self.secret_file.as_str()),
            ("store.url", store),
            ("backup.journal", &self.backup.journal),
            ("brand.logo_file", &self.brand.logo_file),
        ] {
            place::check(path).map_err(|error| wrong(format!("`{name}` = {path}: {error}")))?;
        }
        if !self.api.r#try.starts_with('/') {
            return Err(wrong("`api.try` must be a path that starts with `/`"));
        }
        self.service_name =
            self.service_name.parse::<Name>().map_err(|_| wrong("`service_name` must be 1 to 64 visible characters"))?.into();
        // Shown on pages as names are.
        if let Some(plan) = self.plans.keys().find(|plan| plan.parse::<Name>().is_err()) {
            return Err(wrong(format!("`plans.{}` must be 1 to 64 visible characters", plan.escape_default())));
        }
        if let Some((scope, _)) = self.scopes.iter().find(|(_, info)| visible(&info.title, true).is_none_or(|title| title.is_empty())) {
            return Err(wrong(format!("`scopes.\"{scope}\".title` must be visible characters")));
        }
        let variable = &self.api.key_env;
        if !variable.starts_with(|c: char| c.is_ascii_uppercase())
            || !variable.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        {
            return Err(wrong(format!("`api.key_env` = {variable} must be upper-case letters, digits and '_'")));
        }
        for allowed in &self.http.cors_origins {
            if origin("http.cors_origins", allowed)? != *allowed {
                return Err(wrong(format!("`http.cors_origins`: write {allowed} as browsers do, without a slash at the end")));
            }
        }
        let publishable = &self.sessions.publishable_key;
        let fits = (16..=256).contains(&publishable.len()) && publishable.bytes().all(|b| b.is_ascii_graphic());
        if !publishable.is_empty() && !fits {
            return Err(wrong("`sessions.publishable_key` must be 16 to 256 visible ASCII characters, or empty: then one is made"));
        }
        for (name, url) in [
            ("signin.url", &self.signin.url),
            ("brand.terms_url", &self.brand.terms_url),
            ("brand.privacy_url", &self.brand.privacy_url),
            ("brand.support_url", &self.brand.support_url),
            ("api.url", &self.api.url),
            ("api.docs_url", &self.api.docs_url),
        ] {
            if !url.is_empty() && !matches!(parse_url(name, url)?.scheme(), "http" | "https") {
                return Err(wrong(format!("`{name}` = {url} must start with https:// or http://")));
            }
        }
        let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        self.brand.colours = set(&self.brand.accent).map(|colour| Accent::read(&colour)).transpose()?;
        self.brand.logo = set(&self.brand.logo_file).map(|path| Logo::read(&path)).transpose()?;
        Ok(())
    }

    /// The scopes there are: the configured ones and those of keys themselves.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.scopes.clone(), &self.claim.grantable)
    }

    /// How keys made from now on look. Older ones may look otherwise.
    pub fn key_format(&self) -> KeyFormat {
        KeyFormat { prefix: self.keys.prefix.clone(), body: self.keys.format, environments: self.keys.environments }
    }

    /// What an approver may choose.
    pub fn offered_environments(&self) -> Vec<Environment> {
        if self.keys.offered_environments.is_empty() { vec![self.environment] } else { self.keys.offered_environments.clone() }
    }

    /// Whether anybody may make an account from a page.
    pub fn signup_is_open(&self) -> bool {
        match self.signup {
            Signup::Open => true,
            Signup::Closed => false,
            Signup::Auto => is_loopback_url(&self.public_url),
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

    /// Where the journal is; `None`: none is kept.
    pub fn journal_path(&self) -> Option<PathBuf> {
        Some(&self.backup.journal).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// Where the server secret is: as configured, else in the data directory.
    pub fn secret_path(&self, data: &Path) -> PathBuf {
        if self.secret_file.is_empty() { data.join("secret") } else { PathBuf::from(&self.secret_file) }
    }
}

/// A host as `Host` has it: a name or an address, and a port where it is not the usual one.
fn host(text: &str) -> Result<String, ConfigError> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b));
    let url = Url::parse(&format!("http://{text}")).ok().filter(|url| plain && url.port() != Some(0));
    let named = url.as_ref().and_then(|url| Some((url.host_str()?.trim_end_matches('.'), url.port())));
    match named {
        Some((name, port)) if !name.is_empty() => Ok(port.map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))),
        _ => Err(wrong(format!("`hosts`: write {text} as programs do in `Host`: a name and a port, such as countersign:4080"))),
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

/// Takes away what is at a dotted path; whether anything was.
fn remove(table: &mut Table, path: &str) -> bool {
    match path.split_once('.') {
        None => table.remove(path).is_some(),
        Some((first, rest)) => table.get_mut(first).and_then(Value::as_table_mut).is_some_and(|inner| remove(inner, rest)),
    }
}
