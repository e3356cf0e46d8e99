//! A server elsewhere, asked through its public endpoints as any agent would: what `--server URL` makes of a [`ControlRequest`].
//!
//! Claim tokens, verifiers and keys go to this one origin: over https (or to this computer), and no redirect is followed.

use crate::{
    api::{
        claims::{ClaimBlock, Delivered, NewAttempt, Registered},
        error::Error,
        keys::{Created, Issued, KeyList, KeyView, Revoked},
        values::Revealed,
        verification::{ScopeCheck, Verification, Whoami},
    },
    client::remote_error::{rate_limit, refusal},
    config::url::{is_loopback, origin},
    domain::{
        characters::is_b64token,
        grant_type::CLAIM_GRANT,
        id::KeyId,
        pasted,
        registration::poll,
        scope::{Scope, ScopeSet},
    },
    instance::control::request::{ControlRequest, ControlResponse},
    service::keys::list::KeyFilter,
};
use reqwest::{
    Client, Method, RequestBuilder, Response,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// A server and the API its keys open.
#[derive(Debug, Clone)]
pub struct Origins {
    pub server: String,
    pub api: String,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For an answer, beside what the call itself waits for a human.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Seconds; a code that would live longer is none.
const MAX_CODE_SECONDS: i64 = 24 * 60 * 60;

/// A page of 100 keys with many scopes each still fits.
const MAX_REPLY_BYTES: usize = 4 << 20;

/// One server.
#[derive(Debug, Clone)]
pub struct ServerClient {
    origin: String,
    http: Client,
    /// What the calls of the command line are made with.
    key: Option<Revealed>,
}

impl ServerClient {
    /// Nothing is sent yet. `key` is what calls without a credential of their own are made with.
    pub fn new(url: &str, key: Option<Revealed>) -> Result<Self, Error> {
        let wrong = |detail: String| Error::invalid("server", detail);
        let origin = origin("server", url).map_err(|error| wrong(format!("is wrong: {error}")))?;
        let parsed = Url::parse(&origin).map_err(|error| wrong(error.to_string()))?;
        let here = is_loopback(&parsed);
        if parsed.scheme() != "https" && !here {
            return Err(wrong(format!("{origin} without https would show keys to the network: use https://…")));
        }
        let mut http = Client::builder()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .https_only(!here)
            .connect_timeout(CONNECT_TIMEOUT);
        if here {
            // What stays on this computer needs no proxy that could read it.
            http = http.no_proxy();
        }
        Ok(Self { origin, http: http.build().map_err(Error::internal)?, key })
    }

    /// Scheme, host and port: what keys of this server are filed under.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The API the server's keys open (RFC 9728), if it is one a key may be sent to.
    pub async fn origins(&self) -> Result<Origins, Error> {
        let found: Value = self.json(self.request(Method::GET, "/.well-known/oauth-protected-resource", None)).await?;
        let api = found["resource"].as_str().and_then(|url| Url::parse(url).ok());
        let safe = api.filter(|url| url.scheme() == "https" || is_loopback(url));
        let api = safe.map_or_else(|| self.origin.clone(), |url| url.as_str().trim_end_matches('/').to_owned());
        Ok(Origins { server: self.origin.clone(), api })
    }

    /// Makes a call in the words of the server's HTTP API. What comes back is another's: lengths and characters are checked.
    ///
    /// # Errors
    /// The server's own error, as far as it can be read; [`Error::Unreachable`] when it did not answer, or not as a countersign
    /// server does.
    pub async fn call(&self, call: &ControlRequest) -> Result<ControlResponse, Error> {
        match call {
            ControlRequest::Register { agent_name, scopes, login_hint, environment, code_challenge } => {
                let mut body = json!({
                    "type": "service_auth", "agent_name": agent_name,
                    "code_challenge": code_challenge, "code_challenge_method": "S256",
                });
                set(&mut body, "scope", scopes.as_ref().map(|scopes| scopes.join(" ")));
                set(&mut body, "login_hint", login_hint.clone());
                set(&mut body, "environment", environment.map(|environment| environment.to_string()));
                let mut registered: Registered = self.json(self.request(Method::POST, "/agent/identity", None).json(&body)).await?;
                self.sanitize(&mut registered.claim)?;
                registered.ignored_scopes.retain(|scope| scope.parse::<Scope>().is_ok());
                Ok(ControlResponse::Registered(Box::new(registered)))
            }
            ControlRequest::NewAttempt { claim_token, login_hint } => {
                let mut body = json!({"claim_token": claim_token});
                set(&mut body, "login_hint", login_hint.clone());
                let mut attempt: NewAttempt = self.json(self.request(Method::POST, "/agent/identity/claim", None).json(&body)).await?;
                self.sanitize(&mut attempt.attempt)?;
                Ok(ControlResponse::NewAttempt(Box::new(attempt)))
            }
            ControlRequest::Poll { claim_token, code_verifier, wait_seconds } => {
                let body = json!({"grant_type": CLAIM_GRANT, "claim_token": claim_token, "code_verifier": code_verifier});
                let wait = call.longest_wait();
                let request = self.request(Method::POST, "/oauth2/token", None).json(&body).timeout(ANSWER_TIMEOUT.saturating_add(wait));
                let waiting = if *wait_seconds > 0 { request.header("Prefer", format!("wait={}", wait.as_secs())) } else { request };
                let delivered: Delivered = self.json(waiting).await?;
                let plain = |text: &str, most| text.len() <= most && !text.chars().any(char::is_control);
                if !is_token(delivered.access_token.expose()) || !is_token(&delivered.key_prefix) || !plain(&delivered.approved_by, 320) {
                    return Err(self.foreign());
                }
                Ok(ControlResponse::Delivered(Box::new(delivered)))
            }
            ControlRequest::ListKeys { credential, status, environment, cursor, limit } => {
                let filter =
                    KeyFilter { status: *status, environment: *environment, cursor: cursor.clone(), limit: *limit, ..KeyFilter::default() };
                self.list(credential, filter).await
            }
            ControlRequest::AllKeys { account: None, status, environment, created_by, q, cursor, limit } => {
                let (created_by, q, cursor) = (*created_by, q.clone(), cursor.clone());
                let filter = KeyFilter { status: *status, environment: *environment, created_by, q, cursor, limit: *limit };
                self.list(self.key()?, filter).await
            }
            ControlRequest::ShowKey { key_id } => {
                let view: KeyView = self.json(self.request(Method::GET, &key_path(key_id)?, Some(self.key()?))).await?;
                self.about(key_id, view.id)?;
                Ok(ControlResponse::Key(Box::new(view)))
            }
            ControlRequest::EditKey { key_id, name, scopes, disabled } => {
                let body = without_nulls(json!({"name": name, "scopes": scopes, "disabled": disabled}));
                let view: KeyView = self.json(self.request(Method::PATCH, &key_path(key_id)?, Some(self.key()?)).json(&body)).await?;
                self.about(key_id, view.id)?;
                Ok(ControlResponse::Key(Box::new(view)))
            }
            ControlRequest::RotateKey { key_id, grace_seconds, expires_in } => {
                let body = without_nulls(json!({"grace_seconds": grace_seconds, "expires_in": expires_in}));
                let path = format!("{}/rotate", key_path(key_id)?);
                let issued: Issued = self.json(self.request(Method::POST, &path, Some(self.key()?)).json(&body)).await?;
                Ok(ControlResponse::KeyRotated(Box::new(issued)))
            }
            ControlRequest::RevokeKey { credential, key_id, .. } => self.revoke(credential, key_id).await,
            ControlRequest::RevokeAny { key_id, .. } => self.revoke(self.key()?, key_id).await,
            ControlRequest::CheckScope { credential, scopes, environment } => {
                let (who, headers): (Whoami, _) = self.answer(self.request(Method::GET, "/v1/whoami", Some(credential))).await?;
                let wanted: ScopeSet = scopes
                    .iter()
                    .map(|scope| scope.parse().map_err(|error| Error::invalid("scopes", format!("{error}"))))
                    .collect::<Result<_, _>>()?;
                let key = who.key.ok_or_else(|| Error::Forbidden { detail: "only a key has scopes of its own".to_owned() })?;
                let missing = wanted.missing_from(&key.scopes);
                Ok(ControlResponse::ScopeCheck(Box::new(ScopeCheck {
                    allowed: missing.is_empty() && environment.is_none_or(|wanted| wanted == key.environment),
                    granted: wanted.intersection(&key.scopes),
                    missing,
                    id: key.id.to_string(),
                    prefix: key.prefix,
                    scopes: key.scopes,
                    environment: key.environment,
                    expires_at: key.expires_at,
                    ratelimit: rate_limit(&headers),
                })))
            }
            ControlRequest::Whoami { credential } => {
                let who: Whoami = self.json(self.request(Method::GET, "/v1/whoami", Some(credential))).await?;
                Ok(ControlResponse::Whoami(Box::new(who)))
            }
            ControlRequest::CreateKey { name, scopes, environment, expires_in, requests_per_minute, .. } => {
                let body = json!({
                    "name": name, "scopes": scopes, "environment": environment,
                    "expires_in": expires_in, "requests_per_minute": requests_per_minute,
                });
                let body = without_nulls(body);
                let created: Created = self.json(self.request(Method::POST, "/v1/keys", Some(self.key()?)).json(&body)).await?;
                Ok(ControlResponse::KeyCreated(Box::new(created)))
            }
            ControlRequest::VerifyKey { key, scopes, environment, cost } => {
                let mut body = json!({"key": key, "scope": scopes.join(" "), "cost": cost});
                set(&mut body, "environment", environment.map(|environment| environment.to_string()));
                let verdict: Verification = self.json(self.request(Method::POST, "/v1/keys/verify", Some(self.key()?)).json(&body)).await?;
                Ok(ControlResponse::Verdict(Box::new(verdict)))
            }
            ControlRequest::AllKeys { account: Some(_), .. } => {
                Err(Error::invalid("account", "is not asked for by a key, which sees its own account"))
            }
            ControlRequest::CreateAccount { .. }
            | ControlRequest::ResetPassword { .. }
            | ControlRequest::Accounts { .. }
            | ControlRequest::ChangeAccount { .. }
            | ControlRequest::ResumeKeys { .. }
            | ControlRequest::Backup { .. }
            | ControlRequest::ListAgents { .. }
            | ControlRequest::RevokeAgent { .. }
            | ControlRequest::RevokeAllAgents { .. }
            | ControlRequest::Status
            | ControlRequest::HandOver => {
                Err(Error::Forbidden { detail: format!("that is done on the computer {} runs on, without --server", self.origin) })
            }
        }
    }

    /// What an agent shows its human as it is: nothing but an address and a code may stand there.
    fn sanitize(&self, claim: &mut ClaimBlock) -> Result<(), Error> {
        let page = Url::parse(&claim.verification_uri).ok().filter(|page| page.scheme() == "https" || is_loopback(page));
        let code = claim.user_code.expose();
        let fits = (4..=32).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let lives = (1..=MAX_CODE_SECONDS).contains(&claim.expires_in);
        claim.interval = poll::told(Some(claim.interval.into()));
        claim.verification_uri = page.filter(|_| fits && lives).ok_or_else(|| self.foreign())?.into();
        Ok(())
    }

    fn key(&self) -> Result<&Revealed, Error> {
        let none = || Error::Forbidden { detail: format!("set COUNTERSIGN_API_KEY to a key of {}", self.origin) };
        self.key.as_ref().ok_or_else(none)
    }

    async fn list(&self, key: &Revealed, filter: KeyFilter) -> Result<ControlResponse, Error> {
        let KeyFilter { status, environment, created_by, q, cursor, limit } = filter;
        let asked = [
            ("status", status.map(|status| status.as_str().to_owned())),
            ("environment", environment.map(|environment| environment.to_string())),
            ("created_by", created_by.map(|maker| maker.as_str().to_owned())),
            ("q", q),
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
        let keys: KeyList = self.json(self.request(Method::GET, &format!("/v1/keys?{query}"), Some(key))).await?;
        Ok(ControlResponse::Keys(keys))
    }

    async fn revoke(&self, key: &Revealed, id: &str) -> Result<ControlResponse, Error> {
        let revoked: Revoked = self.json(self.request(Method::DELETE, &key_path(id)?, Some(key))).await?;
        self.about(id, revoked.id)?;
        Ok(ControlResponse::Revoked(revoked))
    }

    fn request(&self, method: Method, path: &str, key: Option<&Revealed>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.origin)).timeout(ANSWER_TIMEOUT);
        let Some(key) = key else { return request };
        // Marked, so that no log of the HTTP machinery prints it.
        // What no header can hold is a wrong key, and not none.
        let value = HeaderValue::from_bytes(format!("Bearer {}", key.expose()).as_bytes());
        let mut value = value.unwrap_or(HeaderValue::from_static("Bearer not_a_key"));
        value.set_sensitive(true);
        request.header(AUTHORIZATION, value)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        self.answer(request).await.map(|(value, _)| value)
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<(T, HeaderMap), Error> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            let detail = format!("{} sends elsewhere, and nothing secret goes there: name the address it publishes", self.origin);
            return Err(Error::Unreachable { detail });
        }
        let bytes = self.body(response).await?;
        if status.is_success() {
            // The flat envelope wraps what the others show bare.
            let (bare, wrapped) = (serde_json::from_slice::<T>(&bytes), serde_json::from_slice::<Wrapped<T>>(&bytes));
            return bare.or(wrapped.map(|wrapped| wrapped.data)).map(|value| (value, headers)).map_err(|_| self.foreign());
        }
        let said: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|_| self.foreign())?;
        Err(refusal(status, &headers, &said))
    }

    async fn body(&self, mut response: Response) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if bytes.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err(Error::Unreachable { detail: format!("{} answers too much", self.origin) });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// An answer about another key than the one asked about is none.
    fn about(&self, asked: &str, answered: KeyId) -> Result<(), Error> {
        if pasted::bare(asked).parse() == Ok(answered) { Ok(()) } else { Err(self.foreign()) }
    }

    fn foreign(&self) -> Error {
        Error::Unreachable { detail: format!("{} does not answer like a countersign server: check the address", self.origin) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let what = if error.is_timeout() {
            "did not answer in time".to_owned()
        } else {
            let cause = std::iter::successors(std::error::Error::source(error), |cause| cause.source()).last();
            format!("can't be reached{}", cause.map(|cause| format!(": {cause}")).unwrap_or_default())
        };
        Error::Unreachable { detail: format!("{} {what}; check the address and that the server runs, then try again", self.origin) }
    }
}

/// Only what is an id becomes part of an address.
fn key_path(id: &str) -> Result<String, Error> {
    let id: KeyId = pasted::bare(id).parse().map_err(|_| Error::not_found("key"))?;
    Ok(format!("/v1/keys/{id}"))
}

/// A body without the members nobody gave.
fn without_nulls(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    body
}

/// What goes into headers and files as it is, and is no longer than any key a countersign server makes.
fn is_token(text: &str) -> bool {
    text.len() <= 256 && is_b64token(text)
}

#[derive(serde::Deserialize)]
struct Wrapped<T> {
    data: T,
}

fn set(body: &mut Value, name: &str, value: Option<String>) {
    if let Some(value) = value {
        body[name] = json!(value);
    }
}
