//! The two products whose configurations are in `tests/profiles`: complete, different only in configuration, and safe
//! from the same attacks.

use crate::support::*;
use countersign::{
    config::{load::Sources, settings::Config},
    domain::{activity::EventKind, environment::Environment, key_format::Body},
    service::keys::create::NewKey,
};
use serde_json::{Value, json};

const PRODUCTS: [&str; 2] = ["migma", "magpipe"];

/// As its founder starts it: nothing but the file.
fn founder(name: &str) -> Config {
    let file = Some((format!("{name}.toml").into(), profile(name)));
    Config::load(&Sources { file, ..Sources::default() }).expect("the product's configuration is good")
}

fn titles(config: &Config) -> Vec<(String, String)> {
    config.scopes.iter().map(|(scope, info)| (scope.to_string(), info.title.clone())).collect()
}

#[test]
fn both_configurations_load_as_they_are() {
    let (migma, magpipe) = (founder("migma"), founder("magpipe"));
    assert_eq!((migma.public_url.as_str(), migma.pages_url.as_str()), ("https://api.migma.ai", "https://migma.ai"));
    assert_eq!((migma.keys.prefix.as_str(), migma.keys.environments, migma.auth.extra_headers), ("mgma_sk", true, false));
    assert_eq!((magpipe.keys.prefix.as_str(), magpipe.keys.format, magpipe.keys.environments), ("mgp", Body::Hex40, false));
    assert_eq!((magpipe.keys.max_active_per_account, magpipe.sessions.password_grant), (10, true));
    assert_eq!((migma.api.key_env.as_str(), magpipe.api.key_env.as_str()), ("MIGMA_API_KEY", "MAGPIPE_API_KEY"));
    assert!([&migma, &magpipe].iter().all(|config| config.claim.key_ttl.0.is_none() && config.signup_is_open()));
}

#[test]
fn the_catalogue_has_the_documented_permissions_in_their_words() {
    let documented = [
        ("audience:read", "View subscribers, tags, and audience segments"),
        ("audience:write", "Add, update subscribers, manage tags, create segments"),
        ("email:read", "View email templates and sending history"),
        ("email:send", "Send emails to subscribers using templates"),
        ("template:read", "Read and use email templates"),
        ("webhook:read", "List and view webhook configurations"),
        ("webhook:write", "Create, update, and delete webhooks for real-time notifications"),
    ];
    let mut titles = titles(&founder("migma"));
    titles.retain(|(scope, _)| scope != "campaign:read");
    assert_eq!(titles, documented.map(|(scope, title)| (scope.to_owned(), title.to_owned())));
}

#[test]
fn no_code_asks_which_product_it_is() {
    fn read(dir: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                read(&entry.path(), found);
            } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
                let text = text.to_lowercase();
                found.extend(
                    ["migma", "magpipe", "mgma", "mgp_"]
                        .iter()
                        .filter(|name| text.contains(**name))
                        .map(|name| format!("{name} in {}", entry.path().display())),
                );
            }
        }
    }
    let mut found = Vec::new();
    read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

/// The product's own refusal of whoever is nobody.
fn nobody(product: &str) -> Value {
    match product {
        "migma" => json!({"success": false, "error": "Invalid or missing API key", "code": "unauthorized"}),
        _ => json!({"error": {"code": "unauthorized", "message": "Unauthorized"}}),
    }
}

fn first_scope(app: &TestApp) -> String {
    app.service.context.config.scopes.keys().next().unwrap().to_string()
}

async fn key(app: &TestApp, environment: Option<Environment>) -> (Human, String) {
    let human = app.human("alice@example.com").await;
    let scope = first_scope(app);
    let new = NewKey { environment, ..new_key(&[&scope, "keys:verify"]) };
    let key = app.service.keys.create_key(human.actor(), human.account, new, human.source).await.unwrap();
    (human, key.key.expose().to_owned())
}

