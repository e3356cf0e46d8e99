//! Who is looking: cookies, the session behind them, and where a human may be sent next.

use crate::{
    api::error::Error,
    domain::{account::Account, page_path::PagePath, secret::SessionToken, session::BrowserSession, source::Source, user_code::UserCode},
    http::extract::client_address::source_of,
    service::{caller::Actor, services::App},
    web::failure::PageError,
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::cookie::{Cookie, SameSite};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::Url;

/// A code that came with a link waits this long in its cookie: no longer than codes usually live.
const CODE_TTL_SECONDS: i64 = 600;

/// What a cookie is for.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Session,
    /// Ties forms to a browser that is not signed in yet (login CSRF).
    Anonymous,
    /// The code a link carried, until the human confirms it.
    Code,
}

/// On https the `__Host-` prefix keeps other hosts from setting it. On loopback, where every port shares
/// its cookies, the port in the name keeps two servers apart.
fn cookie_name(app: &App, kind: Kind) -> String {
    let pages = &app.context.config.pages_url;
    if pages.starts_with("https://") {
        match kind {
            Kind::Session => "__Host-cs".to_owned(),
            Kind::Anonymous => "__Host-cs-anon".to_owned(),
            Kind::Code => "__Host-cs-code".to_owned(),
        }
    } else {
        let port = Url::parse(pages).ok().and_then(|url| url.port_or_known_default()).unwrap_or_default();
        match kind {
            Kind::Session => format!("cs_{port}"),
            Kind::Anonymous => format!("cs_{port}_anon"),
            Kind::Code => format!("cs_{port}_code"),
        }
    }
}

/// A `Set-Cookie` value; `None` ends the cookie.
fn set_cookie(app: &App, kind: Kind, value: Option<&str>) -> String {
    let mut cookie = Cookie::new(cookie_name(app, kind), value.unwrap_or_default().to_owned());
    cookie.set_path("/");
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_secure(app.context.config.pages_url.starts_with("https://"));
    let seconds = match (value, kind) {
        (None, _) => Some(0),
        (Some(_), Kind::Code) => Some(CODE_TTL_SECONDS),
        (Some(_), Kind::Session | Kind::Anonymous) => None,
    };
    let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    format!("{cookie}{age}")
}

/// The one cookie of that name, whatever its neighbours hold: cookies are bytes (RFC 6265 section 4.1.1 binds servers, not
/// what browsers keep), and on loopback every program sets some. Two of that name mean that another port or path tossed one
/// in: neither counts.
fn presented(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let end = pair.iter().position(|b| *b == b'=')?;
        (pair[..end].trim_ascii_end() == name.as_bytes()).then(|| pair[end + 1..].trim_ascii_start())
    });
    match (values.next(), values.next()) {
        // Ours are ASCII.
        (Some(value), None) => std::str::from_utf8(value).ok().map(str::to_owned),
        _ => None,
    }
}

/// A human whose browser has a live session.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub session: BrowserSession,
    pub account: Account,
    pub token: SessionToken,
}

/// Whoever looks at a page, signed in or not.
#[derive(Clone)]
pub struct Visitor {
    pub app: App,
    pub source: Source,
    pub signed_in: Option<SignedIn>,
    /// The code that came with a link.
    pub code: Option<UserCode>,
    pub path: String,
    /// The value of the cookie that forms are bound to.
    bound_to: String,
    /// The browser does not have that cookie yet.
    is_new: bool,
    query: Vec<(String, String)>,
}

impl Visitor {
    /// Looks a browser up by its cookies. An id this server does not know is never adopted.
    pub async fn of(app: &App, parts: &Parts) -> Result<Self, Error> {
        let mut visitor = Self::nobody(app, parts);
        if let Some(value) = presented(&parts.headers, &cookie_name(app, Kind::Session))
            && let Some(token) = SessionToken::parse(&value)
            && let Some((session, account)) = app.accounts.session(&token).await?
        {
            visitor.bound_to = value;
            visitor.is_new = false;
            visitor.signed_in = Some(SignedIn { session, account, token });
        }
        Ok(visitor)
    }

    /// The same browser, taken as not signed in.
    pub fn nobody(app: &App, parts: &Parts) -> Self {
        let known = presented(&parts.headers, &cookie_name(app, Kind::Anonymous)).filter(|value| is_32_bytes(value));
        let query = parts.uri.query().unwrap_or_default();
        Self {
            app: app.clone(),
            source: source_of(parts, app),
            signed_in: None,
            code: presented(&parts.headers, &cookie_name(app, Kind::Code)).and_then(|code| code.parse().ok()),
            path: parts.uri.path().to_owned(),
            is_new: known.is_none(),
            bound_to: known.unwrap_or_else(|| URL_SAFE_NO_PAD.encode(app.context.runtime.bytes::<32>())),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        }
    }

