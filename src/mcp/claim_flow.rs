//! register_agent and poll_claim behind the scenes: over stdio the client keeps its own proofs, over HTTP the server does.

use crate::{
    api::{
        claims::{ClaimBlock, Delivered, Registered},
        error::Error,
        values::{Revealed, Time},
    },
    config::settings::Config,
    domain::{
        key::Status,
        pasted,
        registration::{poll, request::Handle, transitions::Registration},
        secret::{ClaimHandle, CodeVerifier},
        time::after,
    },
    instance::control::request::{ControlRequest, ControlResponse},
    local_keys::profile::slug,
    mcp::{
        arguments::{Delivery, PollArgs, RegisterArgs},
        caller::HttpCaller,
        client_claims::{Asked, Claim, Claims, hash},
        custody::{Destination, KeyCustody, NOT_INLINE},
        error::ToolError,
        results::{ClaimStatus, KeyRef, PickupOut, PollResult, RegisterResult, WHOSE, strings, unexpected},
        server::{Tools, Transport},
    },
    service::{
        claims::register::{NewHandle, NewRegistration, Registrant},
        services::Services,
    },
};
use jiff::SignedDuration;
use rmcp::{RoleServer, service::RequestContext};
use std::time::Duration;

impl From<&Delivered> for KeyRef {
    fn from(key: &Delivered) -> Self {
        Self {
            id: key.key_id.to_string(),
            prefix: key.key_prefix.clone(),
            scopes: strings(&key.scope),
            environment: key.environment,
            expires_at: key.expires_at.map(|at| at.to_string()),
        }
    }
}

/// OAuth says `scope`, the tool `scopes`.
fn as_argument(error: Error) -> Error {
    error.called("scope", "scopes")
}

pub fn registered_result(claim: &Claim) -> RegisterResult {
    RegisterResult {
        registration_id: claim.registration_id.clone(),
        claim_id: claim.claim_id.expose().to_owned(),
        verification_uri: claim.verification_uri.clone(),
        verification_uri_complete: format!("{}?code={}", claim.verification_uri, claim.user_code.expose()),
        user_code: claim.user_code.expose().to_owned(),
        expires_at: Time(claim.code_expires_at).to_string(),
        interval: poll::told(Some(claim.interval.into())),
        scopes: claim.scopes.clone(),
        ignored_scopes: claim.ignored_scopes.clone(),
        next: format!(
            "Show your human this link and code exactly as they are and say why you ask: {} code {}. Then call poll_claim with this claim_id; never open the link yourself.",
            claim.verification_uri,
            claim.user_code.expose()
        ),
    }
}

fn undecided(status: ClaimStatus, requested: Vec<String>, next: &str) -> PollResult {
    PollResult {
        status,
        key: None,
        secret: None,
        requested_scopes: requested,
        approved_by: None,
        stored_at: None,
        pickup: None,
        next: next.to_owned(),
    }
}

const PENDING: &str = "Call poll_claim again with the same claim_id; your human has not decided yet.";

const DENIED: &str = "Your human said no: stop, and register again only if they ask you to.";

const EXPIRED: &str = "Call register_agent again for a fresh code and show it to your human.";

impl Tools {
    /// A claim that still waits, with a fresh code if the old is over; `None` once it was decided or is gone.
    pub(super) async fn still_open(&self, claims: &Claims, mut claim: Claim) -> Result<Option<Claim>, ToolError> {
        let now = self.runtime.now();
        let token = match (&self.way, &claim.claim_token) {
            (_, Some(token)) => token.clone(),
            (Transport::Http(service), None) => match claim.registration_id.parse() {
                Ok(id) => Revealed::new(service.claims.claim_token_of(id).expose()),
                Err(_) => return Ok(None),
            },
            (Transport::Stdio(_), None) => return Ok(None),
        };
        // Over stdio the client notes by itself what became of its claims.
        if let (Transport::Http(service), Ok(id)) = (&self.way, claim.registration_id.parse())
            && !matches!(service.claims.registration(id).await, Ok(Registration::Pending { .. }))
        {
            return Ok(None);
        }
        // A margin, so that the human has time to type what is shown.
        let lives = match (&self.way, claim.registration_id.parse()) {
            // Entered once, a code may be over before its time.
            (Transport::Http(service), Ok(id)) => service.claims.has_live_code(id).await?,
            _ => true,
        };
        if lives && after(now, SignedDuration::from_secs(60)) < claim.code_expires_at {
            return Ok(Some(claim));
        }
        match self.backend.call(ControlRequest::NewAttempt { claim_token: token, login_hint: None }).await {
            Ok(ControlResponse::NewAttempt(fresh)) => {
                claim.user_code = fresh.attempt.user_code.clone();
                claim.code_expires_at = fresh.expires_at.0;
                claims.remember(claim.clone(), now)?;
                Ok(Some(claim))
            }
            Ok(_) => Err(unexpected()),
            // A fresh code was given a moment ago, or the human is deciding: the request stands as it is.
            Err(Error::TooManyAttempts { retry_after: Some(_) } | Error::ClaimedOrInFlight { .. }) => Ok(Some(claim)),
            // Over, or out of codes: a new registration is the way on.
            Err(_) => Ok(None),
        }
    }

