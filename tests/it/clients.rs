//! The files of clients: read as their owners read them, written as these document them, and paths that nobody finished.

use crate::support::process::*;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
};

/// What doctor says of a file, with these variables set where it runs.
fn doctor(home: &Home, file: &Path, variables: &[(&str, &str)]) -> Done {
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["doctor", "--mcp-config", file.to_str().unwrap()]).env_clear().envs(environment(home.0.path()));
    Done(command.envs(variables.iter().copied()).current_dir(home.0.path()).output().unwrap())
}

fn written(home: &Home, file: &str, text: &str) -> std::path::PathBuf {
    let path = home.0.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn f27_variables_stand_for_what_the_files_client_puts_there() {
    let home = Home::new();
    fs::create_dir(home.0.path().join("bin")).unwrap();
    symlink(PROGRAM, home.0.path().join("bin/countersign")).unwrap();
    let data = home.data();
    let data = data.to_str().unwrap();
    let entry = |command: &str, data: &str| json!({"command": command, "args": ["mcp", "--data", data]});
    let fallback = format!("${{NOWHERE:-{PROGRAM}}}");
    for (file, section, command, data, code, says) in [
        ("mcp.json", "mcpServers", "${HOME}/bin/countersign", "${CS_DATA}", 0, "5 tools"),
        (".mcp.json", "mcpServers", fallback.as_str(), "${CS_DATA}", 0, "5 tools"),
        ("a/mcp.json", "mcpServers", "${env:HOME}/bin/countersign", "${env:CS_DATA}", 0, "5 tools"),
        ("b/.cursor/mcp.json", "mcpServers", "${userHome}/bin/countersign", "${workspaceFolder}${/}data", 0, "5 tools"),
        ("c/.vscode/mcp.json", "servers", "${userHome}/bin/countersign", "${env:CS_DATA}", 0, "5 tools"),
        (".gemini/settings.json", "mcpServers", "$HOME/bin/countersign", "${CS_DATA}", 0, "5 tools"),
        (".codeium/windsurf/mcp_config.json", "mcpServers", "${env:HOME}/bin/countersign", "${env:CS_DATA}", 0, "5 tools"),
        ("mcp.json", "mcpServers", "${HOME}/bin/countersign", "${NOWHERE}/x", 1, "NOWHERE is not set"),
        ("c/.vscode/mcp.json", "servers", PROGRAM, "${input:folder}", 1, "the client asks its user for"),
        ("c/.vscode/mcp.json", "servers", "${HOME}/bin/countersign", data, 1, "VS Code would not replace"),
        (".config/zed/settings.json", "context_servers", "${HOME}/bin/countersign", data, 1, "Zed would not replace"),
        ("claude_desktop_config.json", "mcpServers", "${HOME}/bin/countersign", data, 1, "Claude Desktop would not replace"),
        ("mcp.json", "mcpServers", PROGRAM, "$HOME/x", 1, "would not replace"),
        ("mcp.json", "mcpServers", PROGRAM, "~/x", 1, "`~`"),
        (".cursor/mcp.json", "mcpServers", PROGRAM, "${workspaceFolder}/x", 1, "the folder that is open"),
    ] {
        let path = written(&home, file, &json!({section: {"countersign": entry(command, data)}}).to_string());
        let before: Vec<_> = walk(home.0.path());
        let done = doctor(&home, &path, &[("CS_DATA", &format!("{}/data", home.0.path().display()))]);
        assert!(done.ended(code).out().contains(says), "{file} {command} {data}: {}", done.out());
        if code == 1 {
            assert_eq!(walk(home.0.path()), before, "{file} {command} {data}: something was made");
        }
    }
}

/// Every folder below one.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir() && !path.is_symlink());
    let mut all: Vec<_> = folders.flat_map(|path| [vec![path.clone()], walk(&path)].concat()).collect();
    all.sort();
    all
}