#[tokio::test]
async fn a59_bearer_in_one_header_once_is_the_only_way_in() {
    for name in PRODUCTS {
        let app = product(name).set("plans.free.requests_per_minute", "100").start().await;
        let (_, key) = key(&app, None).await;
        let get = || app.http().get("/v1/projects");
        for scheme in ["Bearer", "bearer", "BEARER"] {
            get().header("authorization", &format!("{scheme} {key}")).send().await.ok();
        }
        let oversized = format!("{key}{}", "0".repeat(20_000));
        for (header, value) in [
            ("authorization", key.clone()),
            ("authorization", format!("ApiKey {key}")),
            ("authorization", format!("Basic {key}")),
            ("authorization", format!("Token {key}")),
            ("authorization", format!("Bearer {oversized}")),
            ("x-api-key", key.clone()),
            ("apikey", key.clone()),
            ("cookie", format!("key={key}")),
        ] {
            let refused = get().header(header, &value).send().await;
            assert_eq!((refused.status, refused.json()), (401, nobody(name)), "{name} {header}: {value:.30}");
            assert!(refused.header("www-authenticate").starts_with("Bearer "), "{name}");
        }
        assert_eq!(get().bearer(&key).bearer(&key).send().await.status, 400, "{name}: twice");
        for parameter in ["access_token", "api_key", "key", "apikey"] {
            let refused = app.http().get(&format!("/v1/projects?{parameter}={key}")).bearer(&key).send().await;
            assert_eq!((refused.status, refused.text().contains(&key)), (400, false), "{name} {parameter}");
        }
    }
}

#[tokio::test]
async fn a49_a_key_of_the_other_environment_is_nobody_and_its_owner_reads_why() {
    for (here, other) in [("live", Environment::Test), ("test", Environment::Live)] {
        for name in PRODUCTS {
            let app = product(name).set("environment", here).start().await;
            let (human, wrong) = key(&app, Some(other)).await;
            let refused = app.http().projects(&wrong).await;
            assert_eq!((refused.status, refused.json()), (401, nobody(name)), "{name} on {here}");
            assert!(
                app.activity(human.account).await.iter().any(|what| matches!(what, EventKind::WrongEnvironment { .. })),
                "{name} on {here}"
            );
            let asked = app.http().post("/v1/keys/verify").bearer(&wrong).json(&json!({"key": wrong})).send().await.ok();
            let verdict = if name == "migma" { &asked["data"] } else { &asked };
            assert_eq!((&verdict["valid"], &verdict["code"]), (&json!(false), &json!("WRONG_ENVIRONMENT")), "{name} on {here}");
            assert_eq!(wrong.starts_with(&format!("mgma_sk_{}_", other.as_str())), name == "migma");
        }
    }
}

#[tokio::test]
async fn a85_a_page_under_another_name_signs_nobody_in_and_adopts_nothing() {
    for name in PRODUCTS {
        let app = product(name).start().await;
        app.human("alice@example.com").await;
        let mut browser = app.browser();
        browser.open("/login").await;
        let fields = [("email", "alice@example.com"), ("password", PASSWORD)];
        for (host, origin, status) in [
            ("rebound.example:4080", "http://rebound.example:4080", 421),
            ("127.0.0.1:4081", "http://127.0.0.1:4081", 421),
            ("127.0.0.1:4080", "http://rebound.example:4080", 403),
            ("127.0.0.1:4080", "http://127.0.0.1:4081", 403),
            ("127.0.0.1:4080", "null", 403),
        ] {
            let call = browser.submission("/login", &fields).host(host).header("origin", origin);
            let refused = browser.clone().send(call).await;
            assert_eq!((refused.status, refused.cookies().len()), (status, 0), "{name}: {origin} to {host}");
        }
        let page = app.http().get("/login").host("rebound.example:4080").header("accept", "text/html").send().await;
        assert_eq!((page.status, page.cookies().len()), (421, 0), "{name}");
    }
}

#[tokio::test]
async fn a85_a_cookie_another_port_set_is_not_our_session() {
    for name in PRODUCTS {
        let (app, elsewhere) = (product(name).start().await, product(name).set("environment", "test").seed(9).start().await);
        let (mut browser, theirs) = (app.signed_in("alice@example.com").await, elsewhere.signed_in("mallory@example.net").await);
        let (cookie, foreign) = (browser.cookie("cs_4080").unwrap(), theirs.cookie("cs_4080").unwrap());
        // Their server's session under our cookie's name, alone and beside ours.
        for value in [format!("cs_4080={foreign}"), format!("cs_4080={cookie}; cs_4080={foreign}"), format!("cs_4081={cookie}")] {
            let page = app.http().get("/settings/keys").header("cookie", &value).send().await;
            assert_eq!((page.status, page.location().starts_with("/login")), (303, true), "{name}");
        }
        assert_eq!(browser.open("/settings/keys").await.status, 200, "{name}");
    }
}
