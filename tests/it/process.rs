//! The real program: started, asked, stopped.

mod commands;

use crate::support::{process::*, *};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

// Starting and stopping.

#[tokio::test]
async fn the_first_start_says_where_everything_is() {
    let home = Home::new();
    let server = home.serve().await;
    let url = format!("http://{}", server.address);
    let heads: Vec<_> = server.printed.iter().map(|line| line.split("   ").next().unwrap().split(" · ").next().unwrap()).collect();
    assert_eq!(&heads[..5], ["Countersign", "Set up", "Agents", "Claude", "Others"]);
    let note = home.data().join("setup-code");
    let set_up = &server.printed[1];
    assert!(
        set_up.contains(&format!("{url}/setup")) && set_up.contains(note.to_str().unwrap()) && set_up.contains("once, until"),
        "{set_up}"
    );
    assert!(
        server.printed[3].contains("claude mcp add countersign -- ") && server.printed[3].contains(" mcp --data "),
        "{}",
        server.printed[3]
    );
    assert!(
        server.printed[5].starts_with("Only this computer can reach it") && server.printed[6].starts_with("Back up the file \"secret\"")
    );
    let code = fs::read_to_string(&note).unwrap();
    assert!(!server.printed.concat().contains(code.trim()), "the code is not for whatever collects the output");
    assert_eq!((mode(&note), mode(home.data()), mode(home.data().join("secret"))), (0o600, 0o700, 0o600));
    assert_eq!(fs::metadata(home.data().join("secret")).unwrap().size(), 32);
    assert_eq!(server.http().get("/healthz").send().await.status, 200);
}