#[test]
fn f28_nothing_is_made_under_a_name_that_was_to_be_replaced() {
    let home = Home::new();
    let made = |arguments: &[&str], variables: &[(&str, &str)]| {
        let folder = tempfile::TempDir::new().unwrap();
        let mut command = std::process::Command::new(PROGRAM);
        command.args(arguments).env_clear().envs(environment(home.0.path())).envs(variables.iter().copied());
        let done = Done(command.current_dir(folder.path()).stdin(std::process::Stdio::null()).output().unwrap());
        assert!(done.0.status.code().is_some_and(|code| code == 1 || code == 2), "{arguments:?}: {:?}", done.0.status);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} made something");
        done
    };
    let data = home.data();
    let data = data.to_str().unwrap();
    for path in ["${workspaceFolder}/.cs", "~/x", "$HOME/x", "%APPDATA%/x", "file:///x", "{env:HOME}/x", "$(pwd)/x", "C:\\x", "'x'"] {
        for command in [&["mcp"][..], &["serve"], &["doctor"], &["keys", "list"]] {
            made(&[&["--data", path], command].concat(), &[]).says("--data");
        }
        made(&["mcp"], &[("COUNTERSIGN_DATA", path)]).says(path);
        made(&["mcp", "--data", data, "--config", path], &[]).says("--config");
        made(&["backup", path, "--data", data], &[]).says(path);
        made(&["restore", path, "--data", data], &[]).says(path);
        made(&["restore", "b", "--data", data, "--journal", path], &[]).says("--journal");
        for (variable, setting) in [
            ("COUNTERSIGN_SECRET_FILE", "secret_file"),
            ("COUNTERSIGN_BACKUP__JOURNAL", "backup.journal"),
            ("COUNTERSIGN_BRAND__LOGO_FILE", "brand.logo_file"),
            ("COUNTERSIGN_API__DOCS_URL_FILE", "COUNTERSIGN_API__DOCS_URL_FILE"),
        ] {
            made(&["serve", "--data", data], &[(variable, path)]).says(setting);
        }
        made(&["serve", "--data", data], &[("COUNTERSIGN_STORE__URL", &format!("sled:{path}"))]).says("store.url");
    }
    // Absolute, as the specification of these folders wants it, and still not written out.
    made(&["mcp"], &[("XDG_DATA_HOME", "/tmp/${USER}")]).says("data directory");
    assert!(!Path::new(data).exists());
}

#[test]
fn f28_a_file_of_variables_has_a_path_too() {
    let folder = tempfile::TempDir::new().unwrap();
    for path in ["~/.env", "${workspaceFolder}/.env", "$HOME/.env", "file:///x/.env"] {
        let refused = countersign::local_keys::env_file::EnvFile::new(folder.path(), path, "KEY").err().unwrap().to_string();
        assert!(refused.contains("env_path"), "{refused}");
    }
}

#[test]
fn f29_the_path_one_was_called_by_goes_into_files() {
    let home = Home::new();
    let bin = home.0.path().join("bin");
    let cellar = home.0.path().join("Cellar/1.0");
    fs::create_dir_all(&cellar).unwrap();
    fs::create_dir(&bin).unwrap();
    fs::copy(PROGRAM, cellar.join("countersign")).unwrap();
    symlink(cellar.join("countersign"), bin.join("countersign")).unwrap();
    let link = bin.join("countersign").display().to_string();
    let called = |name: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("{name} connect cursor")]).env_clear().env("HOME", home.0.path());
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).current_dir(home.0.path());
        let entry: Value = serde_json::from_str(&Done(command.output().unwrap()).ok()).unwrap();
        text(&entry["mcpServers"]["countersign"], "command")
    };
    for name in [link.as_str(), "bin/countersign", "countersign"] {
        assert_eq!(called(name), link, "{name}");
    }
    // A name that leads nowhere, or elsewhere: the file it runs from.
    let file = fs::canonicalize(cellar.join("countersign")).unwrap().display().to_string();
    for name in ["nonsense", "sh", "/bin/sh"] {
        let mut command = std::process::Command::new(bin.join("countersign"));
        command.arg0(name).args(["connect", "cursor"]).env_clear().envs(environment(home.0.path()));
        let entry: Value = serde_json::from_str(&Done(command.output().unwrap()).ok()).unwrap();
        assert_eq!(text(&entry["mcpServers"]["countersign"], "command"), file, "{name}");
    }
}

