//! By which names we are called: asked where something depends on it, and nowhere else.

use crate::support::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign::store::table::Table;
use serde_json::{Value, json};

/// A deployment behind an https address, with a name for the programs beside it, and a key that may verify.
async fn deployment(hosts: &str) -> (TestApp, String) {
    let app = build().set("public_url", "https://keys.example").set("pages_url", "https://pages.example").set("hosts", hosts);
    let app = app.set("plans.free.requests_per_minute", "1000000").set("limits.registrations_per_hour", "0").start().await;
    let ada = app.human("ada@example.com").await;
    app.edit(ada.account, |account| account.operator = true).await;
    let key = app.key(&ada, &["audience:read", "keys:verify"]).await.key.expose().to_owned();
    (app, key)
}

const FOREIGN: [&str; 8] = [
    "countersign:4080",
    "10.0.3.7:8080",
    "localhost",
    "[fd00::7]:4080",
    "evil.example",
    "keys.example:8443",
    "",
    "keys.example.evil.example",
];

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}})
}

fn mcp(app: &TestApp, host: &str) -> Call {
    app.http().post("/mcp").host(host).header("accept", "application/json, text/event-stream").json(&initialize())
}

#[tokio::test]
async fn f34_probes_are_answered_whatever_the_host() {
    let (app, _) = deployment("[]").await;
    for host in FOREIGN {
        for path in ["/healthz", "/readyz"] {
            for method in ["GET", "HEAD"] {
                assert_eq!(app.http().call(method, path).host(host).send().await.status, 200, "{method} {path} {host:?}");
            }
        }
    }
}

#[tokio::test]
async fn f34_a_probe_of_http_1_0_names_no_host() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_app, address) = build().listen().await;
    for path in ["/healthz", "/readyz"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
}

#[tokio::test]
async fn f35_a_call_with_a_key_is_answered_by_whatever_name() {
    let (app, key) = deployment("[]").await;
    for host in FOREIGN {
        let verify = app.http().post("/v1/keys/verify").host(host).bearer(&key).json(&json!({"key": key}));
        assert_eq!(verify.send().await.status, 200, "{host:?}");
        let introspect = app.http().post("/oauth2/introspect").host(host).bearer(&key).form(&[("token", key.as_str())]);
        assert_eq!(introspect.send().await.ok()["active"], true, "{host:?}");
        let basic = format!("Basic {}", STANDARD.encode(format!("x:{key}")));
        let introspect = app.http().post("/oauth2/introspect").host(host).header("authorization", &basic).form(&[("token", key.as_str())]);
        assert_eq!(introspect.send().await.ok()["active"], true, "{host:?}");
        assert_eq!(app.http().get("/v1/whoami").host(host).header("x-api-key", &key).send().await.status, 200, "{host:?}");
        // HTTP/1.1 asks for some name, and so does the SDK.
        let status = if host.is_empty() { 400 } else { 200 };
        assert_eq!(mcp(&app, host).bearer(&key).send().await.status, status, "{host:?}");
    }
}

/// What a page gets that a browser was lured to by another name: nobody is somebody on this computer for it.
#[tokio::test]
async fn a09_without_a_key_of_its_own_a_foreign_name_is_answered_by_nobody() {
    let (app, key) = deployment("[]").await;
    let register = json!({"type": "service_auth", "agent_name": "Claude"});
    for host in FOREIGN {
        for credential in ["", "Basic eDp5", "Bearer", "Bearer ", "Bearer ${COUNTERSIGN_API_KEY}", "Digest x"] {
            let with =
                |call: Call| if credential.is_empty() { call.host(host) } else { call.host(host).header("authorization", credential) };
            for (call, status) in [
                (app.http().post("/agent/identity").json(&register), 421),
                (app.http().post("/oauth2/token").json(&json!({})), 421),
                (app.http().post("/v1/keys/verify").json(&json!({"key": key})), 421),
                (app.http().get("/.well-known/jwks.json"), 421),
                (app.http().get("/openapi.json"), 421),
                (app.http().get("/nowhere"), 421),
                (mcp(&app, host), 403),
            ] {
                let answer = with(call).send().await;
                assert_eq!((answer.status, answer.text().contains("evil")), (status, false), "{host:?} {credential:?}");
            }
        }
        // A key opens no page, wrong or right.
        for presented in [key.as_str(), "cs_live_nobody"] {
            for path in ["/login", "/claim", "/setup", "/settings/keys"] {
                assert_eq!(app.http().get(path).host(host).bearer(presented).send().await.status, 421, "{host:?} {path}");
            }
        }
        let wrong = app.http().post("/agent/identity").host(host).bearer("cs_live_nobody").json(&register).send().await;
        assert_eq!(wrong.status, 401, "{host:?}");
    }
    assert_eq!(app.row_counts().await[Table::Registrations], 0, "nobody registered");
}