#[tokio::test]
async fn the_set_up_code_makes_the_operator_and_is_gone_after_the_next_start() {
    let home = Home::new();
    let server = home.serve().await;
    let code = fs::read_to_string(home.data().join("setup-code")).unwrap();
    let mut browser = Browser::over(server.address);
    browser.open("/setup").await;
    let answer = browser.submit("/setup", &[("code", code.trim()), ("email", ME), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(browser.open("/settings/keys").await.text().contains(ME));
    assert!(server.stopped().await.success());
    let again = home.serve().await;
    assert!(!home.data().join("setup-code").exists() && !again.printed.concat().contains("Set up"));
}

#[tokio::test]
async fn a_second_process_says_who_holds_the_directory_and_where() {
    let home = Home::new();
    let server = home.serve().await;
    let second = home.run(&["serve", "--listen", "127.0.0.1:0"], "");
    second
        .ended(1)
        .says(&format!("process {}", server.child.id().unwrap()))
        .says(&format!("http://{}", server.address))
        .says("countersign serve");
    let same_port = home.run(&["serve", "--listen", &server.address.to_string()], "");
    same_port.ended(1).says(&format!("process {}", server.child.id().unwrap()));
    let elsewhere = Home::new().run(&["serve", "--listen", &server.address.to_string()], "");
    elsewhere.ended(1).says("can't listen on").says("--listen");
}

#[tokio::test]
async fn told_to_end_it_ends_with_0() {
    for signal in ["-TERM", "-INT"] {
        let home = Home::new();
        let mut server = home.serve().await;
        server.told(signal);
        assert_eq!(server.child.wait().await.unwrap().code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_poll_that_waits_does_not_keep_the_server_for_ever() {
    let home = Home::new();
    let server = home.serve().await;
    let asked = server.http().register(asking(false)).await.ok();
    let body = json!({"grant_type": CLAIM_GRANT, "claim_token": asked["claim_token"]}).to_string();
    let held =
        exchange(server.address, "POST", "/oauth2/token", &[("content-type", "application/json"), ("prefer", "wait=55")], body.as_bytes());
    let address = server.address;
    let (_, ended) = tokio::join!(held, async {
        // The poll is on its way once another request behind it was answered.
        exchange(address, "GET", "/healthz", &[], b"").await.unwrap();
        server.stopped().await
    });
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn a_secret_that_is_wrong_missing_or_open_to_others_refuses_to_start() {
    let home = Home::new();
    home.account();
    let secret = home.data().join("secret");
    let right = fs::read(&secret).unwrap();
    let serve = || home.run(&["serve"], "");
    fs::write(&secret, [1; 32]).unwrap();
    serve().ended(1).says("secret");
    fs::write(&secret, [1; 31]).unwrap();
    serve().ended(1).says("31 bytes instead of 32");
    fs::remove_file(&secret).unwrap();
    serve().ended(1).says("missing");
    assert!(!secret.exists(), "no new one is made");
    fs::write(&secret, &right).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    serve().ended(1).says("chmod 600");
    fs::rename(&secret, home.data().join("elsewhere")).unwrap();
    symlink(home.data().join("elsewhere"), &secret).unwrap();
    serve().ended(1).says("symbolic link");
    fs::remove_file(&secret).unwrap();
    fs::write(&secret, &right).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(home.serve().await.stopped().await.success());
}

#[tokio::test]
async fn a64_a_public_address_without_https_is_refused() {
    let home = Home::new();
    home.run(&["serve", "--listen", "0.0.0.0:0"], "").ended(1).says("--public-url https://");
    home.run(&["serve", "--listen", "0.0.0.0:0", "--public-url", "http://192.0.2.1:4080"], "").ended(1).says("https");
    home.run(&["serve", "--listen", "0.0.0.0:0", "--public-url", "http://127.0.0.1:0"], "").ended(1).says("https");
    home.run(&["serve", "--public-url", "https://acme.example/path"], "").ended(1).says("public_url");
}

// The command line.

/// Makes a key, verifies, lists and revokes it, whoever holds the directory.
fn walk_of_a_key(home: &Home) {
    let made = home.run(&["keys", "create", "--account", ME, "--name", "CI", "--scope", "audience:read,email:send"], "");
    let key = made.ok().trim().to_owned();
    assert!(key.starts_with("cs_live_") && made.said().contains("only time"), "{}", made.said());
    let verify = |arguments: &[&str], key: &str| home.run(&[&["keys", "verify"], arguments].concat(), &format!("{key}\n"));
    assert!(verify(&["--scope", "email:send"], &key).ok().starts_with("VALID\n"));
    verify(&["--scope", "keys:write"], &key).ended(1);
    assert_eq!(verify(&[], "cs_live_nothing").ended(1).out(), "NOT_FOUND\n");
    let listed: Value = serde_json::from_str(&home.run(&["keys", "list", "--account", ME, "--json"], "").ok()).unwrap();
    let id = text(&listed["keys"][0], "id");
    assert!(!listed.to_string().contains(&key) && home.run(&["keys", "list"], "").ok().contains(&id));
    home.run(&["keys", "revoke", &id, "--yes", "--reason", "done"], "").ok();
    let verdict: Value = serde_json::from_str(&verify(&["--json"], &key).ended(1).out()).unwrap();
    assert_eq!((&verdict["valid"], &verdict["code"]), (&json!(false), &json!("REVOKED")));
}

#[tokio::test]
async fn keys_are_made_verified_listed_and_revoked_with_and_without_a_server() {
    let home = Home::new();
    home.account();
    walk_of_a_key(&home);
    let server = home.serve().await;
    let revoked: Value = serde_json::from_str(&home.run(&["keys", "list", "--json"], "").ok()).unwrap();
    home.run(&["keys", "revoke", &text(&revoked["keys"][0], "id"), "--yes"], "").ok();
    let other = Home::new();
    other.account();
    let serving = other.serve().await;
    walk_of_a_key(&other);
    assert!(server.stopped().await.success() && serving.stopped().await.success());
}

#[tokio::test]
async fn a_key_revoked_on_the_command_line_is_dead_on_the_server_at_once() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let key = home.run(&["keys", "create", "--account", ME, "--name", "CI", "--scope", "audience:read"], "").ok().trim().to_owned();
    server.http().projects(&key).await.ok();
    let listed: Value = serde_json::from_str(&home.run(&["keys", "list", "--json"], "").ok()).unwrap();
    home.run(&["keys", "revoke", &text(&listed["keys"][0], "id"), "--yes"], "").ok();
    assert_eq!(server.http().projects(&key).await.status, 401);
}

#[test]
fn how_a_command_ends_says_what_happened() {
    let home = Home::new();
    home.account();
    home.run(&["config", "show"], "").ended(0);
    home.run(&["keys", "revoke", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV", "--yes"], "").ended(1);
    home.run(&["accounts", "create", "--email", ME, "--password-stdin"], PASSWORD).ended(1).says("exists");
    home.run(&["nonsense"], "").ended(2);
    home.run(&["keys", "create", "--account", ME, "--name", "x"], "").ended(2);
    home.run(&["keys", "create", "--account", ME, "--name", "x", "--scope", "nope:it"], "").ended(2).says("nope:it");
    home.run(&["accounts", "create", "--email", "new@example.com", "--password-stdin"], "short").ended(2).says("password");
    home.run(&["curl", "/v1/projects"], "").ended(4);
    home.run(&["exec", "--env", "X", "--", "true"], "").ended(4);
}

#[test]
fn an_unknown_setting_names_the_nearest_one() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    fs::write(home.data().join("countersign.toml"), "[claim]\nintervall = 3\n").unwrap();
    home.run(&["config", "show"], "").ended(1).says("claim.intervall").says("did you mean `claim.interval`?");
    home.run(&["serve"], "").ended(1).says("claim.interval");
    fs::write(home.data().join("countersign.toml"), "[claim]\ninterval = 3\n").unwrap();
    assert!(home.run(&["config", "show"], "").ok().contains("interval = 3"));
}

/// Keeps a made-up key in the home, as a client that got one would; puts a `curl` that tells on itself into PATH.
fn with_a_stored_key(home: &Home, key: &str) -> std::path::PathBuf {
    use countersign::{
        api::values,
        domain::{environment, id, scope},
        local_keys::keys,
    };
    fs::create_dir(home.data()).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o700)).unwrap();
    let now = countersign::platform::runtime::Runtime::system().now();
    let credential = keys::StoredKey {
        key_id: id::KeyId::new(now, [7; 16]),
        key: values::Revealed::new(key),
        prefix: "cs_live_madeup".to_owned(),
        origin: "http://127.0.0.1:4080".to_owned(),
        api_origin: "http://127.0.0.1:4080".to_owned(),
        profile: "default".to_owned(),
        scopes: scope::ScopeSet::default(),
        environment: environment::Environment::Live,
        expires_at: None,
        stored_at: values::Time(now),
        elsewhere: true,
    };
    keys::StoredKeys::new(&home.data()).store(&credential).unwrap();
    let tools = home.0.path().join("bin");
    fs::create_dir(&tools).unwrap();
    let told = "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$HOME/argv\"\nenv > \"$HOME/env\"\ncat > \"$HOME/stdin\"\n";
    fs::write(tools.join("curl"), told).unwrap();
    fs::set_permissions(tools.join("curl"), fs::Permissions::from_mode(0o755)).unwrap();
    tools
}

fn run_with(home: &Home, tools: &Path, arguments: &[&str]) -> Done {
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new(PROGRAM);
    command.arg("--data").arg(home.data()).args(arguments).env_clear().envs(environment(home.0.path())).env("PATH", path);
    Done(command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a70_curl_is_given_the_key_on_stdin_and_neither_in_its_arguments_nor_its_environment() {
    let (home, key) = (Home::new(), "cs_live_madeup_secret");
    let tools = with_a_stored_key(&home, key);
    run_with(&home, &tools, &["curl", "-sS", "http://127.0.0.1:4080/v1/projects"]).ok();
    let left = |name: &str| fs::read_to_string(home.0.path().join(name)).unwrap();
    assert!(left("stdin").contains(key) && left("argv").contains("http://127.0.0.1:4080/v1/projects"));
    assert!(!left("argv").contains(key) && !left("env").contains(key));
}

#[test]
fn a_stored_key_goes_to_the_origin_it_was_issued_for_and_nowhere_else() {
    let (home, key) = (Home::new(), "cs_live_madeup_secret");
    let tools = with_a_stored_key(&home, key);
    let elsewhere: [&[&str]; 8] = [
        &["https://evil.example/"],
        &["http://127.0.0.1:4081/"],
        &["http://127.0.0.1:4080@evil.example/"],
        &["--url", "https://evil.example", "/v1/projects"],
        &["-x", "http://evil.example", "/v1/projects"],
        &["--connect-to", "::evil.example:", "/v1/projects"],
        &["--location-trusted", "/v1/projects"],
        &["-v", "/v1/projects"],
    ];
    for arguments in elsewhere {
        let done = run_with(&home, &tools, &[&["curl"], arguments].concat());
        assert!(matches!(done.0.status.code(), Some(2 | 4)), "{arguments:?}: {:?}", done.said());
        assert!(!home.0.path().join("stdin").exists() && !done.said().contains(key), "{arguments:?}");
    }
}

#[test]
fn a_mistyped_directory_makes_no_second_deployment() {
    let home = Home::new();
    home.run(&["keys", "list"], "").ended(1);
    assert!(!home.data().join("secret").exists());
}

#[tokio::test]
async fn a_password_that_was_reset_signs_in_and_the_old_session_is_over() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let mut before = server.signed_in().await;
    home.run(&["accounts", "reset-password", "--email", ME, "--password-stdin"], "another good password\n").ok();
    assert_eq!(before.visit("/settings/keys").await.status, 303, "signed out");
    before.open("/login").await;
    assert_eq!(before.submit("/login", &[("email", ME), ("password", "another good password")]).await.status, 303);
}

#[test]
fn nothing_is_ended_for_good_where_nobody_can_be_asked() {
    let home = Home::new();
    home.account();
    let made = home.run(&["keys", "create", "--account", ME, "--name", "One", "--scope", "audience:read", "--json"], "").ok();
    let id = text(&serde_json::from_str(&made).unwrap(), "id");
    home.run(&["keys", "revoke", &id], "").ended(2).says("--yes");
    home.run(&["accounts", "disable", ME], "").ended(2).says("--yes");
    home.run(&["keys", "revoke", &id, "--yes"], "").ok();
}
