//! Callers of the real router: programs, and a browser with a cookie jar that fills in the forms it was shown.

use super::{PASSWORD, TestApp, password};
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, HeaderValue, Request},
};
use countersign::server::entry::Front;
use http_body_util::BodyExt;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    task::Poll,
};
use tower::ServiceExt;

pub const CLAIM_GRANT: &str = "urn:workos:agent-auth:grant-type:claim";
pub const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// How requests get there.
#[derive(Clone)]
enum Way {
    Front(Front),
    Wire(SocketAddr),
}

/// A program that calls the router from one address, or a listening server.
#[derive(Clone)]
pub struct Http {
    way: Way,
    host: String,
    peer: IpAddr,
}

impl TestApp {
    /// A caller on this computer, who names the right host.
    pub fn http(&self) -> Http {
        let url = url::Url::parse(&self.service.context.config.public_url).unwrap();
        let host = url.port().map_or_else(|| url.host_str().unwrap().to_owned(), |port| format!("{}:{port}", url.host_str().unwrap()));
        // Made once for a service.
        let mut made = self.front.lock().unwrap();
        let front = match made.as_ref().filter(|(service, _)| std::sync::Arc::ptr_eq(service, &self.service)) {
            Some((_, front)) => front.clone(),
            None => Front::new(self.service.clone()),
        };
        *made = Some((self.service.clone(), front.clone()));
        Http { way: Way::Front(front), host, peer: [127, 0, 0, 1].into() }
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser { http: self.http(), origin: self.service.context.config.pages_url.clone(), jar: BTreeMap::new(), page: Answer::default() }
    }

    /// A browser in which the owner of a two days old account is signed in.
    pub async fn signed_in(&self, email: &str) -> Browser {
        if self.service.accounts.account_by_email(email).await.is_err() {
            self.human(email).await;
        }
        let source = super::at("127.0.0.1");
        let token = self.service.accounts.sign_in(email, password(PASSWORD), source).await.expect("the password is right");
        let mut browser = self.browser();
        browser.jar.insert(self.session_cookie(), token.expose().to_owned());
        browser
    }

    pub fn session_cookie(&self) -> String {
        let url = url::Url::parse(&self.service.context.config.pages_url).unwrap();
        if url.scheme() == "https" { "__Host-cs".to_owned() } else { format!("cs_{}", url.port().unwrap()) }
    }
}

impl Http {
    /// A caller of a server that listens.
    pub fn over(address: SocketAddr) -> Self {
        Self { way: Way::Wire(address), host: address.to_string(), peer: address.ip() }
    }

    /// The same caller from another address.
    pub fn from(&self, ip: &str) -> Self {
        Self { peer: ip.parse().unwrap(), ..self.clone() }
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        Call {
            http: self.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            host: Some(self.host.clone()),
            headers: Vec::new(),
            raw: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }

    /// `POST /agent/identity`
    pub async fn register(&self, body: Value) -> Answer {
        self.post("/agent/identity").json(&body).send().await
    }

    /// `POST /oauth2/token` with the claim grant.
    pub async fn poll(&self, claim_token: &str) -> Answer {
        self.post("/oauth2/token").json(&serde_json::json!({"grant_type": CLAIM_GRANT, "claim_token": claim_token})).send().await
    }

    pub async fn poll_with(&self, claim_token: &str, verifier: &str) -> Answer {
        let body = serde_json::json!({"grant_type": CLAIM_GRANT, "claim_token": claim_token, "code_verifier": verifier});
        self.post("/oauth2/token").json(&body).send().await
    }

    pub async fn projects(&self, key: &str) -> Answer {
        self.get("/v1/projects").bearer(key).send().await
    }
}

/// One request, before it is sent.
pub struct Call {
    http: Http,
    method: String,
    path: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    raw: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Call {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header whose value need not be text. Not over the wire.
    pub fn raw_header(mut self, name: &'static str, value: &[u8]) -> Self {
        self.raw.push((name, value.to_vec()));
        self
    }

    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = (!host.is_empty()).then(|| host.to_owned());
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        if content_type.is_empty() { self } else { self.header("content-type", content_type) }
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body(URL_ENCODED, body)
    }