#[tokio::test]
async fn f35_further_names_are_for_programs_and_published_urls_stay() {
    let (app, key) = deployment("[\"countersign:4080\", \"Inner.Example.\", \"[fd00::7]:4080\"]").await;
    for host in [
        "countersign:4080",
        "COUNTERSIGN:4080",
        "countersign.:4080",
        "inner.example",
        "inner.example:80",
        "inner.example.:443",
        "[fd00::7]:4080",
        "keys.example",
    ] {
        app.http().get("/.well-known/jwks.json").host(host).send().await.ok();
        let metadata = app.http().get("/.well-known/oauth-authorization-server").host(host).send().await.ok();
        assert_eq!(metadata["issuer"], "https://keys.example", "{host}");
        let asked =
            app.http().post("/agent/identity").host(host).json(&json!({"type": "service_auth", "agent_name": "Claude"})).send().await.ok();
        assert_eq!(asked["claim"]["verification_uri"], "https://pages.example/claim", "{host}");
        let verify = app.http().post("/v1/keys/verify").host(host).bearer(&key).json(&json!({"key": key}));
        assert_eq!(verify.send().await.status, 200, "{host}");
        assert_eq!(mcp(&app, host).send().await.status, 200, "{host}");
    }
    for host in [
        "countersign",
        "countersign:4081",
        "countersign..:4080",
        "fd00::7:4080",
        "inner.example:8080",
        "x.countersign:4080",
        "countersign:04080",
    ] {
        assert_eq!(app.http().get("/.well-known/jwks.json").host(host).send().await.status, 421, "{host}");
        assert_eq!(mcp(&app, host).send().await.status, 403, "{host}");
    }
    // A human is led to where the forms work.
    let page = app.http().get("/claim?x=1").host("countersign:4080").header("accept", "text/html").send().await;
    assert_eq!((page.status, page.location()), (307, "https://pages.example/claim?x=1"));
}

#[tokio::test]
async fn f35_the_usual_port_and_the_roots_dot_make_no_other_host() {
    let (app, _) = deployment("[]").await;
    for host in
        ["keys.example", "KEYS.example", "keys.example:443", "keys.example.", "keys.example.:443", "pages.example:443", "keys.example:"]
    {
        assert_eq!(app.http().get("/auth.md").host(host).send().await.status, 200, "{host}");
        assert_eq!(app.http().get("/login").host(host).send().await.status, 200, "{host}");
    }
    for host in ["keys.example:80", "keys.example..", ".keys.example", "keys.example:0443", "keys.example:443:443", "x@keys.example"] {
        assert_eq!(app.http().get("/auth.md").host(host).send().await.status, 421, "{host}");
        assert_eq!(app.http().get("/login").host(host).send().await.status, 421, "{host}");
    }
}

#[tokio::test]
async fn a09_two_hosts_that_differ_are_none_even_for_a_key_or_a_probe() {
    let (app, key) = deployment("[\"countersign:4080\"]").await;
    let call = |path: &str| app.http().get(path).host("keys.example").bearer(&key).header("host", "countersign:4080");
    for path in ["/healthz", "/v1/whoami", "/v1/authorize?scope=", "/login"] {
        assert_eq!(call(path).send().await.status, 421, "{path}");
    }
    // As an absolute address or HTTP/2 has it beside `Host`.
    let named = |path: &str| app.http().get(&format!("http://countersign:4080{path}")).host("keys.example").bearer(&key);
    for path in ["/healthz", "/v1/whoami", "/v1/authorize?scope=", "/login"] {
        assert_eq!(named(path).send().await.status, 421, "{path}");
    }
    let same = app.http().get("http://Keys.example.:80/v1/whoami").host("keys.example").bearer(&key).send().await;
    assert_eq!(same.status, 200, "one host, spelt twice");
}

#[tokio::test]
async fn f36_a_proxy_asks_with_its_visitors_host() {
    let (app, key) = deployment("[]").await;
    for host in FOREIGN {
        let ask = |key: &str| app.http().get("/v1/authorize?scope=audience:read").host(host).bearer(key).send();
        assert_eq!((ask(&key).await.status, ask("cs_live_nobody").await.status), (200, 401), "{host:?}");
        assert_eq!(app.http().get("/v1/authorize?scope=audience:read").host(host).send().await.status, 401, "{host:?}");
    }
}

#[tokio::test]
async fn f35_the_published_names_and_further_ones_open_no_password_to_another() {
    let app = build().set("sessions.password_grant", "true").start().await;
    let ask = |host: &str| {
        let call = app.http().post("/auth/v1/token?grant_type=password").host(host).bearer("cs_live_x").header("apikey", "x");
        call.json(&json!({"email": "a@example.com", "password": "x"})).send()
    };
    assert_eq!(ask("evil.example").await.status, 421);
    assert_ne!(ask("127.0.0.1:4080").await.status, 421);
}

#[test]
fn f35_hosts_are_hosts() {
    use countersign::config::{load::Sources, settings::Config};
    let load = |text: &str| Config::load(&Sources { file: Some(("countersign.toml".into(), text.to_owned())), ..Sources::default() });
    for (written, read) in [
        ("countersign:4080", "countersign:4080"),
        ("COUNTERSIGN", "countersign"),
        ("inner.example.", "inner.example"),
        ("10.0.3.7:8080", "10.0.3.7:8080"),
        ("[FD00::7]:4080", "[fd00::7]:4080"),
        ("a_b-c.svc.cluster.local", "a_b-c.svc.cluster.local"),
    ] {
        assert_eq!(load(&format!("hosts = ['{written}']")).unwrap().hosts, [read], "{written}");
    }
    for wrong in [
        "",
        "http://countersign",
        "countersign/x",
        "*.example",
        "*",
        "a b",
        "u@h",
        "h:0",
        "h:65536",
        "h:x",
        ".",
        "fd00::7",
        "h?x",
        "h#x",
        "a,b",
    ] {
        let message = load(&format!("hosts = ['{wrong}']")).expect_err(wrong).to_string();
        assert!(message.contains("`hosts`"), "{wrong}: {message}");
    }
}