const DOCUMENTED: [(&str, &str, &str); 8] = [
    (
        "gemini",
        ".gemini/settings.json",
        r#"{"mcpServers":{"countersign":{"httpUrl":"URL/mcp","headers":{"Authorization":"Bearer $CS_KEY"},"timeout":5000}}}"#,
    ),
    (
        "windsurf",
        ".codeium/windsurf/mcp_config.json",
        r#"{"mcpServers":{"countersign":{"serverUrl":"URL/mcp","headers":{"Authorization":"Bearer ${env:CS_KEY}"}}}}"#,
    ),
    (
        "zed",
        ".config/zed/settings.json",
        "// Zed\n{\"theme\":\"One\",\"context_servers\":{\"countersign\":{\"url\":\"URL/mcp\",\"headers\":{}}}}",
    ),
    (
        "vscode settings",
        ".vscode/settings.json",
        r#"{"mcp":{"servers":{"countersign":{"type":"http","url":"URL/mcp","headers":{"Authorization":"Bearer ${env:CS_KEY}"}}}}}"#,
    ),
    (
        "vscode",
        ".vscode/mcp.json",
        r#"{"servers":{"countersign":{"type":"http","url":"URL/mcp","headers":{"Authorization":"Bearer ${env:CS_KEY}"}}}}"#,
    ),
    ("codex", ".codex/config.toml", "model = \"x\"\n[mcp_servers.countersign]\nurl = \"URL/mcp\"\nbearer_token_env_var = \"CS_KEY\"\n"),
    (
        "opencode",
        ".config/opencode/opencode.json",
        r#"{"mcp":{"countersign":{"type":"remote","url":"URL/mcp","headers":{"Authorization":"Bearer {env:CS_KEY}"}}}}"#,
    ),
    (
        "claude",
        ".mcp.json",
        r#"{"mcpServers":{"countersign":{"type":"sse","url":"URL/sse","headers":{"Authorization":"Bearer ${CS_KEY}"}}}}"#,
    ),
];

#[tokio::test]
async fn f30_every_documented_layout_is_read_and_its_key_is_tried() {
    let (home, there) = (Home::new(), Home::new());
    there.account();
    let made = there.run(&["keys", "create", "--account", ME, "--name", "CI", "--scope", "audience:read", "--json"], "").ok();
    let key = text(&serde_json::from_str(&made).unwrap(), "key");
    let server = there.serve().await;
    for (client, file, example) in DOCUMENTED {
        let path = written(&home, file, &example.replace("URL", &format!("http://{}", server.address)));
        let said = doctor(&home, &path, &[("CS_KEY", &key)]).ok();
        let zed = client == "zed";
        assert!(said.contains("5 tools") && (zed || said.contains("its key works")), "{client}: {said}");
        assert!(!said.contains(&key), "{client}: {said}");
        if !zed {
            assert!(doctor(&home, &path, &[("CS_KEY", "cs_live_nonsense")]).ended(1).out().contains("key does not work"), "{client}");
            let unset = doctor(&home, &path, &[]).ok();
            assert!(unset.contains("no key was sent: the variable CS_KEY is not set here"), "{client}: {unset}");
        }
    }
}

