//! `keys` and `agents` on the command line, as a person and as a script.

use crate::support::process::{Home, ME, PROGRAM, asking, environment, text};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};

fn read(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

impl Home {
    fn json_key(&self) -> Value {
        read(&self.run(&["keys", "create", "--account", ME, "--name", "CI", "--scope", "audience:read,email:send", "--json"], "").ok())
    }

    fn code_of(&self, key: &str) -> String {
        let verdict = self.run(&["keys", "verify"], &format!("{key}\n")).out();
        verdict.lines().next().unwrap_or_default().to_owned()
    }

    /// An agent with a key, let in over a server that is then stopped. Its key.
    async fn agent(&self) -> String {
        let server = self.serve().await;
        let asked = server.http().register(asking(false)).await.ok();
        server.signed_in().await.approve(&text(&asked["claim"], "user_code")).await;
        let delivered = server.http().poll(&text(&asked, "claim_token")).await.ok();
        assert!(server.stopped().await.success());
        text(&delivered, "access_token")
    }

    /// One command at a terminal of its own, with these lines typed. What the terminal showed.
    fn at_a_terminal(&self, arguments: &str, typed: &str) -> (Option<i32>, String) {
        let command = format!("{PROGRAM} --data {} {arguments}", self.data().display());
        let mut script = Command::new("script");
        script.args(["-qefc", &command, "/dev/null"]).env_clear().envs(environment(self.0.path())).env("SHELL", "/bin/sh");
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut terminal = child.stdin.take().unwrap();
        terminal.write_all(typed.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        drop(terminal);
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

#[test]
fn a_key_is_shown_edited_switched_off_and_rotated() {
    let home = Home::new();
    home.account();
    let made = home.json_key();
    let (id, key) = (text(&made, "id"), text(&made, "key"));
    let shown = home.run(&["keys", "show", &id], "").ok();
    assert!(shown.contains("CI") && shown.contains("audience:read email:send") && !shown.contains(&key), "{shown}");
    let edited = read(&home.run(&["keys", "edit", &id, "--name", "Deploy", "--scope", "email:send", "--json"], "").ok());
    assert_eq!((&edited["name"], &edited["scopes"]), (&json!("Deploy"), &json!(["email:send"])));
    home.run(&["keys", "edit", &id, "--disable"], "").ok();
    assert_eq!(home.code_of(&key), "DISABLED");
    home.run(&["keys", "rotate", &id], "").ended(1).says("disabled");
    home.run(&["keys", "edit", &id, "--enable"], "").ok();
    let rotated = home.run(&["keys", "rotate", &id, "--grace", "1h"], "");
    let new = rotated.ok().trim().to_owned();
    rotated.says("works on until").says("only time");
    assert_eq!([home.code_of(&key), home.code_of(&new)], ["VALID", "VALID"]);
    let listed = home.run(&["keys", "list", "--account", ME, "--search", "deploy"], "").ok();
    assert!(listed.lines().count() == 3 && listed.contains(ME) && !listed.contains(&new), "{listed}");
}

#[test]
fn without_grace_the_old_key_is_dead_when_the_command_ends() {
    let home = Home::new();
    home.account();
    let made = home.json_key();
    let rotated = read(&home.run(&["keys", "rotate", &text(&made, "id"), "--grace", "0", "--json"], "").ok());
    assert_eq!([home.code_of(&text(&made, "key")), home.code_of(&text(&rotated, "key"))], ["REVOKED", "VALID"]);
    assert_eq!((&rotated["replaces"], &rotated["replaced"]["replaced_by"]), (&made["id"], &rotated["id"]));
}

#[test]
fn the_operator_gives_a_key_more_than_its_plan() {
    let home = Home::new();
    home.account();
    let create = ["keys", "create", "--account", ME, "--name", "CI", "--scope", "audience:read", "--requests-per-minute", "5000", "--json"];
    assert_eq!(read(&home.run(&create, "").ok())["requests_per_minute"], 5000);
}

#[test]
fn how_commands_about_keys_and_agents_end_says_what_happened() {
    let home = Home::new();
    home.account();
    let id = text(&home.json_key(), "id");
    home.run(&["keys", "show", "key_01ARZ3NDEKTSV4RRFFQ69G5FAV"], "").ended(1).says("no such key");
    home.run(&["keys", "edit", &id], "").ended(2).says("--name");
    home.run(&["keys", "edit", &id, "--disable", "--enable"], "").ended(2);
    home.run(&["keys", "edit", &id, "--scope", "no:such"], "").ended(2).says("no:such");
    home.run(&["keys", "rotate", &id, "--grace", "8d"], "").ended(2).says("grace_seconds");
    home.run(&["keys", "list", "--created-by", "robots"], "").ended(2);
    home.run(&["agents", "revoke"], "").ended(2);
    home.run(&["agents", "revoke", "grt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "--yes"], "").ended(1).says("no such agent");
    home.run(&["agents", "revoke", "--all", "--account", "nobody@example.com", "--yes"], "").ended(1).says("no such account");
    home.run(&["agents", "revoke", "--all"], "").ended(2).says("--yes");
    assert_eq!(home.run(&["agents", "list"], "").ok(), "No agents.\n");
}

#[tokio::test]
async fn agents_are_listed_and_sent_away() {
    let home = Home::new();
    home.account();
    let key = home.agent().await;
    let listed = home.run(&["agents", "list"], "").ok();
    assert!(listed.contains("Claude") && listed.contains(ME) && listed.contains("active"), "{listed}");
    let agents = read(&home.run(&["agents", "list", "--account", ME, "--json"], "").ok());
    let id = text(&agents["agents"][0], "id");
    let ended = read(&home.run(&["agents", "revoke", &id, "--yes", "--json"], "").ok());
    assert_eq!(ended, json!({"agents": 1, "keys": 1}));
    assert_eq!(home.code_of(&key), "REVOKED");
}

#[tokio::test]
async fn all_agents_are_sent_away_only_by_a_typed_word() {
    let home = Home::new();
    home.account();
    let key = home.agent().await;
    let (code, shown) = home.at_a_terminal("agents revoke --all", "yes\n");
    assert!(code == Some(1) && shown.contains("Type revoke") && shown.contains("nothing was revoked"), "{code:?} {shown}");
    assert_eq!(home.code_of(&key), "VALID");
    let (code, shown) = home.at_a_terminal("agents revoke --all", "revoke\n");
    assert!(code == Some(0) && shown.contains("keys revoked: 1"), "{code:?} {shown}");
    assert_eq!(home.code_of(&key), "REVOKED");
}