    fn claim(&self, registered: &Registered, asked: Asked, claim_id: &str, verifier: Option<&CodeVerifier>, keep_token: bool) -> Claim {
        let now = self.runtime.now();
        let ClaimBlock { user_code, verification_uri, expires_in, interval, .. } = &registered.claim;
        Claim {
            claim_id: Revealed::new(claim_id),
            registration_id: registered.registration_id.to_string(),
            asked,
            claim_token: keep_token.then(|| registered.claim_token.clone()),
            code_verifier: verifier.map(|verifier| Revealed::new(verifier.expose())),
            user_code: user_code.clone(),
            verification_uri: verification_uri.clone(),
            scopes: strings(&registered.post_claim_scopes),
            ignored_scopes: registered.ignored_scopes.clone(),
            interval: *interval,
            created_at: now,
            code_expires_at: now.checked_add(SignedDuration::from_secs(*expires_in)).unwrap_or(registered.claim_token_expires.0),
            expires_at: registered.claim_token_expires.0,
            stored: None,
            denied: false,
            wrote: None,
        }
    }

    /// Over stdio: the client proves itself with a verifier of its own.
    pub(super) async fn register_here(&self, args: RegisterArgs, asked: Asked) -> Result<Claim, ToolError> {
        let verifier = CodeVerifier::new(self.runtime.bytes());
        let call = ControlRequest::Register {
            agent_name: args.agent_name,
            scopes: args.scopes,
            login_hint: args.login_hint,
            environment: args.environment,
            code_challenge: verifier.challenge().as_str().to_owned(),
        };
        let ControlResponse::Registered(registered) = self.backend.call(call).await.map_err(as_argument)? else { return Err(unexpected()) };
        let claim_id = ClaimHandle::new(self.runtime.bytes());
        Ok(self.claim(&registered, asked, claim_id.expose(), Some(&verifier), true))
    }

    /// Over HTTP: the claim token is derived and never leaves the server; the client polls with a handle.
    pub(super) async fn register_for(
        &self,
        service: &Services,
        args: RegisterArgs,
        asked: Asked,
        http: Option<&HttpCaller>,
    ) -> Result<Claim, ToolError> {
        let http = http.ok_or_else(unexpected)?;
        let handle = ClaimHandle::new(self.runtime.bytes());
        let ask = NewRegistration {
            agent_name: args.agent_name,
            scopes: args.scopes,
            login_hint: args.login_hint,
            environment: args.environment,
            challenge: None,
            // Not to the session: it may end while the human decides.
            handle: Some(NewHandle { handle: handle.clone(), bound_to: http.credential_name() }),
        };
        let who = Registrant { source: http.source, account: http.account() };
        let registered = service.claims.register(ask, who).await.map_err(as_argument)?;
        Ok(self.claim(&registered, asked, handle.expose(), None, false))
    }

