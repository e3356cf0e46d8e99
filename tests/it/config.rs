//! One configuration: working defaults, and words that help when something is wrong.

use crate::support::process::Home;
use countersign::config::{error::ConfigError, load::Sources, settings::Config};

fn file(text: &str) -> Result<Config, ConfigError> {
    Config::load(&Sources { file: Some(("countersign.toml".into(), text.to_owned())), ..Sources::default() })
}

fn env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&Sources { environment, ..Sources::default() })
}

/// The message the configuration is refused with.
fn refused(config: Result<Config, ConfigError>) -> String {
    config.expect_err("this configuration can't work").to_string()
}

#[test]
fn defaults_need_nothing() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!((config.public_url.as_str(), config.pages_url.as_str()), ("http://127.0.0.1:4080", "http://127.0.0.1:4080"));
    assert!(config.signup_is_open(), "auto is open on loopback");
    assert_eq!(config.try_url(), "http://127.0.0.1:4080/v1/projects");
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let config = Config::load(&Sources::default()).unwrap();
    let text = toml::to_string(&config).unwrap();
    let written: toml::Table = text.parse().unwrap();
    assert_eq!(written["claim"]["code_ttl"].as_str(), Some("10m"));
    assert_eq!(written["claim"]["registration_ttl"].as_str(), Some("1h"));
    assert_eq!(written["claim"]["key_ttl"].as_str(), Some("90d"));
    assert_eq!(written["claim"]["interval"].as_integer(), Some(5));
    assert_eq!(written["plans"]["free"]["requests_per_minute"].as_integer(), Some(10));
    assert_eq!(written["plans"]["pro"]["requests_per_minute"].as_integer(), Some(100));
    assert_eq!(written["limits"]["registrations_per_hour"].as_integer(), Some(10));
    assert_eq!(file(&text).unwrap().claim.interval, 5, "what is shown can be read again");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    for (text, key, nearest) in [
        ("servce_name = 'x'", "servce_name", "service_name"),
        ("[claim]\nintervall = 5", "claim.intervall", "claim.interval"),
        ("[keys]\nmax_active_per_acount = 5", "keys.max_active_per_acount", "keys.max_active_per_account"),
        ("public_uri = 'https://x.example'", "public_uri", "public_url"),
    ] {
        let message = refused(file(text));
        assert!(message.contains(key) && message.contains(&format!("`{nearest}`")), "{message}");
    }
    let message = refused(env(&[("COUNTERSIGN_CLAIM__INTERVALL", "5")]));
    assert!(message.contains("claim.interval"), "{message}");
}

#[test]
fn an_unknown_member_of_a_scope_or_plan_is_refused() {
    assert!(refused(file("[scopes]\n\"a:b\" = { title = 'x', risk = 'low', dfault = true }")).contains("dfault"));
    assert!(refused(file("[plans.free]\nrequests_per_minute = 10\nburst = 3")).contains("burst"));
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let sources = Sources {
        file: Some(("f".into(), "service_name = 'file'\n[claim]\ninterval = 7".to_owned())),
        environment: vec![("COUNTERSIGN_CLAIM__INTERVAL".to_owned(), "8".to_owned())],
        flags: vec![],
        insecure: false,
    };
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.service_name.as_str(), config.claim.interval), ("file", 8));
    let config = Config::load(&Sources { flags: vec![("claim.interval", "9".to_owned())], ..sources }).unwrap();
    assert_eq!(config.claim.interval, 9);
}

#[test]
fn text_from_the_environment_stays_text() {
    for name in ["2026", "true", "007", "1e3"] {
        assert_eq!(env(&[("COUNTERSIGN_SERVICE_NAME", name)]).unwrap().service_name, name);
    }
}

#[test]
fn a_setting_is_read_from_the_file_its_variable_names() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("publishable");
    std::fs::write(&path, "https://docs.example/\r\n").unwrap();
    let config = env(&[("COUNTERSIGN_API__DOCS_URL_FILE", path.to_str().unwrap())]).unwrap();
    assert_eq!(config.api.docs_url, "https://docs.example/");
    assert!(refused(env(&[("COUNTERSIGN_API__DOCS_URL_FILE", "/no/such/file")])).contains("/no/such/file"));
}

#[test]
fn a_setting_that_ends_in_file_is_itself() {
    assert_eq!(env(&[("COUNTERSIGN_SECRET_FILE", "/run/secret")]).unwrap().secret_file, "/run/secret");
}

#[test]
fn variables_that_are_no_settings_are_left_alone() {
    env(&[("COUNTERSIGN_API_KEY", "cs_live_x"), ("COUNTERSIGN_LOG", "debug"), ("PATH", "/bin"), ("COUNTERSIGN_SERVER", "x")]).unwrap();
}

#[test]
fn a10_a_public_url_that_is_more_than_an_origin_is_refused() {
    for url in [
        "https://x.example/auth",
        "https://x.example/?a=b",
        "https://x.example/#a",
        "https://user@x.example",
        "https://user:pass@x.example",
        "ftp://x.example",
        "x.example",
        "https://",
        "javascript:alert(1)",
    ] {
        let message = refused(file(&format!("public_url = '{url}'")));
        assert!(message.contains("public_url"), "{message}");
        let message = refused(file(&format!("pages_url = '{url}'")));
        assert!(message.contains("pages_url"), "{message}");
    }
}

#[test]
fn a10_a_loopback_url_names_the_port_that_is_listened_on() {
    assert!(refused(file("public_url = 'http://127.0.0.1:4081'")).contains("4081"));
    assert!(refused(file("public_url = 'http://localhost'")).contains("80"));
    assert_eq!(file("public_url = 'http://localhost:4080/'").unwrap().public_url, "http://localhost:4080");
    assert_eq!(file("public_url = 'http://localhost:9999'\nlisten = '127.0.0.1:9999'").unwrap().public_url, "http://localhost:9999");
}