#[test]
fn f30_entries_that_start_a_program_are_read_in_every_layout() {
    let home = Home::new();
    let data = home.data().display().to_string();
    for (file, example) in [
        (
            ".config/zed/settings.json",
            json!({"context_servers": {"x": {"source": "custom", "command": PROGRAM, "args": ["mcp", "--data", data], "env": {}}}})
                .to_string(),
        ),
        (
            "zed/settings.json",
            json!({"context_servers": {"x": {"command": {"path": PROGRAM, "args": ["mcp", "--data", data]}}}}).to_string(),
        ),
        (
            "opencode.jsonc",
            json!({"mcp": {"x": {"type": "local", "command": [PROGRAM, "mcp", "--data", data], "environment": {"A": "b"}}}}).to_string(),
        ),
        (
            ".codex/config.toml",
            format!("[mcp_servers.x]\ncommand = {PROGRAM:?}\nargs = [\"mcp\", \"--data\", {data:?}]\nenv_vars = [\"HOME\"]\n"),
        ),
        ("settings.json", json!({"mcp.servers": {"x": {"command": PROGRAM, "args": ["mcp", "--data", data]}}}).to_string()),
    ] {
        let said = doctor(&home, &written(&home, file, &example), &[]).ok();
        assert!(said.contains("\"x\"") && said.contains("5 tools"), "{file}: {said}");
    }
    let yaml = written(&home, "config.yaml", "extensions:\n  countersign:\n    type: stdio\n");
    assert!(doctor(&home, &yaml, &[]).ended(1).out().contains("YAML"));
    let other = written(&home, ".cursor/mcp.json", r#"{"mcpServers":{"countersign":{"httpUrl":"http://127.0.0.1:9/mcp"}}}"#);
    assert!(doctor(&home, &other, &[]).ended(1).out().contains("neither a command nor a url"));
}

#[test]
fn f30_what_stands_twice_is_said() {
    let home = Home::new();
    let entry = json!({"command": PROGRAM, "args": ["mcp", "--data", home.data()]}).to_string();
    for (file, example, twice) in [
        ("mcp.json", format!("{{\"mcpServers\":{{\"countersign\":{entry}}},\"mcpServers\":{{\"countersign\":{entry}}}}}"), "mcpServers"),
        ("mcp.json", format!("{{\"mcpServers\":{{\"countersign\":{entry},\"countersign\":{entry}}}}}"), "countersign"),
        ("mcp.json", format!("{{\"mcp\":{{\"servers\":{{}},\"servers\":{{\"countersign\":{entry}}}}}}}"), "servers"),
        ("mcp.json", "{\"mcpServers\":{\"countersign\":{\"command\":\"/a\",\"command\":\"/b\",\"args\":[\"mcp\"]}}}".to_owned(), "command"),
        (
            "config.toml",
            "[mcp_servers.countersign]\ncommand = \"/a\"\n[mcp_servers.countersign]\ncommand = \"/b\"\n".to_owned(),
            "countersign",
        ),
    ] {
        let said = doctor(&home, &written(&home, file, &example), &[]).ended(1).out();
        assert!(said.contains(twice) && (said.contains("stands twice") || said.contains("duplicate")), "{example}: {said}");
    }
    let theirs = written(&home, "settings.json", &format!("{{\"a\":1,\"a\":2,\"mcpServers\":{{\"countersign\":{entry}}}}}"));
    assert!(!doctor(&home, &theirs, &[]).ok().contains("twice"), "what is not about servers is the owner's");
}

#[test]
fn f30_connect_writes_into_each_clients_own_file_and_leaves_the_rest() {
    for (client, file, before, kept) in [
        (
            "codex",
            ".codex/config.toml",
            "# mine\nmodel = \"x\" # keep\n\n[mcp_servers.other]\ncommand = \"y\"\n",
            &["# mine\nmodel = \"x\" # keep", "[mcp_servers.other]\ncommand = \"y\""][..],
        ),
        ("gemini", ".gemini/settings.json", "{\n  // mine\n  \"theme\": \"x\"\n}\n", &["// mine\n  \"theme\": \"x\""]),
        (
            "windsurf",
            ".codeium/windsurf/mcp_config.json",
            "{\"mcpServers\": {\"other\": {\"command\": \"y\"}}}",
            &["\"other\": {\"command\": \"y\"}"],
        ),
        (
            "zed",
            ".config/zed/settings.json",
            "// Zed settings\n{\n  \"theme\": \"One\", // keep\n}\n",
            &["// Zed settings", "\"theme\": \"One\", // keep"],
        ),
        (
            "opencode",
            ".config/opencode/opencode.json",
            "{\"$schema\": \"https://opencode.ai/config.json\"}",
            &["\"$schema\": \"https://opencode.ai/config.json\""],
        ),
    ] {
        let home = Home::new();
        let connect = |write: &[&str]| {
            Done(
                std::process::Command::new(PROGRAM)
                    .arg("--data")
                    .arg(home.data())
                    .args(["connect", client])
                    .args(write)
                    .env_clear()
                    .envs(environment(home.0.path()))
                    .output()
                    .unwrap(),
            )
        };
        let path = home.0.path().join(file);
        // Into nothing, and into what is there.
        for before in ["", before] {
            written(&home, file, before);
            connect(&["--write"]).ok();
            let once = fs::read_to_string(&path).unwrap();
            assert!(before.is_empty() || kept.iter().all(|kept| once.contains(kept)), "{client}: {once}");
            assert!(doctor(&home, &path, &[]).ok().contains("5 tools"), "{client}: {once}");
            connect(&["--write"]).ok();
            assert_eq!(fs::read_to_string(&path).unwrap(), once, "{client}: a second time changes nothing");
        }
        let printed = connect(&[]).ok();
        let ending = path.extension().unwrap().to_str().unwrap();
        let copied = written(&home, &format!("{}/copied.{ending}", Path::new(file).parent().unwrap().display()), &printed);
        assert!(doctor(&home, &copied, &[]).ok().contains("5 tools"), "{client}: {printed}");
    }
}

#[test]
fn f30_an_entry_of_codex_keeps_what_does_not_say_how_it_starts() {
    let home = Home::new();
    let before = "[mcp_servers.countersign]\nurl = \"https://x.example/mcp\"\nstartup_timeout_sec = 20 # slow\n\n[mcp_servers.countersign.env]\nA = \"b\"\n";
    let path = written(&home, ".codex/config.toml", before);
    let said = home.run(&["connect", "codex", "--write"], "").ok();
    assert!(said.contains("over HTTP; its env is kept"), "{said}");
    let now = fs::read_to_string(&path).unwrap();
    assert!(now.contains("startup_timeout_sec = 20 # slow") && now.contains("A = \"b\"") && !now.contains("x.example"), "{now}");
    for broken in ["[mcp_servers", "mcp_servers = 1", "[mcp_servers]\ncountersign = 1\n"] {
        fs::write(&path, broken).unwrap();
        home.run(&["connect", "codex", "--write"], "").ended(1).says("was not touched");
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
}

#[test]
fn f32_a_service_called_countersign_stops_no_pod() {
    let home = Home::new();
    let shown = |name: &str, value: &str| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["config", "show"]).env_clear().envs(environment(home.0.path())).env(name, value);
        Done(command.output().unwrap())
    };
    for name in
        ["COUNTERSIGN_SERVICE_HOST", "COUNTERSIGN_PORT", "COUNTERSIGN_PORT_4080_TCP_ADDR", "COUNTERSIGN_VERSION", "COUNTERSIGN_HOME"]
    {
        shown(name, "tcp://10.96.1.7:4080").ok();
    }
    shown("COUNTERSIGN_SERVCE_NAME", "x").ended(1).says("service_name");
    let mut doctor = std::process::Command::new(PROGRAM);
    doctor
        .args(["doctor"])
        .env_clear()
        .envs(environment(home.0.path()))
        .envs([("COUNTERSIGN_PORT", "8080"), ("COUNTERSIGN_SERVICE_HOST", "10.96.1.7")]);
    let said = Done(doctor.output().unwrap()).out();
    assert!(said.contains("COUNTERSIGN_PORT is no setting") && !said.contains("SERVICE_HOST"), "{said}");
}