    /// The first value of a query parameter, or nothing.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn form_token(&self) -> String {
        self.app.accounts.form_token(&self.bound_to)
    }

    pub fn form_token_is_right(&self, given: &str) -> bool {
        // A token for a cookie the browser was never given can't be right.
        !self.is_new && self.app.accounts.form_token_is_right(&self.bound_to, given)
    }

    /// Gives the browser the cookie its forms are bound to, if it has none.
    pub fn greet(&self, response: &mut Response) {
        if self.is_new {
            self.put(response, Kind::Anonymous, Some(&self.bound_to));
        }
    }

    pub fn put(&self, response: &mut Response, kind: Kind, value: Option<&str>) {
        if let Ok(value) = HeaderValue::from_str(&set_cookie(&self.app, kind, value)) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    /// After set-up, sign-up and sign-in: a new id, the old session ended, and on to where the human was going.
    pub async fn welcome(&self, token: &SessionToken, return_to: &str) -> Result<Response, PageError> {
        if let Some(old) = &self.signed_in {
            self.app.accounts.sign_out(&old.token).await?;
        }
        let mut response = Redirect::to(&self.safe_path(return_to)).into_response();
        self.put(&mut response, Kind::Session, Some(token.expose()));
        self.put(&mut response, Kind::Anonymous, None);
        Ok(response)
    }

    pub fn safe_path(&self, text: &str) -> String {
        text.parse::<PagePath>().unwrap_or_default().into()
    }

    /// Where to sign in, to come back to this page. A service's own sign-in is told the path, and comes back by a
    /// portal session with that `return_to`; a code that came with a link waits in its cookie meanwhile.
    pub fn sign_in_url(&self) -> String {
        let elsewhere = &self.app.context.config.signin.url;
        if self.path.starts_with("/claim")
            && let Ok(mut url) = Url::parse(elsewhere)
        {
            url.query_pairs_mut().append_pair("return_to", &self.path);
            return url.into();
        }
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", &self.path).finish();
        format!("/login?{query}")
    }
}

fn is_32_bytes(value: &str) -> bool {
    URL_SAFE_NO_PAD.decode(value).is_ok_and(|bytes| bytes.len() == 32)
}

impl FromRequestParts<App> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, PageError> {
        parts.extensions.get::<Self>().cloned().ok_or(PageError(Error::Internal))
    }
}

/// A visitor who is signed in; others are sent to sign in first.
#[derive(Clone)]
pub struct Human {
    pub visitor: Visitor,
    pub session: BrowserSession,
    pub account: Account,
}

impl Human {
    /// In whose right this human acts on keys and agents.
    pub fn actor(&self) -> Actor {
        Actor::owner(&self.session)
    }
}

impl FromRequestParts<App> for Human {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        match visitor.signed_in.clone() {
            Some(SignedIn { session, account, .. }) => Ok(Self { visitor, session, account }),
            None if parts.method == Method::GET || parts.method == Method::HEAD => {
                Err(Redirect::to(&visitor.sign_in_url()).into_response())
            }
            None => Err(PageError(Error::SignInNeeded).into_response()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cookies_of_one_name_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; cs_1=x; b=2"));
        assert_eq!(presented(&headers, "cs_1").as_deref(), Some("x"));
        headers.append(header::COOKIE, HeaderValue::from_static("cs_1=y"));
        assert_eq!(presented(&headers, "cs_1"), None);
    }

    #[test]
    fn f43_a_neighbour_may_hold_anything() {
        let neighbours: [&[u8]; 10] = [
            "ville=Montr\u{e9}al".as_bytes(),
            b"ville=Montr\xe9al",
            b"\xff\xfe=\xff",
            b"quoted=\"a b, c\"",
            b"open=\"",
            b"halves=\"a;b\"",
            b"no pair at all",
            b"=",
            b"x=cs_1=y; cs_1",
            b"; ;;",
        ];
        for neighbour in neighbours {
            for (before, after) in [(neighbour, &b""[..]), (b"", neighbour), (neighbour, neighbour)] {
                let line = [before, b"; cs_1=ours;", after].concat();
                let mut headers = HeaderMap::new();
                headers.append(header::COOKIE, HeaderValue::from_bytes(&line).unwrap());
                assert_eq!(presented(&headers, "cs_1").as_deref(), Some("ours"), "{}", line.escape_ascii());
            }
        }
    }
}
