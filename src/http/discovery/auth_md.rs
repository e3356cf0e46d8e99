//! `/auth.md`: the page agents read, written from the live configuration.

use crate::{
    config::settings::UnknownScopes,
    domain::{grant_type::CLAIM_GRANT, scope::Risk},
    service::services::App,
};
use std::fmt::Write as _;

/// Registers, prints only link and code, polls, and leaves the key in a 0600 file. `@BASE@` and the like are filled in.
const SCRIPT: &str = r#"#!/bin/sh
# Usage: sh get-key.sh "Name of this agent" "scope scope …"   (no scopes: the least set)
# Prints the link and the code for your human, waits, and writes the key to $KEY_FILE (mode 0600) without showing it.
set -eu
umask 077
KEY_FILE=${KEY_FILE:-"$HOME/.@FILE@"}
field() { sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
quoted() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g'; }
ask() { curl -q -sS -H 'Content-Type: application/json' -H 'Accept: '"$2" --data-binary @- '@BASE@'"$1"; }
scope=${2:+",\"scope\":\"$(quoted "$2")\""}
answer=$(printf '{"type":"service_auth","agent_name":"%s"%s}' "$(quoted "${1:-Shell agent}")" "${scope:-}" | ask /agent/identity application/json)
token=$(printf '%s' "$answer" | field claim_token)
[ -n "$token" ] || { printf '%s\n' "$answer" >&2; exit 1; }
printf 'Link: %s\nCode: %s\n' "$(printf '%s' "$answer" | field verification_uri)" "$(printf '%s' "$answer" | field user_code)"
interval=@INTERVAL@
while sleep "$interval"; do
  reply=$(printf '{"grant_type":"@GRANT@","claim_token":"%s"}' "$token" | ask /oauth2/token text/plain) || continue
  case $reply in
    @PREFIX@_*[!A-Za-z0-9_]*) ;;
    @PREFIX@_*) rm -f "$KEY_FILE"; printf '%s' "$reply" > "$KEY_FILE"; printf 'Key stored in %s\n' "$KEY_FILE"; exit 0 ;;
  esac
  case $(printf '%s' "$reply" | field error) in
    slow_down) interval=$((interval + 5)) ;;
    authorization_pending | temporarily_unavailable | '') ;;
    *) printf '%s\n' "$reply" >&2; exit 1 ;;
  esac
done
"#;

/// Every error an agent can meet, and what to do.
const ERRORS: [(&str, &str, &str); 25] = [
    ("authorization_pending", "400", "The human has not decided. Wait `interval` seconds, poll again."),
    ("slow_down", "400", "You polled too soon. Use the `interval` in the answer from now on (5 seconds more than before)."),
    ("access_denied", "400", "The human said no. Stop; register again only if they ask you to."),
    ("expired_token", "400", "`\"retry\":\"claim\"`: get a fresh code at the claim endpoint. `\"retry\":\"register\"`: start over."),
    ("invalid_grant", "400", "The claim token is unknown, already redeemed, or the code verifier does not match. Start over."),
    ("invalid_request", "400", "A field is missing or wrong; `field` names it. Correct it."),
    ("invalid_scope", "400", "None of the scopes is available to agents; `available_scopes` lists those that are."),
    ("invalid_login_hint", "400", "`login_hint` is not an e-mail address. Correct it or leave it out."),
    ("unsupported_identity_type", "400", "Send `\"type\":\"service_auth\"`."),
    ("unsupported_grant_type", "400", "Send the claim grant named in step 3."),
    ("invalid_claim_token", "401", "The claim endpoint does not know the token. Start over."),
    ("claimed_or_in_flight", "409", "The human has the page open or has decided. Go on polling. (`already_claimed` says the same.)"),
    ("claim_expired", "410", "The registration is over. Start over."),
    ("too_many_attempts", "429", "A fresh code at most every 10 seconds and 12 times. Wait `Retry-After`, or start over."),
    ("rate_limit_exceeded", "429", "Wait `Retry-After` seconds."),
    ("invalid_token", "401", "The `Authorization` header you sent is not valid. Leave it out, or send a valid key."),
    ("conflict", "409", "The account has all the keys it may have. Ask your human to revoke one, then poll again."),
    ("not_found", "404", "There is no such endpoint. Use the URLs on this page."),
    ("method_not_allowed", "405", "Use the method this page shows."),
    ("request_timeout", "408", "The body did not arrive within 15 seconds. Send the request again."),
    ("payload_too_large", "413", "The body is over 64 KiB. Send only the members this page shows."),
    ("unsupported_media_type", "415", "Send `Content-Type: application/json`."),
    ("misdirected_request", "421", "You used another name of this server. Use the URLs on this page."),
    ("temporarily_unavailable", "503", "Wait `Retry-After` seconds, send the same request again."),
    ("server_error", "500", "Something went wrong here. Try once more, then tell your human."),
];