#[test]
fn f32_no_setting_has_a_name_that_kubernetes_gives() {
    let config = toml::Table::try_from(countersign::config::settings::Config::default()).unwrap();
    for name in ["port", "service_host", "service_port"] {
        assert!(!config.contains_key(name), "{name}");
    }
    assert!(config.keys().all(|name| !name.starts_with("port_") && !name.starts_with("service_port_")));
}

#[test]
fn f59_a_data_directory_of_another_user_says_what_mends_it() {
    let home = Home::new();
    // Root makes one of somebody else's; anybody else has root's at hand.
    let other = if fs::metadata(home.0.path()).unwrap().uid() == 0 {
        let other = home.0.path().join("volume");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::chown(&other, Some(12345), None).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o2775)).unwrap();
        other
    } else {
        "/usr".into()
    };
    for command in ["serve", "doctor"] {
        let mut started = std::process::Command::new(PROGRAM);
        started.arg(command).arg("--data").arg(&other).env_clear().envs(environment(home.0.path()));
        let done = Done(started.output().unwrap());
        let said = format!("{}{}", done.ended(1).out(), done.said());
        let mends = [
            format!("{} {}", "chown -R", fs::metadata(home.0.path()).unwrap().uid()),
            format!("--data {}/countersign", other.display()),
            "subPath".to_owned(),
        ];
        assert!(mends.iter().all(|mend| said.contains(mend)), "{said}");
    }
}
