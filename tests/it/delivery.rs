//! Where a key goes over stdio, and where it must not be seen on the way.

use crate::support::process::*;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Stdio,
};
use tokio::io::AsyncReadExt;

/// A client that works in a folder of its own, with everything logged into a file.
pub async fn working(home: &Home, settings: &[(&str, &str)]) -> (Client, PathBuf) {
    let folder = home.0.path().join("work");
    fs::create_dir_all(&folder).unwrap();
    let log = fs::File::options().append(true).create(true).open(home.0.path().join("log")).unwrap();
    let mut program = home.program(&["mcp"]);
    program.current_dir(&folder).env("COUNTERSIGN_LOG", "trace").stderr(log).envs(settings.iter().copied());
    (Client::of(&mut program).await, folder)
}

pub fn with(claim: &Value, more: Value) -> Value {
    let mut arguments = claim.clone();
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

#[tokio::test]
async fn a_key_goes_into_one_variable_of_an_env_file() {
    let home = Home::new();
    home.account();
    let (mut client, folder) = working(&home, &[]).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    fs::write(folder.join(".env"), "DEBUG=1\n").unwrap();
    let delivered = client.tool("poll_claim", with(&claim, json!({"delivery": "env_file", "env_path": ".env"}))).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    let written = fs::read_to_string(folder.join(".env")).unwrap();
    let key = written.strip_prefix("DEBUG=1\nCOUNTERSIGN_API_KEY=").unwrap().trim_end();
    assert!(key.starts_with("cs_live_") && text(&delivered, "stored_at").contains(".env"));
    assert_eq!(mode(folder.join(".env")), 0o600);
    assert!(fs::read_dir(home.data().join("credentials")).is_err(), "it is in one place");

    let again = approved(&mut client, json!(["audience:read"])).await;
    let replaced = client.tool("poll_claim", with(&again, json!({"delivery": "env_file", "env_path": ".env"}))).await;
    assert_eq!(replaced["status"], "delivered", "{replaced}");
    let rewritten = fs::read_to_string(folder.join(".env")).unwrap();
    assert!(!rewritten.contains(key) && rewritten.starts_with("DEBUG=1\nCOUNTERSIGN_API_KEY=cs_live_"));
    assert!(!client.done().await.1.contains(&key[10..]));
}

#[tokio::test]
async fn a70_an_env_file_that_leads_elsewhere_takes_no_key_and_loses_none() {
    let home = Home::new();
    home.account();
    let (mut client, folder) = working(&home, &[]).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    fs::write(home.0.path().join("outside"), "").unwrap();
    symlink(home.0.path().join("outside"), folder.join("link")).unwrap();
    symlink(home.0.path(), folder.join("up")).unwrap();
    fs::write(folder.join(".env"), "COUNTERSIGN_API_KEY=somebody_elses\n").unwrap();
    let refused = [
        (json!({"env_path": "../outside"}), "env_path"),
        (json!({"env_path": home.0.path().join("outside")}), "env_path"),
        (json!({"env_path": "link"}), "env_path"),
        (json!({"env_path": "up/outside"}), "env_path"),
        (json!({"env_path": "missing/.env"}), "env_path"),
        (json!({"env_path": ""}), "env_path"),
        (json!({}), "env_path"),
        (json!({"env_path": ".env2", "env_name": "path"}), "env_name"),
        (json!({"env_path": ".env2", "env_name": "LD_PRELOAD"}), "env_name"),
    ];
    for (arguments, field) in refused {
        let answer = client.tool("poll_claim", with(&with(&claim, json!({"delivery": "env_file"})), arguments.clone())).await;
        assert_eq!(answer["error"], "invalid_arguments", "{arguments}: {answer}");
        assert!(text(&answer, "error_description").contains(&format!("`{field}`")), "{answer}");
    }
    let taken = client.tool("poll_claim", with(&claim, json!({"delivery": "env_file", "env_path": ".env"}))).await;
    assert_eq!(taken["error"], "conflict", "{taken}");
    assert_eq!(fs::read_to_string(folder.join(".env")).unwrap(), "COUNTERSIGN_API_KEY=somebody_elses\n");
    assert_eq!(fs::read_to_string(home.0.path().join("outside")).unwrap(), "");
    // Nothing was taken meanwhile: the key can still be had.
    assert_eq!(client.tool("poll_claim", claim).await["status"], "delivered");
}

#[cfg(not(target_os = "macos"))]
/// Settings with which the keychain is a script that stands for `secret-tool`. It notes its arguments in `asked`.
fn keychain(home: &Home, does: &str) -> [(&'static str, String); 2] {
    let (home, bin) = (home.0.path().display(), home.0.path().join("bin"));
    fs::create_dir_all(&bin).unwrap();
    let tool = bin.join("secret-tool");
    fs::write(&tool, format!("#!/bin/sh\necho \"$@\" >>{home}/asked\n{does}\n")).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    [("PATH", path), ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={home}/bus"))]
}

#[cfg(not(target_os = "macos"))]
#[tokio::test]
async fn a_keychain_gets_the_key_by_no_argument_and_gives_it_back() {
    let home = Home::new();
    home.account();
    let kept = home.0.path().join("in_keychain");
    let (file, asked) = (kept.display(), home.0.path().join("asked"));
    let does = format!("case $1 in store) cat >{file} ;; lookup) cat {file} ;; clear) rm -f {file} ;; esac");
    let settings = keychain(&home, &does);
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (mut client, _) = working(&home, &settings).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    let delivered = client.tool("poll_claim", claim).await;
    assert_eq!(delivered["stored_at"], "the keychain of this computer", "{delivered}");
    let key = fs::read_to_string(&kept).unwrap();
    assert!(key.starts_with("cs_live_"));
    // The attributes, and their order, are what keys were kept under before.
    let (id, arguments) = (text(&delivered["key"], "id"), fs::read_to_string(&asked).unwrap());
    for (line, verb) in arguments.lines().zip(["clear", "store", "lookup"]) {
        assert!(line.starts_with(verb) && line.contains(&format!("service countersign username {id}.")), "{line}");
    }
    assert!(!arguments.contains(&key[8..]));
    let files = fs::read_dir(home.data().join("credentials")).unwrap();
    assert!(files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).all(|file| !file.contains(&key)));

    assert_eq!(client.tool("check_scope", json!({"scopes": ["audience:read"]})).await["allowed"], true, "it is read from there");
    assert_eq!(client.tool("revoke_key", json!({"key_id": id})).await["status"], "revoked");
    assert!(!kept.exists(), "a revoked key goes");
}

#[cfg(not(target_os = "macos"))]
#[tokio::test]
async fn a_keychain_that_never_answers_or_forgets_is_given_up_and_the_key_goes_into_a_file() {
    for does in ["exec sleep 60", "exit 1", "cat >/dev/null", "echo cs_live_another"] {
        let home = Home::new();
        home.account();
        let settings = keychain(&home, does);
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (mut client, _) = working(&home, &settings).await;
        let claim = approved(&mut client, json!(["audience:read"])).await;
        let delivered = client.tool("poll_claim", claim).await;
        assert_eq!(delivered["status"], "delivered", "{does}: {delivered}");
        assert_eq!(mode(text(&delivered, "stored_at")), 0o600, "{does}");
        assert!(home.0.path().join("asked").exists(), "{does}: it was asked");
    }
}

/// GNOME Keyring on a session bus of its own, with an unlocked keychain.
#[cfg(not(target_os = "macos"))]
struct SecretService {
    address: String,
    programs: [std::process::Child; 2],
}

#[cfg(not(target_os = "macos"))]
impl SecretService {
    fn start(home: &Home) -> Self {
        let (address, data) = (format!("unix:path={}/bus", home.0.path().display()), home.0.path().join("keyrings"));
        fs::create_dir(&data).unwrap();
        // A bus that starts nothing by itself: that would be a second, locked one.
        let config = data.join("bus.conf");
        let allow = r#"<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>"#;
        let policy = format!(r#"<policy context="default">{allow}</policy>"#);
        fs::write(&config, format!("<busconfig><type>session</type><listen>{address}</listen>{policy}</busconfig>")).unwrap();
        let start = |command: &mut std::process::Command| {
            command.env("DBUS_SESSION_BUS_ADDRESS", &address).env("XDG_DATA_HOME", &data).env("XDG_RUNTIME_DIR", &data);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        };
        let config = format!("--config-file={}", config.display());
        let mut bus = start(std::process::Command::new("dbus-daemon").args([&config, "--nofork", "--print-address"]));
        // It is there once it says where.
        bus.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let mut keyring =
            start(std::process::Command::new("gnome-keyring-daemon").args(["--foreground", "--unlock", "--components=secrets"]));
        keyring.stdin.take().unwrap().write_all(b"password").unwrap();
        let service = Self { address, programs: [keyring, bus] };
        for _ in 0..200 {
            if service.tool(&["store", "--label=ready", "is", "ready"]).status.success() {
                return service;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the keychain does not start")
    }

    fn tool(&self, arguments: &[&str]) -> std::process::Output {
        let mut tool = std::process::Command::new("secret-tool");
        tool.args(arguments).env("DBUS_SESSION_BUS_ADDRESS", &self.address).stdin(Stdio::null()).output().unwrap()
    }

    /// What another program finds by the attributes of a key.
    fn look_up(&self, id: &str) -> String {
        let found = self.tool(&["search", "--all", "--unlock", "service", "countersign"]);
        let found = String::from_utf8([found.stdout, found.stderr].concat()).unwrap();
        if found.contains(&format!("attribute.username = {id}.")) { found } else { String::new() }
    }
}

#[cfg(not(target_os = "macos"))]
impl Drop for SecretService {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

#[cfg(not(target_os = "macos"))]
#[tokio::test]
async fn a_key_lies_in_a_real_keychain_until_it_is_revoked() {
    let home = Home::new();
    home.account();
    let service = SecretService::start(&home);
    let bus = [("DBUS_SESSION_BUS_ADDRESS", service.address.as_str())];
    let (mut client, _) = working(&home, &bus).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    let delivered = client.tool("poll_claim", claim).await;
    assert_eq!(delivered["stored_at"], "the keychain of this computer", "{delivered}");
    let id = text(&delivered["key"], "id");
    assert!(service.look_up(&id).contains("secret = cs_live_"));
    assert_eq!(client.done().await.0, Some(0));

    let (mut client, _) = working(&home, &bus).await;
    assert_eq!(client.tool("check_scope", json!({"scopes": ["audience:read"]})).await["allowed"], true, "it is read from there");
    assert_eq!(client.tool("revoke_key", json!({"key_id": id})).await["status"], "revoked");
    assert_eq!(service.look_up(&id), "");
}

#[tokio::test]
async fn an_env_file_git_would_commit_is_warned_about() {
    let home = Home::new();
    home.account();
    let (mut client, folder) = working(&home, &[]).await;
    assert!(std::process::Command::new("git").arg("init").arg("-q").arg(&folder).status().unwrap().success());
    fs::write(folder.join(".gitignore"), "ignored\n").unwrap();
    for (path, warned) in [("tracked", true), ("ignored", false)] {
        let claim = approved(&mut client, json!(["audience:read"])).await;
        let delivered = client.tool("poll_claim", with(&claim, json!({"delivery": "env_file", "env_path": path}))).await;
        assert_eq!(text(&delivered, "next").contains(".gitignore"), warned, "{delivered}");
    }
}

#[tokio::test]
async fn a_key_is_in_a_result_only_where_the_operator_allows_it() {
    let home = Home::new();
    home.account();
    let (mut client, _) = working(&home, &[]).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    let refused = client.tool("poll_claim", with(&claim, json!({"delivery": "inline"}))).await;
    assert!(text(&refused, "error_description").contains("`delivery`"), "{refused}");
    assert_eq!(client.done().await.0, Some(0));

    let (mut client, _) = working(&home, &[("COUNTERSIGN_MCP__ALLOW_INLINE_DELIVERY", "true")]).await;
    let delivered = client.tool("poll_claim", with(&claim, json!({"delivery": "inline"}))).await;
    assert!(text(&delivered, "secret").starts_with("cs_live_") && delivered["stored_at"].is_null());
    let again = client.tool("poll_claim", with(&claim, json!({"delivery": "inline"}))).await;
    assert!(again["status"] == "delivered" && again["secret"].is_null(), "once: {again}");
}

#[tokio::test]
async fn initialize_and_the_tools_are_answered_while_another_program_has_the_store() {
    let home = Home::new();
    home.account();
    // Nobody answers for it: as during a start, or a command.
    let countersign::instance::lock::Acquired::Mine(lock) = countersign::instance::lock::InstanceLock::acquire(&home.data()).unwrap()
    else {
        panic!("the directory is free")
    };
    let mut client = Client::start(&home).await;
    let tools = client.request("tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 5);
    drop(lock);
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    assert!(asked["user_code"].is_string(), "{asked}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_ends_mcp_and_says_why() {
    let home = Home::new();
    home.account();
    fs::remove_file(home.data().join("secret")).unwrap();
    let mut child = home.program(&["mcp"]).stdout(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert!(said.contains("secret") && said.contains("missing"), "{said}");
}