    pub(super) async fn poll_here(
        &self,
        custody: &KeyCustody,
        context: &RequestContext<RoleServer>,
        args: &PollArgs,
        wait: Duration,
    ) -> Result<PollResult, ToolError> {
        let (claims, claim_id) = (custody.claims(context), pasted::bare(&args.claim_id));
        let mut claim = claims.get(claim_id).ok_or_else(|| Error::not_found("claim"))?;
        let requested = claim.scopes.clone();
        if let Some(stored) = &claim.stored {
            return Ok(custody.delivered(stored.clone(), requested).await);
        }
        if claim.denied {
            return Ok(undecided(ClaimStatus::Denied, requested, DENIED));
        }
        let to = custody.destination(context, args)?;
        let (Some(claim_token), Some(code_verifier)) = (claim.claim_token.clone(), claim.code_verifier.clone()) else {
            return Err(Error::not_found("claim").into());
        };
        let call = ControlRequest::Poll { claim_token, code_verifier, wait_seconds: wait.as_secs() };
        // What is taken is put away, even for a client that no longer wants its answer.
        let polled = self.waiting(async { Ok(self.backend.call(call).await) }, None, context).await?;
        match polled {
            Ok(ControlResponse::Delivered(delivered)) => {
                if let Destination::EnvFile(_) = to {
                    // Before it is written: ended in between, this client still knows the value as its own.
                    claim.wrote = Some(hash(delivered.access_token.expose()));
                    claims.remember(claim.clone(), self.runtime.now())?;
                }
                let stored = custody.deliver(context, &to, &delivered).await?;
                claim.stored = Some(stored.clone());
                claim.claim_token = None;
                claim.code_verifier = None;
                claims.remember(claim, self.runtime.now())?;
                let mut result = custody.delivered(stored, requested).await;
                match &to {
                    Destination::EnvFile(file) if file.git_would_take_it() => {
                        result.next.push_str(" Git may commit that file: see that .gitignore names it first.");
                    }
                    Destination::Inline => result.secret = Some(delivered.access_token.clone()),
                    Destination::EnvFile(_) | Destination::Store => {}
                }
                Ok(result)
            }
            Ok(_) => Err(unexpected()),
            Err(Error::AuthorizationPending { .. } | Error::SlowDown { .. }) => Ok(undecided(ClaimStatus::Pending, requested, PENDING)),
            Err(Error::AccessDenied) => {
                let over = Claim { denied: true, claim_token: None, code_verifier: None, ..claim };
                claims.remember(over, self.runtime.now())?;
                Ok(undecided(ClaimStatus::Denied, requested, DENIED))
            }
            Err(Error::ExpiredToken { .. }) => {
                // Entered once, a code may be over before its time: register_agent asks for the next one.
                let now = self.runtime.now();
                let code_expires_at = claim.code_expires_at.min(now);
                claims.remember(Claim { code_expires_at, ..claim }, now)?;
                Ok(undecided(ClaimStatus::Expired, requested, EXPIRED))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn poll_for(
        &self,
        service: &Services,
        args: &PollArgs,
        http: &HttpCaller,
        wait: Duration,
    ) -> Result<PollResult, ToolError> {
        let inline = match args.delivery {
            None | Some(Delivery::Pickup) => false,
            Some(Delivery::Inline) if service.context.config.mcp.allow_inline_delivery => true,
            Some(Delivery::Inline) => return Err(Error::invalid("delivery", NOT_INLINE).into()),
            Some(Delivery::Store | Delivery::EnvFile) => return Err(Error::invalid("delivery", "must be \"pickup\" over HTTP").into()),
        };
        let handle = ClaimHandle::parse(&args.claim_id).ok_or_else(|| Error::not_found("claim"))?;
        let claim = service.claims.find_by_handle(&handle, http.credential_name().as_deref()).await?;
        // Whoever has nothing but the handle gets a pickup, which tells the owner when somebody else was first.
        if inline && !claim.request().handle.as_ref().is_some_and(Handle::is_bound) {
            let why = "\"inline\" takes a claim that a key opened, so that nobody else can ask: leave `delivery` out";
            return Err(Error::invalid("delivery", why).into());
        }
        let id = claim.id();
        let registration = service.claims.wait_for_decision(id, &http.source, http.account(), wait).await?;
        // The wait was long: a key that was revoked meanwhile gets nothing more.
        if let Some(credential) = &http.credential {
            service.verifier.still_good(&credential.caller).await?;
        }
        let requested = strings(&registration.request().scopes);
        let now = self.runtime.now();
        match registration {
            Registration::Pending { request, attempt, .. } if now >= attempt.expires_at || now >= request.expires_at => {
                Ok(undecided(ClaimStatus::Expired, requested, EXPIRED))
            }
            Registration::Pending { .. } => Ok(undecided(ClaimStatus::Pending, requested, PENDING)),
            Registration::Denied { .. } => Ok(undecided(ClaimStatus::Denied, requested, DENIED)),
            Registration::Expired { .. } => Ok(undecided(ClaimStatus::Expired, requested, EXPIRED)),
            Registration::Approved { request, .. } if now >= request.deliverable_until() => {
                Ok(undecided(ClaimStatus::Expired, requested, EXPIRED))
            }
            Registration::Approved { .. } if inline => {
                let delivered = service.claims.poll(&service.claims.claim_token_of(id), None, http.source).await?;
                Ok(PollResult {
                    status: ClaimStatus::Delivered,
                    key: Some(KeyRef::from(&delivered)),
                    secret: Some(delivered.access_token.clone()),
                    requested_scopes: requested,
                    approved_by: Some(delivered.approved_by.clone()),
                    stored_at: None,
                    pickup: None,
                    next: format!("{WHOSE} It is shown once and kept nowhere else."),
                })
            }
            Registration::Approved { request, .. } => {
                let (token, expires) = service.claims.offer_pickup(id).await?;
                Ok(PollResult {
                    status: ClaimStatus::Approved,
                    key: None,
                    secret: None,
                    requested_scopes: requested,
                    approved_by: service.claims.approver(id).await?,
                    stored_at: None,
                    pickup: Some(PickupOut {
                        command: pickup_command(&service.context.config, request.agent_name.as_str(), token.expose()),
                        expires_at: Time(expires).to_string(),
                    }),
                    next: "Run pickup.command once, in a shell on the computer that needs the key; it prints where the key is and never the key. Then call poll_claim again to see that it was delivered.".to_owned(),
                })
            }
            Registration::Delivered { key, .. } => {
                let view = service.claims.delivered_key(key).await?;
                let next = if view.status == Status::Active {
                    format!(
                        "The key was fetched: use it where it was put, such as with `curl -H @FILE`. This connection knows it once your human \
                         puts it into {}, as the command printed, and starts this client again from that shell; until then its tools don't.",
                        service.context.config.api.key_env
                    )
                } else {
                    format!(
                        "The key was fetched and is {} since: tell your human, and register again if the task still needs one.",
                        view.status.as_str()
                    )
                };
                Ok(PollResult {
                    status: ClaimStatus::Delivered,
                    key: Some(KeyRef {
                        id: view.id.to_string(),
                        prefix: view.prefix,
                        scopes: strings(&view.scopes),
                        environment: view.environment,
                        expires_at: view.expires_at.map(|at| at.to_string()),
                    }),
                    secret: None,
                    requested_scopes: requested,
                    approved_by: service.claims.approver(id).await?,
                    stored_at: None,
                    pickup: None,
                    next,
                })
            }
        }
    }
}

/// A shell line that leaves the key, as a header, in a 0600 file of server and agent. `printf` is the shell's own, so
/// neither token nor key is ever in an argument list. The file is there, under another name and with room for a key,
/// before the token is spent: a key that can't be kept would be lost.
fn pickup_command(config: &Config, agent: &str, token: &str) -> String {
    let (base, env, agent) = (&config.public_url, &config.api.key_env, slug(agent));
    let host: String = base.chars().skip_while(|c| *c != '/').map(|c| if c == ':' { '_' } else { c }).filter(|c| *c != '/').collect();
    format!(
        "(umask 077; t=; d=\"${{XDG_CONFIG_HOME:-$HOME/.config}}/countersign\"; f=\"$d/{host}-{agent}.header\"; \
         mkdir -p \"$d\" && [ ! -d \"$f\" ] && t=$(mktemp \"$f.XXXXXX\") && printf '%512s' . > \"$t\" || \
         {{ rm -f \"$t\"; printf 'Nothing was fetched, because %s can not be written. Mend that and run this command again, within its two minutes.\\n' \"$f\" >&2; exit 1; }}; \
         k=$(printf '{{\"pickup_token\":\"{token}\"}}' | curl -q -fsS -H 'Content-Type: application/json' -H 'Accept: text/plain' --data-binary @- {base}/agent/pickup) && \
         printf 'Authorization: Bearer %s\\n' \"$k\" > \"$t\" && mv -f \"$t\" \"$f\" || \
         {{ rm -f \"$t\"; printf 'No key. This command works once and for two minutes; a second use revokes the key. Call poll_claim for what to do.\\n' >&2; exit 1; }}; \
         printf 'Key stored. Use it with: curl -H @%s URL\\nFor an MCP client that reads a variable: export {env}=\"$(cut -d\" \" -f3 %s)\"\\n' \"$f\" \"$f\")"
    )
}
