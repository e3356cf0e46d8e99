//! Sessions of programs: e-mail and password buy a short-lived token that is accepted wherever a key is, as the
//! account itself. The steps are told in [`crate::domain::program_session`].
//!
//! A session never decides a claim, never opens a page, and has no operator's power over other accounts.

use crate::{
    api::{accounts::TokenPair, error::Error, values::Revealed},
    domain::{
        activity::EventKind,
        id::ProgramSessionId,
        pasted,
        program_session::{ProgramSession, Refreshed},
        secret::{ApiKey, Password, RefreshToken},
        source::Source,
    },
    service::{
        access_token::SessionTokens,
        accounts::{
            sign_in::{remember_place, still_proven},
            state::Accounts,
        },
        active_account::active_account,
        caller::{Caller, Principal},
        record_event::record,
    },
};
use jsonwebtoken::jwk::Jwk;
use subtle::ConstantTimeEq;

impl Accounts {
    /// The public keys session tokens are checked with; none where there are no session tokens.
    pub fn signing_keys(&self) -> Vec<&Jwk> {
        self.session_tokens.iter().map(|tokens| &tokens.jwk).collect()
    }

    /// What programs send as `apikey` to sign in; `None`: they can't.
    pub fn publishable_key(&self) -> Option<&str> {
        self.session_tokens.as_ref().map(|tokens| tokens.publishable_key.as_str())
    }

    /// What programs may do that name the publishable key. Where the configuration does not let programs sign in, nothing
    /// is there.
    ///
    /// # Errors
    /// * [`Error::NoRoute`]: the configuration lets no program sign in.
    /// * [`Error::Unauthorized`]: that is not the publishable key.
    pub fn programs(&self, apikey: Option<&str>) -> Result<Programs<'_>, Error> {
        let tokens = self.session_tokens.as_ref().ok_or(Error::NoRoute)?;
        let named = pasted::bare(apikey.unwrap_or_default());
        let right: bool = tokens.publishable_key.as_bytes().ct_eq(named.as_bytes()).into();
        if right { Ok(Programs { accounts: self, tokens }) } else { Err(Error::Unauthorized { presented: apikey.is_some() }) }
    }
}

/// The use cases of programs, for one that named the publishable key.
pub struct Programs<'a> {
    accounts: &'a Accounts,
    tokens: &'a SessionTokens,
}

impl Programs<'_> {
    /// Step 1: signs a program in. Limits, answers and time are those of the page's sign-in.
    ///
    /// # Errors
    /// As [`Accounts::sign_in`].
    pub async fn sign_in(&self, email: &str, password: Password, source: Source) -> Result<TokenPair, Error> {
        let known = self.accounts.check_password(email, password, source).await?;
        let (account, runtime) = (known.id, &self.accounts.context.runtime);
        let (now, random) = (runtime.now(), runtime.bytes());
        let id = ProgramSessionId::new(now, runtime.bytes());
        let session = ProgramSession { id, account, created_at: now, refreshed_at: now, generation: 0, salt: runtime.bytes(), source };
        let row = session.clone();
        self.accounts
            .context
            .store
            .write(move |tx| {
                still_proven(tx, &known)?;
                let open = tx.program_sessions().of_account(account)?;
                for oldest in open.iter().take((open.len() + 1).saturating_sub(ProgramSession::MAX_PER_ACCOUNT)) {
                    tx.erase(oldest);
                }
                tx.save(&row)?;
                remember_place(tx, account, &source, now)?;
                Ok::<_, Error>(record(tx, account, Some(source), EventKind::ProgramSignedIn { session: id }, now, random)?)
            })
            .await?;
        self.pair(&session)
    }

    /// Steps 3 and 4: the next pair. A token that comes a second time ends the session.
    ///
    /// # Errors
    /// [`Error::InvalidRefreshToken`], whatever is wrong with it or its session.
    pub async fn refresh(&self, presented: &str, source: Source) -> Result<TokenPair, Error> {
        let (context, presented) = (&self.accounts.context, pasted::bare(presented));
        let (id, generation) = RefreshToken::names(presented).ok_or(Error::InvalidRefreshToken)?;
        let (now, random) = (context.runtime.now(), context.runtime.bytes());
        let (secret, presented) = (context.secret.clone(), Revealed::new(presented));
        let session = context
            .store
            .write(move |tx| {
                let session = tx.program_sessions().get(id)?.filter(|session| session.is_live(now)).ok_or(Error::InvalidRefreshToken)?;
                if !secret.refresh_token(id, &session.salt, generation).is(presented.expose()) {
                    return Err(Error::InvalidRefreshToken);
                }
                let account = active_account(tx, session.account).map_err(|_| Error::InvalidRefreshToken)?.id;
                match session.clone().refresh(generation, now) {
                    Refreshed::Next(next) => tx.save(&next).map(|()| Some(next)).map_err(Error::from),
                    Refreshed::Reused => {
                        tx.erase(&session);
                        record(tx, account, Some(source), EventKind::RefreshReused { session: id }, now, random)?;
                        // An error would take the erasure back.
                        Ok(None)
                    }
                }
            })
            .await?;
        self.pair(&session.ok_or(Error::InvalidRefreshToken)?)
    }

    fn pair(&self, session: &ProgramSession) -> Result<TokenPair, Error> {
        let runtime = &self.accounts.context.runtime;
        let access = self.tokens.sign(session, runtime.now(), runtime.bytes()).map_err(Error::internal)?;
        let refresh = self.accounts.context.secret.refresh_token(session.id, &session.salt, session.generation);
        Ok(TokenPair {
            access_token: Revealed::new(access.expose()),
            token_type: "bearer",
            expires_in: ProgramSession::ACCESS_TTL_SECONDS,
            refresh_token: Revealed::new(refresh.expose()),
        })
    }
}

impl Accounts {
    /// Ends the caller's own session at once, with its refresh token.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the caller is a key.
    pub async fn sign_out_program(&self, caller: &Caller, source: Source) -> Result<(), Error> {
        let Principal::Session(id) = caller.who else {
            return Err(Error::Forbidden { detail: "a key does not sign out: revoke it".to_owned() });
        };
        self.end_program_session(id, source).await
    }

    async fn end_program_session(&self, id: ProgramSessionId, source: Source) -> Result<(), Error> {
        let (now, random) = (self.context.runtime.now(), self.context.runtime.bytes());
        self.context
            .store
            .write(move |tx| {
                tx.takes_away();
                let Some(session) = tx.program_sessions().get(id)? else { return Ok(()) };
                tx.erase(&session);
                record(tx, session.account, Some(source), EventKind::ProgramSignedOut { session: id }, now, random)
            })
            .await?;
        Ok(())
    }

    /// RFC 7009 for session tokens: whoever holds either token of a session may end it. Returns whether it was one.
    pub(crate) async fn revoke_session_token(&self, token: &str, source: Source) -> Result<bool, Error> {
        let Some(tokens) = &self.session_tokens else { return Ok(false) };
        let access = ApiKey::presented(token).and_then(|token| token.as_access_token());
        let id = match (access, RefreshToken::names(token)) {
            (Some(access), _) => tokens.read(&access, self.context.runtime.now()).map(|(id, _)| id),
            (None, Some((id, generation))) => {
                let session = self.context.store.read(|tx| tx.program_sessions().get(id)).await?;
                session
                    .filter(|session| self.context.secret.refresh_token(id, &session.salt, generation).is(token))
                    .map(|session| session.id)
            }
            (None, None) => return Ok(false),
        };
        if let Some(id) = id {
            self.end_program_session(id, source).await?;
        }
        Ok(true)
    }
}