#[test]
fn a64_a_public_bind_needs_an_https_url() {
    assert!(refused(file("listen = '0.0.0.0:4080'")).contains("--public-url"));
    assert!(refused(file("listen = '[::]:4080'")).contains("--public-url"));
    assert!(refused(file("listen = '0.0.0.0:4080'\npublic_url = 'http://x.example'")).contains("https"));
    assert!(refused(file("listen = '0.0.0.0:4080'\npublic_url = 'http://127.0.0.1:4080'")).contains("https"));
    assert!(refused(file("public_url = 'http://x.example'")).contains("https"));
    file("listen = '0.0.0.0:4080'\npublic_url = 'https://x.example'").unwrap();
}

#[test]
fn a64_insecure_says_that_something_else_protects_it() {
    let file = Some(("f".into(), "listen = '0.0.0.0:4080'\npublic_url = 'http://x.example'".to_owned()));
    Config::load(&Sources { file, insecure: true, ..Sources::default() }).unwrap();
}

#[test]
fn sign_up_is_closed_where_others_can_reach_it() {
    let config = file("public_url = 'https://x.example'").unwrap();
    assert!(!config.signup_is_open());
    assert!(file("public_url = 'https://x.example'\nsignup = 'open'").unwrap().signup_is_open());
    assert!(!file("signup = 'closed'").unwrap().signup_is_open());
}

#[test]
fn what_can_not_work_is_refused_by_name() {
    for (text, name) in [
        ("[claim]\ninterval = 0", "claim.interval"),
        ("[claim]\ninterval = 61", "claim.interval"),
        ("[claim]\ncode_ttl = '2h'", "claim.code_ttl"),
        ("[claim]\ncode_ttl = '-1m'", "claim.code_ttl"),
        ("[claim]\nkey_ttl = 'forever'", "claim.key_ttl"),
        ("[claim]\nkey_ttl = '9000d'", "claim.key_ttl"),
        ("[claim]\ngrantable = ['email:send']", "claim.grantable"),
        ("[keys]\nprefix = ''", "keys.prefix"),
        ("[keys]\nprefix = 'CS'", "keys.prefix"),
        ("[keys]\nformat = 'rot13'", "keys.format"),
        ("[plans.free]\nrequests_per_minute = 0", "plans.free"),
        ("[plans.pro]\nrequests_per_minute = 1", "plans.free"),
        ("[scopes]\n\"keys:read\" = { title = 'x', risk = 'low' }", "keys:read"),
        ("[store]\nurl = 'postgres://x'", "store.url"),
        ("[api]\ntry = 'v1'", "api.try"),
        ("service_name = ''", "service_name"),
        ("listen = 'here'", "listen"),
        ("trusted_proxies = ['10.0.0.0/33']", "trusted_proxies"),
    ] {
        let message = refused(file(text));
        assert!(message.contains(name), "{text}: {message}");
    }
}

#[test]
fn what_is_no_toml_is_refused_with_the_file_name() {
    assert!(refused(file("= nonsense")).contains("countersign.toml"));
}

#[test]
fn keys_can_live_until_they_are_revoked() {
    assert_eq!(file("[claim]\nkey_ttl = 'none'").unwrap().claim.key_ttl.0, None);
}

#[test]
fn unlisted_environments_are_not_offered() {
    use countersign::domain::environment::Environment::{Live, Test};
    assert_eq!(file("").unwrap().offered_environments(), [Live]);
    assert_eq!(file("environment = 'test'").unwrap().offered_environments(), [Test]);
    assert_eq!(file("[keys]\noffered_environments = ['live', 'test']").unwrap().offered_environments(), [Live, Test]);
}

#[test]
fn what_would_end_in_a_shell_or_stop_the_server_is_refused() {
    assert!(refused(env(&[("COUNTERSIGN_API__KEY_ENV", "x$(touch /tmp/x)")])).contains("api.key_env"));
    for origin in ["*", "null", "https://app.example/"] {
        let list = format!("[\"{origin}\"]");
        assert!(refused(env(&[("COUNTERSIGN_HTTP__CORS_ORIGINS", &list)])).contains("http.cors_origins"));
    }
    assert!(refused(env(&[("COUNTERSIGN_SIGNIN__URL", "javascript:alert(1)")])).contains("signin.url"));
}

#[test]
fn a_setting_that_does_nothing_any_more_is_told_and_refuses_nothing() {
    for config in [
        file("metrics_listen = '127.0.0.1:9'\nservice_name = 'x'"),
        file("metrics_listen = ''"),
        file("metrics_listen = { a = 1 }"),
        env(&[("COUNTERSIGN_METRICS_LISTEN", "127.0.0.1:9")]),
    ] {
        let config = config.unwrap();
        assert_eq!(config.retired, ["metrics_listen"]);
        assert!(!toml::to_string(&config).unwrap().contains("metrics_listen"));
    }
    assert!(file("").unwrap().retired.is_empty());
    let misspelt = refused(file("metrics_listn = 'x'"));
    assert!(misspelt.contains("metrics_listn") && !misspelt.contains("`metrics_listen`"), "{misspelt}");
}

#[test]
fn a_server_starts_over_a_setting_that_does_nothing_any_more_and_says_so() {
    let home = Home::new();
    home.data_with("metrics_listen = '127.0.0.1:9'\n");
    home.run(&["mcp"], "").says("the setting `metrics_listen` does nothing any more, and can go").ended(0);
    assert!(home.run(&["doctor"], "").out().contains("`metrics_listen` does nothing any more"));
}
