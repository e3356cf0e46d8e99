//! The entries that make clients start us: printed, merged into their files, shown in README and guide, and each of them run.

use crate::support::process::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio};

const CLIENTS: [(&str, &str, &str); 4] = [
    ("claude", ".mcp.json", "mcpServers"),
    ("claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"),
    ("cursor", ".cursor/mcp.json", "mcpServers"),
    ("vscode", ".vscode/mcp.json", "servers"),
];

/// Some of the files are the project's: relative to where the command runs.
async fn connect(home: &Home, arguments: &[&str]) -> Done {
    Done(home.program(&[&["connect"], arguments].concat()).current_dir(home.0.path()).stdin(Stdio::null()).output().await.unwrap())
}

/// Starts what an entry says, as its client would, and asks for the tools.
async fn tools_of(home: &Home, entry: &Value) -> usize {
    let program = home.program(&[]);
    let plain = program.as_std();
    let environment: Vec<_> = plain.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
    let mut program = tokio::process::Command::new(text(entry, "command"));
    program.args(entry["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap())).env_clear().envs(environment);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut client = Client::of(&mut program).await;
    client.request("tools/list", json!({})).await["result"]["tools"].as_array().unwrap().len()
}

#[tokio::test]
async fn what_connect_writes_starts_a_server_with_five_tools() {
    for (client, file, section) in CLIENTS {
        let home = Home::new();
        connect(&home, &[client, "--write"]).await.ok();
        let path = home.0.path().join(file);
        let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(tools_of(&home, &written[section]["countersign"]).await, 5, "{client}");
        let checked = home.run(&["doctor", "--mcp-config", path.to_str().unwrap()], "").ok();
        assert!(checked.contains("answers with its 5 tools"), "{checked}");
    }
}

#[tokio::test]
async fn writing_keeps_order_comments_and_everything_else() {
    let home = Home::new();
    let path = home.0.path().join(".cursor/mcp.json");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let before = "{\n  // mine\n  \"zebra\": 1,\n  \"mcpServers\": {\n    \"other\": { \"command\": \"x\" }, // keep\n  },\n  \"apple\": [1, 2]\n}\n";
    fs::write(&path, before).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    connect(&home, &["cursor", "--write"]).await.ok();
    let once = fs::read_to_string(&path).unwrap();
    for kept in ["  // mine\n  \"zebra\": 1,", "\"other\": { \"command\": \"x\" }, // keep", "  \"apple\": [1, 2]\n}"] {
        assert!(once.contains(kept), "{kept:?} is not in {once}");
    }
    assert!(once.contains("\"countersign\": {") && mode(&path) == 0o644);
    connect(&home, &["cursor", "--write"]).await.ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), once, "a second time changes nothing");
}