pub fn render(app: &App) -> String {
    let config = &app.context.config;
    let (base, name) = (&config.public_url, &config.service_name);
    let interval = config.claim.interval;
    let script = SCRIPT
        .replace("@BASE@", base)
        .replace("@GRANT@", CLAIM_GRANT)
        .replace("@INTERVAL@", &interval.to_string())
        .replace("@PREFIX@", &config.keys.prefix)
        .replace("@FILE@", &config.api.key_env.to_ascii_lowercase());
    let mut scopes = String::new();
    for (scope, info) in app.context.catalogue.iter().filter(|(_, info)| info.agents) {
        let risk = match info.risk {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        };
        let default = if info.default { "yes" } else { "" };
        let _ = writeln!(scopes, "| `{scope}` | {} | {risk} | {default} |", info.title);
    }
    let mut errors = String::new();
    for (code, status, what) in ERRORS {
        let _ = writeln!(errors, "| `{code}` | {status} | {what} |");
    }
    let unknown = match config.claim.unknown_scopes {
        UnknownScopes::Drop => "Scopes that are not in the table are never granted; the answer names them in `ignored_scopes`.",
        UnknownScopes::Reject => "A scope that is not in the table makes the request fail with `invalid_scope`.",
    };
    let docs =
        if config.api.docs_url.is_empty() { String::new() } else { format!("\nThe API itself is described at {}.\n", config.api.docs_url) };
    let brand = [("Terms", &config.brand.terms_url), ("Privacy", &config.brand.privacy_url), ("Support", &config.brand.support_url)];
    let brand: String = brand.into_iter().filter(|(_, url)| !url.is_empty()).map(|(what, url)| format!("{what}: {url}\n")).collect();
    format!(
        r#"# Get access to {name}

You are an agent. {name} gives you an API key of your own once a human has approved it: you ask, show a link and a
short code, the human countersigns, you collect the key. Nobody pastes a key anywhere.

The whole of it as a POSIX shell script:

```sh
{script}```

## 1. Register

```http
POST {base}/agent/identity
Content-Type: application/json

{{"type":"service_auth","agent_name":"<your name>","scope":"<space-separated>","login_hint":"<your human's e-mail, optional>"}}
```

Ask only for what the task needs. Without `scope` you get the least set. {unknown}
`login_hint` grants nothing. Optional: `"environment":"{environment}"`; and, so that a lost reply loses no key,
`"code_challenge"` (base64url of the SHA-256 of a random 43 to 128 character verifier) with `"code_challenge_method":"S256"`.

The answer has `claim_token` (yours alone: never show it), `claim.user_code`, `claim.verification_uri`,
`claim.expires_in`, `claim.interval`, and `next`, one sentence that says what to do now.

## 2. Show your human the link and the code

Show `claim.verification_uri` and `claim.user_code` exactly as they are, and say why you ask. The page is
{pages}/claim. Never open it yourself, never enter the code yourself.

## 3. Poll until they have decided

```http
POST {base}/oauth2/token
Content-Type: application/json

{{"grant_type":"{grant}","claim_token":"<from step 1>"}}
```

Every `claim.interval` ({interval}) seconds, not faster; or with the header `Prefer: wait=50`, and the answer comes as soon as there is
one. Form encoding works as well. With a challenge, add `code_verifier`. On approval:
`{{"access_token":"<the key>","token_type":"Bearer","scope":"…","key_id":"key_…","approved_by":"u•••@example.com"}}`.
The key is delivered once. Store it at once; tell your human whose account (`approved_by`) it belongs to.

## 4. Use it

```http
GET {try_url}
Authorization: Bearer <the key>
```

Keep it in the environment variable `{key_env}`, never in a chat, a log or a repository.{docs}
A 401 means that the key is unknown, revoked or expired: drop it and register again. `GET {base}/v1/whoami` tells what the key may do.
To give it up: `POST {base}/oauth2/revoke` with `{{"token":"<the key>"}}`.

## Fresh code

Codes live {code_ttl} minutes, a registration {registration_ttl} minutes. For a fresh code:
`POST {base}/agent/identity/claim` with `{{"claim_token":"…"}}`; the old code is dead at once.

## Scopes

| scope | lets a key | risk | in the least set |
| --- | --- | --- | --- |
{scopes}
## Errors

`{{"error":"<code>","error_description":"…","next":"…"}}`, and where one field of the request is wrong, its name as `field`.

| code | status | what to do |
| --- | --- | --- |
{errors}
Every call, for programs: {base}/openapi.json (OpenAPI 3.1); to read: {pages}/docs.
Metadata: {base}/.well-known/oauth-authorization-server (RFC 8414), {base}/.well-known/oauth-protected-resource (RFC 9728).
{brand}"#,
        environment = config.environment,
        pages = config.pages_url,
        grant = CLAIM_GRANT,
        try_url = config.try_url(),
        key_env = config.api.key_env,
        code_ttl = config.claim.code_ttl.0.as_mins(),
        registration_ttl = config.claim.registration_ttl.0.as_mins(),
    )
}
