//! A token in a body: what somebody asks about, or wants ended.
//!
//! What came along with it is no part of it ([`crate::domain::pasted`]). A token in the middle of something else is
//! neither it nor unknown: who is told that it is not valid, or that it is revoked, would believe it dead.

use crate::{
    api::error::Error,
    domain::{
        characters::is_b64token,
        id::KeyId,
        pasted::{self, Said},
        secret::{ClaimHandle, ClaimToken, PickupToken, PortalTicket, RefreshToken},
    },
    service::{keys::state::Keys, verification::key_lookup::ALONE},
};

impl Keys {
    /// The one token a text holds, if that may be answered with "revoked": RFC 7009 does so for unknown ones, too.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what it is instead of a token: an answer of "revoked" would be believed.
    pub fn to_revoke<'a>(&self, text: &'a str) -> Result<&'a str, Error> {
        let wrong = |detail: &str| Err(Error::invalid("token", detail));
        let Said::Token(token) = pasted::said(text) else {
            return wrong("holds no token: a variable may have been empty, or was not filled in");
        };
        self.verifier.alone("token", token)?;
        if !is_b64token(token) {
            return wrong("is not one token: send the key or token alone");
        }
        let holds_session_token = (token.contains("rft_") && RefreshToken::names(token).is_none())
            || (token.contains("eyJ") && token.bytes().filter(|b| *b == b'.').count() > 2);
        if self.verifier.session_tokens.is_some() && holds_session_token {
            return wrong(ALONE);
        }
        if token.parse::<KeyId>().is_ok() {
            return wrong("is the id of a key, not the key: only who holds a key can end it here");
        }
        let others = [
            ClaimToken::parse(token).is_some(),
            PickupToken::parse(token).is_some(),
            ClaimHandle::parse(token).is_some(),
            PortalTicket::parse(token).is_some(),
        ];
        if others.contains(&true) {
            return wrong("is no key: what it stands for ends by itself, and can't be revoked here");
        }
        Ok(token)
    }
}