    pub async fn send(self) -> Answer {
        self.try_send().await.expect("the server answers")
    }

    /// An error if the server goes away meanwhile.
    pub async fn try_send(self) -> std::io::Result<Answer> {
        let front = match &self.http.way {
            Way::Front(front) => front.clone(),
            Way::Wire(address) => {
                let mut headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                headers.extend(self.host.as_deref().map(|host| ("host", host)));
                return super::exchange(*address, &self.method, &self.path, &headers, &self.body).await;
            }
        };
        let response = front.oneshot(self.request()).await.expect("the front never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body is whole").to_bytes().to_vec();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes })
    }

    fn request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.as_str()).uri(self.path.as_str());
        if let Some(host) = &self.host {
            request = request.header("host", host);
        }
        for (name, value) in &self.headers {
            // Not every header is ASCII.
            request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header without line breaks"));
        }
        for (name, value) in self.raw {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(self.body)).expect("a request that can be sent");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.http.peer, 50_000)));
        request
    }

    /// The answer's head, and a body that is still to be read: for streams. Only past no wire.
    pub async fn streamed(self) -> axum::response::Response {
        let Way::Front(front) = self.http.way.clone() else { panic!("there is a wire in between") };
        front.oneshot(self.request()).await.expect("the front never fails")
    }

    /// Sends it whole and leaves at the `waits`-th time the server waits for something: as it begins to wait, or as it
    /// could go on. `None` if it left before it had its whole answer.
    pub async fn left(self, waits: usize, leaving: Leaving) -> Option<Answer> {
        let mut answering = Box::pin(self.send());
        let mut polls = 0;
        poll_fn(|context| {
            if leaving == Leaving::AsItGoesOn && polls == waits {
                return Poll::Ready(None);
            }
            polls += 1;
            match answering.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if leaving == Leaving::AsItWaits && polls > waits => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// When a client leaves that does not wait for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    AsItWaits,
    AsItGoesOn,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("answers are UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// A header that is there once, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().expect("a readable header"));
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    /// Fails unless this is a success with a JSON body, which it returns.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Fails unless this is a page, which it returns.
    #[track_caller]
    pub fn html(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        self.text()
    }

    /// Fails unless this is that error of the OAuth family, described, and with what to do next.
    #[track_caller]
    pub fn oauth_error(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status, body["error"].as_str()), (status, Some(code)), "{body}");
        assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        assert!(body["next"].as_str().is_some_and(|text| text.ends_with('.') && text.len() > 10), "{body}");
        body
    }

    /// Fails unless nobody on the way may keep the answer.
    #[track_caller]
    pub fn not_stored(&self) -> &Self {
        assert_eq!((self.header("cache-control"), self.header("pragma")), ("no-store", "no-cache"), "{}", self.text());
        self
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// All `Set-Cookie` values.
    pub fn cookies(&self) -> Vec<String> {
        self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

/// A person's browser: keeps cookies, and posts the forms of the page it shows.
#[derive(Clone)]
pub struct Browser {
    pub http: Http,
    origin: String,
    pub jar: BTreeMap<String, String>,
    /// What it shows.
    pub page: Answer,
}

impl Browser {
    /// A browser without cookies, for a server that listens.
    pub fn over(address: SocketAddr) -> Self {
        Self { http: Http::over(address), origin: format!("http://{address}"), jar: BTreeMap::new(), page: Answer::default() }
    }

    fn with_cookies(&self, call: Call) -> Call {
        let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if cookies.is_empty() { call } else { call.header("cookie", &cookies.join("; ")) }
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.cookies() {
            let (name, rest) = cookie.split_once('=').expect("name=value");
            let value = rest.split(';').next().unwrap_or_default();
            if value.is_empty() || cookie.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// One request with the cookies; what it answers is shown, redirects are not followed.
    pub async fn send(&mut self, call: Call) -> Answer {
        self.try_send(call).await.expect("the server answers")
    }

    pub async fn try_send(&mut self, call: Call) -> std::io::Result<Answer> {
        let answer = self.with_cookies(call).try_send().await?;
        self.keep(&answer);
        self.page = answer.clone();
        Ok(answer)
    }

    pub async fn visit(&mut self, path: &str) -> Answer {
        self.send(self.http.get(path)).await
    }

    /// Goes to an address and wherever it leads on this server.
    pub async fn open(&mut self, path: &str) -> Answer {
        let mut answer = self.visit(path).await;
        for _ in 0..5 {
            if !(300..400).contains(&answer.status) {
                return answer;
            }
            let next = answer.location().strip_prefix(&self.origin).unwrap_or(answer.location()).to_owned();
            answer = self.visit(&next).await;
        }
        panic!("too many redirects from {path}");
    }

    /// A form of the page shown, as the browser would send it without anything typed: hidden fields, ticked boxes.
    pub fn form(&self, action: &str) -> Vec<(String, String)> {
        let html = self.page.text();
        let start = html.find(&format!("action=\"{action}\"")).unwrap_or_else(|| panic!("no form for {action} in {html}"));
        let form = &html[start..start + html[start..].find("</form>").unwrap()];
        let inputs = form.split("<input ").skip(1).map(|input| input.split('>').next().unwrap());
        let sent = inputs.filter(|input| input.contains("type=\"hidden\"") || (input.contains("checkbox") && input.contains(" checked")));
        let attribute = |input: &str, name: &str| {
            let rest = &input[input.find(&format!("{name}=\"")).unwrap() + name.len() + 2..];
            rest[..rest.find('"').unwrap()].to_owned()
        };
        sent.map(|input| (attribute(input, "name"), attribute(input, "value"))).collect()
    }

    /// A form's post as our own pages send it: fields typed replace those of the form, `None` empties one.
    pub fn submission(&self, action: &str, typed: &[(&str, &str)]) -> Call {
        let mut fields = self.form(action);
        fields.retain(|(name, _)| !typed.iter().any(|(typed, _)| typed == name));
        fields.extend(typed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.http.post(action).form(&fields)
    }

    /// The same with what a browser adds.
    pub fn posting(&self, action: &str, typed: &[(&str, &str)]) -> Call {
        let call = self.submission(action, typed).header("origin", &self.origin).header("sec-fetch-site", "same-origin");
        self.with_cookies(call)
    }

    /// Sends a form of the page shown from our own origin. Redirects are not followed.
    pub async fn submit(&mut self, action: &str, typed: &[(&str, &str)]) -> Answer {
        self.try_submit(action, typed).await.expect("the server answers")
    }

    pub async fn try_submit(&mut self, action: &str, typed: &[(&str, &str)]) -> std::io::Result<Answer> {
        let call = self.submission(action, typed).header("origin", &self.origin).header("sec-fetch-site", "same-origin");
        self.try_send(call).await
    }

    /// Types a code, right or wrong.
    pub async fn submit_code(&mut self, code: &str) -> Answer {
        self.open("/claim").await;
        self.submit("/claim", &[("code", code)]).await
    }

    /// Enters the code; returns the review page's path.
    pub async fn enter(&mut self, code: &str) -> String {
        let entered = self.submit_code(code).await;
        assert_eq!(entered.status, 303, "{}", entered.text());
        let path = entered.location().to_owned();
        self.open(&path).await;
        path
    }

    /// Enters the code, looks, approves all that is asked.
    pub async fn approve(&mut self, code: &str) -> Answer {
        let path = self.enter(code).await;
        self.submit(&path, &[("decision", "approve")]).await
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.get(name).cloned()
    }
}
