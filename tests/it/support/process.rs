//! The real program: its home, a running server, a client over stdio.

use super::{Browser, Http, PASSWORD, verifier};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
pub const ME: &str = "me@example.com";

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
pub struct Home(pub TempDir);

impl Home {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    pub fn program(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.arg("--data").arg(self.data()).args(arguments).env_clear().envs(environment(self.0.path()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// `serve`, after a shell did this.
    pub fn in_shell(&self, first: &str) -> tokio::process::Command {
        self.below(&["sh", "-c", &format!("{first}; exec \"$0\" \"$@\"")])
    }

    /// `serve`, started by another program.
    pub fn below(&self, starter: &[&str]) -> tokio::process::Command {
        let served = self.program(&["serve", "--listen", "127.0.0.1:0"]);
        let mut command = tokio::process::Command::new(starter[0]);
        command.args(&starter[1..]).arg(PROGRAM).args(served.as_std().get_args()).env_clear().envs(environment(self.0.path()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// One command to its end.
    pub fn run(&self, arguments: &[&str], stdin: &str) -> Done {
        let mut command = std::process::Command::new(PROGRAM);
        command.arg("--data").arg(self.data()).args(arguments).env_clear().envs(environment(self.0.path()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that asks for nothing may be gone before it is told anything.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Done(child.wait_with_output().unwrap())
    }

    pub async fn serve(&self) -> Server {
        self.serve_at("127.0.0.1:0").await
    }

    pub async fn serve_at(&self, listen: &str) -> Server {
        Server::started(self.program(&["serve", "--listen", listen])).await
    }

    /// An account to sign in with.
    pub fn account(&self) {
        let made = self.run(&["accounts", "create", "--email", ME, "--password-stdin"], &format!("{PASSWORD}\n"));
        made.ok();
    }
}

/// What a command left.
pub struct Done(pub Output);

impl Done {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub fn ended(&self, code: i32) -> &Self {
        assert_eq!(self.0.status.code(), Some(code), "{} {}", self.out(), self.said());
        self
    }

    #[track_caller]
    pub fn ok(&self) -> String {
        self.ended(0).out()
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.said().contains(text), "{text:?} is not in {:?}", self.said());
        self
    }
}

pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    pub printed: Vec<String>,
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// Returns once the program says that it serves.
    pub async fn started(mut program: tokio::process::Command) -> Self {
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

    pub fn http(&self) -> Http {
        Http::over(self.address)
    }

    pub async fn signed_in(&self) -> Browser {
        let mut browser = Browser::over(self.address);
        browser.open("/login").await;
        let answer = browser.submit("/login", &[("email", ME), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        browser
    }

    /// Power off, as far as the program can tell.
    pub async fn killed(mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn told(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub async fn stopped(self) -> std::process::ExitStatus {
        self.told("-TERM");
        self.ended().await
    }

    pub async fn ended(mut self) -> std::process::ExitStatus {
        self.child.wait().await.unwrap()
    }
}

pub fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub fn asking(challenge: bool) -> Value {
    let mut body = json!({"type": "service_auth", "agent_name": "Claude", "scope": "audience:read"});
    if challenge {
        body["code_challenge"] = json!(verifier().challenge().as_str());
        body["code_challenge_method"] = json!("S256");
    }
    body
}

pub fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}")).to_owned()
}

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
