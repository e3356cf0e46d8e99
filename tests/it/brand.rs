//! Pages and documents that look like the service's own.

use crate::support::*;
use countersign::config::{load::Sources, settings::Config};

fn refused(setting: &'static str, value: &str) -> String {
    Config::load(&Sources { flags: vec![(setting, value.to_owned())], ..Sources::default() }).unwrap_err().to_string()
}

fn file(app: &TestApp, name: &str, bytes: &[u8]) -> String {
    let path = app.dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_accent_is_a_stylesheet_of_our_own_origin() {
    let app = app_with("brand.accent", "#ff6600").await;
    let page = app.http().get("/login").send().await.text();
    let url = &page[page.find("/brand.css?v=").expect("linked")..][.."/brand.css?v=".len() + 12];
    let style = app.http().get(url).send().await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(style.text().contains("prefers-color-scheme: dark") && style.text().contains("--accent: #ff6600"), "{}", style.text());
}

#[tokio::test]
async fn without_an_accent_there_is_no_second_stylesheet() {
    assert!(!app().await.http().get("/login").send().await.text().contains("brand.css"));
}

#[tokio::test]
async fn a_logo_is_served_as_a_picture_that_runs_nothing() {
    let other = app().await;
    let path =
        file(&other, "logo.svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 8 8\"><rect width=\"8\" height=\"8\"/></svg>");
    let app = app_with("brand.logo_file", &path).await;
    assert!(app.http().get("/").send().await.text().contains("src=\"/logo?v="));
    let logo = app.http().get("/logo").send().await;
    assert_eq!((logo.header("content-type"), logo.header("x-content-type-options")), ("image/svg+xml", "nosniff"));
    assert_eq!(logo.header("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'; sandbox");
    assert!(logo.text().starts_with("<svg"));
}

#[tokio::test]
async fn a_logo_that_can_not_be_served_stops_the_start() {
    let app = app().await;
    let script = file(&app, "script.svg", b"<svg><SCRIPT>alert(1)</SCRIPT></svg>");
    let big = file(&app, "big.png", &[b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 64 * 1024]].concat());
    let text = file(&app, "logo.txt", b"Acme");
    for (path, why) in [(script.as_str(), "script"), (&big, "at most"), (&text, "neither PNG nor SVG"), ("/nowhere.svg", "can't read")] {
        let message = refused("brand.logo_file", path);
        assert!(message.contains("brand.logo_file") && message.contains(why), "{message}");
    }
    assert!(refused("brand.accent", "crimson").contains("`brand.accent` = crimson must be a colour"));
}

#[tokio::test]
async fn the_services_links_are_on_pages_in_auth_md_and_in_discovery() {
    let links = [
        ("brand.terms_url", "https://acme.example/terms"),
        ("brand.privacy_url", "https://acme.example/privacy"),
        ("brand.support_url", "https://acme.example/support"),
        ("api.docs_url", "https://acme.example/docs"),
    ];
    let app = links.iter().fold(build().set("service_name", "Acme"), |app, (name, url)| app.set(name, url)).start().await;
    let read = |path: &'static str| {
        let http = app.http();
        async move { http.get(path).send().await }
    };
    for path in ["/", "/login", "/nowhere"] {
        let page = app.http().get(path).header("accept", "text/html").send().await.text();
        assert!(links.iter().all(|(_, url)| page.contains(&format!("href=\"{url}\""))), "{path}");
    }
    let auth_md = read("/auth.md").await.text();
    assert!(links.iter().all(|(_, url)| auth_md.contains(url)), "{auth_md}");
    let resource = read("/.well-known/oauth-protected-resource").await.ok();
    assert_eq!(resource["resource_name"], "Acme");
    assert_eq!((&resource["resource_tos_uri"], &resource["resource_policy_uri"]), (&links[0].1.into(), &links[1].1.into()));
    let server = read("/.well-known/oauth-authorization-server").await.ok();
    assert_eq!((&server["op_tos_uri"], &server["op_policy_uri"]), (&links[0].1.into(), &links[1].1.into()));
}
