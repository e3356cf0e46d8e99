//! What a form sends. Nothing reads a POST but this, so no form goes unchecked.

use crate::{
    api::error::Error,
    domain::secret::Password,
    http::extract::body::whole,
    service::services::App,
    web::{failure::PageError, session::Visitor},
};
use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, Method, header},
};
use zeroize::Zeroizing;

const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// Fields that may come more than once: groups of checkboxes.
const LISTS: [&str; 1] = ["scopes"];

/// The fields of a form whose token was right. Has no `Debug`: it may hold a password.
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// A field as it was sent, or nothing.
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.to_string()).collect()
    }

    /// A password, taken out of the form.
    pub fn password(&mut self, field: &str) -> Password {
        let typed = self.0.iter_mut().find(|(name, _)| name == field);
        Password::typed(typed.map_or_else(String::new, |(_, value)| std::mem::take(&mut **value)))
    }
}

/// Safe methods, and forms of our own pages. Browsers send `Origin` with every POST; without one it is no form of ours.
/// Where something on the way took the origin out (`null`), the browser's own word that it is ours will do; the form's
/// token is asked for in any case.
pub fn is_ours(method: &Method, headers: &HeaderMap, pages_url: &str) -> bool {
    if method == Method::GET || method == Method::HEAD {
        return true;
    }
    let (mut origins, mut sites) = (headers.get_all(header::ORIGIN).into_iter(), headers.get_all("sec-fetch-site").into_iter());
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    match sites.next() {
        None => origin == pages_url,
        Some(site) if sites.next().is_some() || (site != "same-origin" && site != "none") => false,
        Some(site) => origin == pages_url || (origin == "null" && site == "same-origin"),
    }
}

impl FromRequest<App> for Form {
    type Rejection = PageError;

    async fn from_request(request: Request, app: &App) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app).await?;
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !content_type.split(';').next().is_some_and(|mime| mime.trim().eq_ignore_ascii_case(URL_ENCODED)) {
            return Err(PageError(Error::UnsupportedMediaType { expected: URL_ENCODED.to_owned() }));
        }
        let body = whole(body).await.map_err(PageError)?;
        // The body may have taken its time: somebody signed out meanwhile sends nothing any more.
        if let Some(signed_in) = &visitor.signed_in
            && app.accounts.session(&signed_in.token).await?.is_none()
        {
            return Err(PageError(Error::SignInNeeded));
        }
        let form =
            Self(form_urlencoded::parse(&body).map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))).collect());
        form.has_no_duplicates()?;
        if !visitor.form_token_is_right(form.text("form_token")) {
            return Err(PageError(Error::ForeignForm));
        }
        Ok(form)
    }
}

impl Form {
    /// Two values of one field would leave it to chance which is checked and which is used.
    fn has_no_duplicates(&self) -> Result<(), Error> {
        let mut seen: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).filter(|name| !LISTS.contains(name)).collect();
        seen.sort_unstable();
        match seen.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(Error::Malformed { detail: "the form has a field twice".to_owned() }),
            false => Ok(()),
        }
    }
}