#[tokio::test]
async fn a_file_that_is_not_what_it_should_be_is_not_touched() {
    let home = Home::new();
    let path = home.0.path().join(".mcp.json");
    let twice = "{\"mcpServers\": {\"countersign\": {\"command\": \"/a\"}, \"countersign\": {\"command\": \"/b\"}}}";
    for broken in ["{ \"mcpServers\": ", "[]", "{\"mcpServers\": []}", "{\"mcpServers\": {}, \"mcpServers\": {}}", twice] {
        fs::write(&path, broken).unwrap();
        connect(&home, &["claude", "--write"]).await.ended(1).says("was not touched");
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(home.0.path().join("nothing"), &path).unwrap();
    connect(&home, &["claude", "--write"]).await.ended(1).says("leads nowhere");
    assert!(path.is_symlink() && !path.exists());
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    connect(&home, &["claude", "--write"]).await.ended(1).says("it is no file");
}

#[tokio::test]
async fn an_entry_of_another_kind_is_replaced_with_a_word_and_keeps_its_environment() {
    let home = Home::new();
    let path = home.0.path().join(".mcp.json");
    let before = json!({"type": "http", "url": "https://keys.example.com/mcp", "env": {"COUNTERSIGN_DATA": "/mine"}});
    fs::write(&path, format!("\u{feff}{}", json!({"mcpServers": {"countersign": before}}))).unwrap();
    let said = connect(&home, &["claude", "--write"]).await.ok();
    assert!(said.contains("for this project only") && said.contains("over HTTP; its env is kept"), "{said}");
    let written = fs::read_to_string(&path).unwrap();
    let written: Value = serde_json::from_str(written.strip_prefix('\u{feff}').unwrap()).unwrap();
    let entry = &written["mcpServers"]["countersign"];
    assert!(entry["url"].is_null() && entry["command"] == PROGRAM && entry["env"]["COUNTERSIGN_DATA"] == "/mine", "{entry}");
    assert!(!connect(&home, &["claude", "--write"]).await.ok().contains("replaced"));
}

#[tokio::test]
async fn an_entry_may_have_another_name_and_no_server_that_can_not_work() {
    let home = Home::new();
    connect(&home, &["claude", "--write"]).await.ok();
    connect(&home, &["claude", "--write", "--name", "remote", "--server", "https://keys.example.com"]).await.ok();
    let written: Value = serde_json::from_slice(&fs::read(home.0.path().join(".mcp.json")).unwrap()).unwrap();
    assert_eq!(written["mcpServers"].as_object().unwrap().keys().collect::<Vec<_>>(), ["countersign", "remote"]);
    connect(&home, &["claude", "--name", "a b"]).await.ended(2);
    for wrong in ["http://keys.example.com", "nonsense"] {
        let refused = home.run(&["mcp", "--server", wrong], "");
        connect(&home, &["claude", "--server", wrong]).await.ended(2).says(refused.said().trim());
    }
}

#[tokio::test]
async fn doctor_gives_an_entry_none_of_its_callers_keys_and_takes_no_endless_line() {
    let home = Home::new();
    let (program, path) = (home.0.path().join("countersign"), home.0.path().join("mcp.json"));
    fs::write(&program, "#!/bin/sh\nenv > \"$HOME/env\"\nexec tr '\\0' x < /dev/zero\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&path, json!({"mcpServers": {"x": {"command": program, "args": ["mcp"]}}}).to_string()).unwrap();
    let doctor = home.program(&["doctor", "--mcp-config", path.to_str().unwrap()]).env("COUNTERSIGN_API_KEY", "cs_live_x").output().await;
    assert!(Done(doctor.unwrap()).ended(1).out().contains("did not answer"));
    let seen = fs::read_to_string(home.0.path().join("env")).unwrap();
    assert!(seen.contains("PATH=") && !seen.contains("COUNTERSIGN"), "{seen}");
}

#[tokio::test]
async fn an_entry_for_a_server_elsewhere_names_it() {
    let home = Home::new();
    let printed = connect(&home, &["vscode", "--server", "https://keys.example.com"]).await.ok();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let arguments = printed["servers"]["countersign"]["args"].as_array().unwrap();
    assert_eq!(arguments[0], "mcp");
    assert!(arguments.ends_with(&[json!("--server"), json!("https://keys.example.com")]));
}

#[tokio::test]
async fn doctor_says_what_is_wrong_with_a_clients_file() {
    let (home, server) = (Home::new(), Home::new());
    let server = server.serve().await;
    let program = PROGRAM;
    let url = |path: &str| format!("http://{}{path}", server.address);
    let path = home.0.path().join("mcp.json");
    let cases = [
        (json!({"mcpServers": {}}), 1, "connect CLIENT --write"),
        (json!({"mcpServers": {"countersign": {"command": "countersign", "args": ["mcp"]}}}), 1, "absolute path"),
        (json!({"servers": {"countersign": {"command": "/nowhere/countersign", "args": ["mcp"]}}}), 1, "there is no such program"),
        (json!({"servers": {"countersign": {"command": program, "args": ["serve"]}}}), 1, "\"mcp\""),
        (json!({"servers": {"countersign": {"command": program, "args": ["mcp", "--server", "x"]}}}), 1, "server: countersign: `server`"),
        (json!({"servers": {"countersign": {"command": program, "args": ["--data", home.data(), "mcp"]}}}), 0, "5 tools"),
        (
            json!({"servers": {"countersign": {"command": program, "args": ["mcp", "--server", "https://nosuch.invalid"]}}}),
            1,
            "can't be reached",
        ),
        (json!({"servers": {"countersign\u{1b}[2J": {"command": "countersign"}}}), 1, "countersign\\u001b[2J"),
        (
            json!({"projects": {"/work": {"mcpServers": {"countersign": {"command": "countersign"}}}}}),
            1,
            "(project /work): countersign is no",
        ),
        (
            json!({"mcpServers": {"countersign": {"command": program, "args": ["mcp"], "env": {"COUNTERSIGN_API_KEY": "x"}}}}),
            1,
            "a key stands",
        ),
        (json!({"mcpServers": {"countersign": {"url": url("/mcp"), "headers": {"X-API-Key": "acme_123"}}}}), 1, "a key stands"),
        (json!({"mcpServers": {"countersign": {"url": url("/mcp"), "headers": {"Authorization": "bearer acme_123"}}}}), 1, "a key stands"),
        (
            json!({"mcpServers": {"countersign": {"url": url("/mcp"), "headers": {"Authorization": "Bearer ${A:-acme_1}"}}}}),
            1,
            "a key stands",
        ),
        (json!({"mcpServers": {"countersign": {"url": url("/mcp?key=cs_live_x")}}}), 1, "a key stands"),
        (json!({"mcpServers": {"countersign": {"url": url("/mcp"), "headers": {"Authorization": "Bearer ${env:KEY}"}}}}), 0, "answers"),
        (json!({"mcpServers": {"countersign": {"type": "sse", "url": url("/sse")}}}), 0, "answers"),
        (json!({"mcpServers": {"countersign": {"type": "sse", "url": url("/mcp")}}}), 1, "does not answer as"),
        (json!({"mcpServers": {"countersign": {"type": "http", "url": url("/sse")}}}), 1, "does not answer as"),
        (json!({"mcpServers": {"countersign": {"url": "http://example.com/mcp"}}}), 1, "https"),
        (
            json!({"mcpServers": {"countersign": {"url": "https://example.com/mcp", "headers": {"Authorization": "Bearer cs_live_abc"}}}}),
            1,
            "a key stands in the file",
        ),
        (json!({"mcpServers": {"countersign": {"url": url("/mcp")}}}), 0, "answers"),
        (json!({"mcpServers": {"countersign": {"url": url("/other")}}}), 1, "does not answer as"),
    ];
    for (file, code, says) in cases {
        fs::write(&path, file.to_string()).unwrap();
        let done = home.run(&["doctor", "--mcp-config", path.to_str().unwrap()], "");
        assert!(done.ended(code).out().contains(says), "{file}: {}", done.out());
    }
}

/// Every configuration in a text: what stands between `{"mcpServers"` or `{"servers"` and its end.
fn configurations(text: &str) -> Vec<Value> {
    let starts = text.match_indices("{\"mcpServers\"").chain(text.match_indices("{\"servers\""));
    starts.map(|(at, _)| serde_json::Deserializer::from_str(&text[at..]).into_iter().next().unwrap().unwrap()).collect()
}

#[tokio::test]
async fn every_configuration_we_show_works_with_the_right_path_and_address() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shown = ["README.md", "src/guide/mcp.md"].map(|file| configurations(&fs::read_to_string(root.join(file)).unwrap())).concat();
    let example: Value = serde_json::from_str(&fs::read_to_string(root.join("mcp.json.example")).unwrap()).unwrap();
    assert!(shown.len() >= 6, "Claude, Cursor and VS Code, over stdio, HTTP and towards a server");
    let there = Home::new();
    let server = there.serve().await;
    let url = format!("http://{}", server.address);
    let mut seen = BTreeMap::<&str, usize>::new();
    for entries in shown.iter().chain([&example]) {
        let servers = entries["mcpServers"].as_object().or(entries["servers"].as_object()).unwrap();
        for (name, entry) in servers {
            assert!(name.starts_with("countersign"), "{name}");
            if let Some(address) = entry["url"].as_str() {
                *seen.entry("http").or_default() += 1;
                assert!(address.ends_with("/mcp") && text(&entry["headers"], "Authorization").starts_with("Bearer ${"), "{entry}");
                continue;
            }
            *seen.entry("stdio").or_default() += 1;
            let mut entry = entry.clone();
            entry["command"] = json!(PROGRAM);
            for word in entry["args"].as_array_mut().unwrap() {
                if word.as_str().unwrap().starts_with("https://") {
                    *word = json!(url);
                }
            }
            assert_eq!(tools_of(&Home::new(), &entry).await, 5, "{entry}");
        }
    }
    assert!(seen["http"] >= 3 && seen["stdio"] >= 3, "{seen:?}");
}
