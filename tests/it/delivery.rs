//! Where a key goes over stdio, and where it must not be seen on the way.

use crate::process::*;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Stdio};
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

#[tokio::test]
async fn a_keychain_that_never_answers_is_given_up_and_the_key_goes_into_a_file() {
    let home = Home::new();
    home.account();
    let silent = home.0.path().join("bus");
    let _bus = std::os::unix::net::UnixListener::bind(&silent).unwrap();
    let (mut client, _) = working(&home, &[("DBUS_SESSION_BUS_ADDRESS", &format!("unix:path={}", silent.display()))]).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    let delivered = client.tool("poll_claim", claim).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    assert_eq!(mode(text(&delivered, "stored_at")), 0o600);
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
