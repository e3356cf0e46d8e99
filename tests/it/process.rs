//! The real program: started, asked, stopped, killed.

mod commands;

use crate::support::*;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::{Output, Stdio},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
pub(super) const ME: &str = "me@example.com";

/// The environment of a program that knows nothing of this machine's user.
pub fn environment(home: &Path) -> Vec<(String, String)> {
    let path = std::env::var("PATH").unwrap_or_default();
    [
        ("PATH", path.as_str()),
        ("HOME", home.to_str().unwrap()),
        ("COUNTERSIGN_LISTEN", "127.0.0.1:0"),
        ("COUNTERSIGN_LIMITS__REGISTRATIONS_PER_HOUR", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// A home with a data directory.
pub(super) struct Home(pub(super) TempDir);

impl Home {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(super) fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    pub(super) fn program(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.arg("--data").arg(self.data()).args(arguments).env_clear().envs(environment(self.0.path()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// `serve`, after a shell did this.
    pub(super) fn in_shell(&self, first: &str) -> tokio::process::Command {
        self.below(&["sh", "-c", &format!("{first}; exec \"$0\" \"$@\"")])
    }

    /// `serve`, started by another program.
    pub(super) fn below(&self, starter: &[&str]) -> tokio::process::Command {
        let served = self.program(&["serve", "--listen", "127.0.0.1:0"]);
        let mut command = tokio::process::Command::new(starter[0]);
        command.args(&starter[1..]).arg(PROGRAM).args(served.as_std().get_args()).env_clear().envs(environment(self.0.path()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// One command to its end.
    pub(super) fn run(&self, arguments: &[&str], stdin: &str) -> Done {
        let mut command = std::process::Command::new(PROGRAM);
        command.arg("--data").arg(self.data()).args(arguments).env_clear().envs(environment(self.0.path()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that asks for nothing may be gone before it is told anything.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Done(child.wait_with_output().unwrap())
    }

    pub(super) async fn serve(&self) -> Server {
        self.serve_at("127.0.0.1:0").await
    }

    pub(super) async fn serve_at(&self, listen: &str) -> Server {
        Server::started(self.program(&["serve", "--listen", listen])).await
    }

    /// An account to sign in with.
    pub(super) fn account(&self) {
        let made = self.run(&["accounts", "create", "--email", ME, "--password-stdin"], &format!("{PASSWORD}\n"));
        made.ok();
    }
}

/// What a command left.
pub(super) struct Done(pub(super) Output);

impl Done {
    pub(super) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub(super) fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.0.status.code(), Some(code), "{} {}", self.out(), self.said());
        self
    }

    #[track_caller]
    pub(super) fn ok(&self) -> String {
        self.ended(0).out()
    }

    #[track_caller]
    pub(super) fn says(&self, text: &str) -> &Self {
        assert!(self.said().contains(text), "{text:?} is not in {:?}", self.said());
        self
    }
}

pub(super) struct Server {
    pub(super) child: Child,
    pub(super) address: SocketAddr,
    printed: Vec<String>,
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Returns once the program says that it serves.
    pub(super) async fn started(mut program: tokio::process::Command) -> Self {
        let mut child = program.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            printed.push(line);
            if printed.last().unwrap().starts_with("Back up") {
                let agents = printed.iter().find_map(|line| line.strip_prefix("Agents   http://")).unwrap();
                let address = agents.strip_suffix("/auth.md").unwrap().parse().unwrap();
                return Server { child, address, printed, _lines: lines };
            }
        }
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        panic!("the server did not start: {printed:?} {said}");
    }

    pub(super) fn http(&self) -> Http {
        Http::over(self.address)
    }

    pub(super) async fn signed_in(&self) -> Browser {
        let mut browser = Browser::over(self.address);
        browser.open("/login").await;
        let answer = browser.submit("/login", &[("email", ME), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        browser
    }

    /// Power off, as far as the program can tell.
    pub(super) async fn killed(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(super) fn told(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(super) async fn stopped(self) -> std::process::ExitStatus {
        self.told("-TERM");
        self.ended().await
    }

    pub(super) async fn ended(mut self) -> std::process::ExitStatus {
        self.child.wait().await.unwrap()
    }
}

pub(super) fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(super) fn asking(challenge: bool) -> Value {
    let mut body = json!({"type": "service_auth", "agent_name": "Claude", "scope": "audience:read"});
    if challenge {
        body["code_challenge"] = json!(verifier().challenge().as_str());
        body["code_challenge_method"] = json!("S256");
    }
    body
}

pub(super) fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

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

// Killed.

#[tokio::test]
async fn a71_killed_at_any_point_of_the_ceremony_nothing_acknowledged_is_lost() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let at = server.address.to_string();
    let asked = server.http().register(asking(false)).await.ok();
    let claim = text(&asked, "claim_token");
    server.killed().await;

    let server = home.serve_at(&at).await;
    server.http().poll(&claim).await.oauth_error(400, "authorization_pending");
    let slowed = server.http().poll(&claim).await.oauth_error(400, "slow_down");
    server.killed().await;

    let server = home.serve_at(&at).await;
    assert_eq!(server.http().poll(&claim).await.oauth_error(400, "authorization_pending")["interval"], slowed["interval"]);
    let mut browser = server.signed_in().await;
    let path = browser.enter(&text(&asked["claim"], "user_code")).await;
    server.killed().await;

    let server = home.serve_at(&at).await;
    browser.open(&path).await;
    assert_eq!(browser.submit(&path, &[("decision", "approve")]).await.status, 303, "the session and the bound code are still there");
    server.killed().await;

    let server = home.serve_at(&at).await;
    let key = text(&server.http().poll(&claim).await.ok(), "access_token");
    server.http().poll(&claim).await.oauth_error(400, "invalid_grant");
    server.killed().await;

    let server = home.serve_at(&at).await;
    server.http().projects(&key).await.ok();
    server.http().poll(&claim).await.oauth_error(400, "invalid_grant");
    server.http().post("/oauth2/revoke").json(&json!({"token": key})).send().await.ok();
    server.killed().await;

    let server = home.serve_at(&at).await;
    assert_eq!(server.http().projects(&key).await.status, 401);
    let keys = browser.open("/settings/keys").await.text();
    assert_eq!(keys.matches("<li class=\"key").count(), 1, "one ceremony made one key:\n{keys}");
}

#[tokio::test]
async fn a35_killed_after_delivery_the_next_poll_with_the_verifier_has_the_same_key() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let asked = server.http().register(asking(true)).await.ok();
    let claim = text(&asked, "claim_token");
    server.signed_in().await.approve(&text(&asked["claim"], "user_code")).await;
    let first = server.http().poll_with(&claim, verifier().expose()).await.ok();
    let at = server.address.to_string();
    server.killed().await;
    let server = home.serve_at(&at).await;
    let again = server.http().poll_with(&claim, verifier().expose()).await.ok();
    assert_eq!((&again["access_token"], &again["key_id"]), (&first["access_token"], &first["key_id"]));
    server.http().projects(&text(&first, "access_token")).await.ok();
    server.http().poll_with(&claim, verifier().expose()).await.oauth_error(400, "invalid_grant");
}

#[tokio::test]
async fn a35_without_a_challenge_the_lost_key_is_listed_as_delivered_never_used() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let asked = server.http().register(asking(false)).await.ok();
    let claim = text(&asked, "claim_token");
    let mut browser = server.signed_in().await;
    browser.approve(&text(&asked["claim"], "user_code")).await;
    server.http().poll(&claim).await.ok();
    let at = server.address.to_string();
    server.killed().await;
    let server = home.serve_at(&at).await;
    server.http().poll(&claim).await.oauth_error(400, "invalid_grant");
    let keys = browser.open("/settings/keys").await.text();
    assert!(keys.contains("Delivered, never used") && keys.contains("/revoke\""), "{keys}");
    assert_eq!(keys.matches("<li class=\"key").count(), 1);
    drop(server);
}

#[tokio::test]
async fn a71_an_approval_that_was_answered_before_the_kill_counts() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let at = server.address.to_string();
    let asked = server.http().register(asking(false)).await.ok();
    server.signed_in().await.approve(&text(&asked["claim"], "user_code")).await;
    server.killed().await;
    let server = home.serve_at(&at).await;
    server.http().poll(&text(&asked, "claim_token")).await.ok();
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

// MCP over stdio.

/// A client that started `countersign mcp`, and every byte it was sent.
pub struct Client {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub seen: String,
    id: u64,
}

impl Client {
    pub async fn start(home: &Home) -> Self {
        Self::of(home.program(&["mcp"]).stderr(Stdio::null())).await
    }

    /// A client of a program that the test has prepared.
    pub async fn of(program: &mut tokio::process::Command) -> Self {
        let mut client = Self::bare(program);
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a test", "version": "1"}});
        let reply = client.request("initialize", hello).await;
        assert_eq!(reply["result"]["serverInfo"]["name"], "countersign", "{reply}");
        client.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        client
    }

    /// One that has said nothing yet.
    pub fn bare(program: &mut tokio::process::Command) -> Self {
        let mut child = program.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, seen: String::new(), id: 0 }
    }

    pub async fn send(&mut self, message: Value) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    pub async fn request(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let id = self.id;
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.seen.push_str(&line);
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("stdout carries more than JSON-RPC: {line}"));
            assert_eq!(message["jsonrpc"], "2.0", "{message}");
            if message["id"] == id {
                return message;
            }
        }
        panic!("the server hung up on {method}");
    }

    pub async fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let reply = self.request("tools/call", json!({"name": name, "arguments": arguments})).await;
        let result = &reply["result"];
        if result["isError"] == true {
            serde_json::from_str(&text(&result["content"][0], "text")).unwrap()
        } else {
            result["structuredContent"].clone()
        }
    }

    /// Hangs up; how the program ended.
    pub async fn done(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        (self.child.wait().await.unwrap().code(), self.seen)
    }
}

/// The page of a registration that a client opened over stdio, signed in.
pub async fn page_of(registered: &Value) -> Browser {
    let uri = text(registered, "verification_uri");
    let address = uri.strip_prefix("http://").unwrap().strip_suffix("/claim").unwrap().parse().unwrap();
    let mut browser = Browser::over(address);
    browser.open("/login").await;
    assert_eq!(browser.submit("/login", &[("email", ME), ("password", PASSWORD)]).await.status, 303);
    browser
}

/// Asks for a key and has it approved; the arguments of the poll that collects it.
pub async fn approved(client: &mut Client, scopes: Value) -> Value {
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": scopes})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    json!({"claim_id": asked["claim_id"], "wait_seconds": 0})
}

#[test]
fn a70_with_an_empty_stdin_mcp_ends_with_0_and_prints_nothing() {
    let done = Home::new().run(&["mcp"], "");
    assert_eq!(done.ok(), "");
}

#[tokio::test]
async fn a70_over_stdio_the_key_lands_in_a_private_file_and_in_no_byte_of_the_answers() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read", "keys:read"]})).await;
    let claim = json!({"claim_id": asked["claim_id"], "wait_seconds": 0});
    assert_eq!(client.tool("poll_claim", claim.clone()).await["status"], "pending");
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    let delivered = client.tool("poll_claim", claim.clone()).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    let file = text(&delivered, "stored_at");
    let stored: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let key = text(&stored, "key");
    assert_eq!((mode(&file), mode(Path::new(&file).parent().unwrap())), (0o600, 0o700));
    assert_eq!(client.tool("poll_claim", claim).await["status"], "delivered");
    assert_eq!(client.tool("check_scope", json!({"scopes": ["audience:read"]})).await["allowed"], true);
    assert_eq!(client.tool("list_keys", json!({})).await["keys"][0]["id"], delivered["key"]["id"]);
    let projects = home.run(&["curl", "-sS", "/v1/projects"], "").ok();
    assert_eq!(serde_json::from_str::<Value>(&projects).unwrap(), json!({"success": true, "data": {"projects": [], "total": 0}}));
    assert_eq!(client.tool("revoke_key", json!({"key_id": delivered["key"]["id"]})).await["status"], "revoked");
    assert!(!Path::new(&file).exists(), "a revoked key's file goes");
    let (code, seen) = client.done().await;
    assert_eq!(code, Some(0));
    assert!(!seen.contains(&key) && !seen.contains(&key[8..]) && !seen.contains("clm_"), "a secret was sent");
}

#[tokio::test]
async fn a_stored_key_that_was_revoked_elsewhere_is_forgotten_and_said() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    let delivered = client.tool("poll_claim", claim).await;
    let (file, key) = (text(&delivered, "stored_at"), text(&delivered["key"], "id"));
    home.run(&["keys", "revoke", &key, "--yes"], "").ok();
    for command in [&["curl", "-sS", "/v1/projects"][..], &["exec", "--env", "KEY", "--", "true"]] {
        home.run(command, "").ended(4);
    }
    assert!(!Path::new(&file).exists());
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

#[tokio::test]
async fn a70_a_folder_that_is_a_link_takes_no_key_and_loses_none() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read"]})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    let elsewhere = TempDir::new().unwrap();
    symlink(elsewhere.path(), home.data().join("credentials")).unwrap();
    let claim = json!({"claim_id": asked["claim_id"], "wait_seconds": 0});
    let refused = client.tool("poll_claim", claim.clone()).await;
    assert_eq!(refused["error"], "conflict", "{refused}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    fs::remove_file(home.data().join("credentials")).unwrap();
    assert_eq!(client.tool("poll_claim", claim).await["status"], "delivered");
}

#[tokio::test]
async fn a_restarted_client_still_knows_its_claim() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    client.child.kill().await.unwrap();
    let mut client = Client::start(&home).await;
    let delivered = client.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    for file in fs::read_dir(home.data().join("claims")).unwrap() {
        assert_eq!(mode(file.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn two_clients_and_a_server_share_one_directory() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let (mut one, mut two) = (Client::start(&home).await, Client::start(&home).await);
    let asked = one.tool("register_agent", json!({"agent_name": "Claude"})).await;
    assert_eq!(text(&asked, "verification_uri"), format!("http://{}/claim", server.address));
    server.signed_in().await.approve(&text(&asked, "user_code")).await;
    assert_eq!(one.tool("poll_claim", json!({"claim_id": asked["claim_id"]})).await["status"], "delivered");
    assert_eq!(two.tool("list_keys", json!({})).await["keys"].as_array().unwrap().len(), 1, "the same client program, the same key");
    assert_eq!((one.done().await.0, two.done().await.0), (Some(0), Some(0)));
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
