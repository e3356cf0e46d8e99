//! Whoever reads what this program says may stop reading at any time; that ends nothing.

use crate::support::process::*;
use serde_json::json;
use std::{
    os::fd::OwnedFd,
    process::{Command, Output, Stdio},
};

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Stdio::from(OwnedFd::from(writer))
}

/// A disk without room.
fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

fn run(home: &Home, arguments: &[&str], out: Stdio, err: Stdio) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("--data").arg(home.data()).args(arguments).env_clear().envs(environment(home.0.path()));
    command.stdin(Stdio::null()).stdout(out).stderr(err).output().unwrap()
}

#[tokio::test]
async fn f22_a_client_that_closed_stderr_is_served_at_every_level_of_the_log() {
    for level in ["error", "info", "trace"] {
        for before in [true, false] {
            let home = Home::new();
            home.account();
            let mut program = home.program(&["mcp"]);
            program.env("COUNTERSIGN_LOG", level);
            if before {
                program.stderr(unread());
            }
            let mut client = Client::of(&mut program).await;
            drop(client.child.stderr.take());
            let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
            assert!(asked["user_code"].is_string(), "{level} {before}: {asked}");
            assert_eq!(client.tool("check_scope", json!({})).await["error"], "not_signed_in", "{level} {before}");
            assert_eq!(client.done().await.0, Some(0), "{level} {before}");
        }
    }
}

#[test]
fn the_log_takes_its_filter_from_our_variable_or_the_usual_one() {
    let home = Home::new();
    home.account();
    let log = |variables: &[(&str, &str)]| {
        let mut command = Command::new(PROGRAM);
        command.arg("--data").arg(home.data()).args(["keys", "list"]).env_clear().envs(environment(home.0.path()));
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(!log(&[]).contains("TRACE"));
    assert!(log(&[("RUST_LOG", "trace")]).contains("TRACE"));
    assert!(!log(&[("RUST_LOG", "trace"), ("COUNTERSIGN_LOG", "error")]).contains("TRACE"));
    assert!(log(&[("COUNTERSIGN_LOG", "countersign=loud")]).contains("COUNTERSIGN_LOG is no filter"));
}

#[tokio::test]
async fn f22_a_server_goes_on_when_nobody_reads_it() {
    for (out, err) in [(unread(), unread()), (full(), full())] {
        let home = Home::new();
        home.account();
        let mut program = home.program(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = program.env("COUNTERSIGN_LOG", "trace").stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        // A command finds it by what it wrote into the data directory.
        let listed = async {
            while !run(&home, &["keys", "list", "--json"], Stdio::piped(), Stdio::piped()).status.success() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = listed => {}
            ended = child.wait() => panic!("it ended: {ended:?}"),
        }
        assert!(child.try_wait().unwrap().is_none());
        child.kill().await.unwrap();
    }
}

#[test]
fn f22_a_command_whose_reader_left_ends_quietly() {
    let home = Home::new();
    home.account();
    for arguments in [
        &["keys", "list"][..],
        &["accounts", "list", "--json"],
        &["doctor"],
        &["openapi"],
        &["config", "show"],
        &["completion", "bash"],
        &["--help"],
    ] {
        let done = run(&home, arguments, unread(), Stdio::piped());
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code().is_some_and(|code| code < 2) && !said.contains("panicked"), "{arguments:?}: {:?} {said}", done.status);
    }
    // What failed fails as it does when it is read.
    for arguments in [&["keys", "revoke", "nonsense"][..], &["nonsense"], &["keys", "list", "--account", "nobody@example.com"]] {
        let read = run(&home, arguments, Stdio::piped(), Stdio::piped()).status.code();
        for (out, err) in [(unread(), unread()), (full(), full())] {
            assert_eq!(run(&home, arguments, out, err).status.code(), read, "{arguments:?}");
        }
    }
}

#[test]
fn f22_what_was_asked_for_and_could_not_be_written_is_a_failure() {
    let home = Home::new();
    home.account();
    let done = run(&home, &["accounts", "list", "--json"], full(), Stdio::piped());
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn f04_f08_f12_stdio_reads_what_the_other_ways_in_read() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    client.send(json!({"jsonrpc": "2.0", "id": null, "method": "notifications/initialized", "params": null})).await;
    for nothing in [json!(null), json!([])] {
        assert!(client.request("tools/list", nothing.clone()).await["result"]["tools"].is_array());
        let reply = client.request("tools/call", json!({"name": "check_scope", "arguments": nothing, "_meta": nothing})).await;
        assert!(reply["result"]["content"][0]["text"].as_str().unwrap().contains("not_signed_in"), "{reply}");
    }
    client.send(json!({"jsonrpc": "2.0", "id": 900.0, "method": "ping", "params": []})).await;
    // Calls under way together are answered in any order.
    for _ in 0..1_000 {
        assert!(client.request("ping", json!({})).await["result"].is_object());
        if client.seen.contains("\"id\":900") {
            break;
        }
    }
    assert!(client.seen.contains("\"id\":900"), "a whole float is an id");
    let arguments = json!({"agent_name": "Claude", "scopes": "[\"audience:read\"]", "login_hint": "", "toolCallId": "x", "sessionId": "y"});
    let asked = client.tool("register_agent", arguments).await;
    let poll = json!({"claim_id": asked["claim_id"], "wait_seconds": "0.0", "delivery": "", "env_path": "", "env_name": ""});
    assert_eq!(client.tool("poll_claim", poll).await["status"], "pending");
    let refused = client.tool("poll_claim", json!({"claimId": "x"})).await;
    assert!(refused["error_description"].as_str().unwrap().contains("claim_id"), "{refused}");
}
