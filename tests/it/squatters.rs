//! Ports, sockets, directories and files that are not, or no longer, what they were: who gets a key, and who gets nothing.

use crate::support::process::*;
use countersign::instance::{
    control::{
        client::SocketClient,
        request::{ControlRequest, ControlResponse},
        status::InstanceStatus,
    },
    secret_file::{self, SecretError},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::Command,
};

const NOBODY: Option<u32> = Some(65_534);

/// Somebody else's program on a port.
struct Squatter(TcpListener);

impl Squatter {
    fn on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    #[track_caller]
    fn heard_nothing(&self) {
        assert_eq!(self.0.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody connected");
    }
}

/// A free port of this computer.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Home {
    /// A program whose environment names no port.
    fn unconfigured(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(arguments);
        command.env_remove("COUNTERSIGN_LISTEN");
        command
    }

    /// A key that a client got over stdio while `server` served.
    async fn key_from(&self, server: &Server) -> Value {
        let mut client = Client::start(self).await;
        let asked = client.tool("register_agent", json!({"agent_name": "Claude", "scopes": ["audience:read"]})).await;
        server.signed_in().await.approve(&text(&asked, "user_code")).await;
        let delivered = client.tool("poll_claim", json!({"claim_id": asked["claim_id"]})).await;
        assert_eq!(delivered["status"], "delivered", "{delivered}");
        client.done().await;
        delivered
    }

    async fn owner(&self) -> InstanceStatus {
        match SocketClient::of(&self.data()).unwrap().call(&ControlRequest::Status).await.unwrap() {
            ControlResponse::Status(standing) => standing,
            other => panic!("{other:?}"),
        }
    }

    /// The same line to whoever owns the directory.
    async fn sent(&self, line: &str) -> Value {
        let mut stream = UnixStream::connect(self.data().join("owner.sock")).await.unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).await.unwrap();
        serde_json::from_str(&reply).unwrap()
    }
}

// Keys and ports.

#[tokio::test]
async fn a82_a_key_of_a_killed_server_is_not_sent_to_who_takes_its_port() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    home.key_from(&server).await;
    let address = server.address;
    server.killed().await;
    let squatter = Squatter::on(address);
    for target in ["/v1/projects", &format!("http://{address}/v1/projects")] {
        home.run(&["curl", "-sS", target], "").ended(1).says("was not sent to").says("Start it with `countersign`");
    }
    squatter.heard_nothing();
}

#[tokio::test]
async fn a82_a_key_goes_where_its_server_is_now_and_not_where_it_was() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    home.key_from(&server).await;
    let before = server.address;
    assert!(server.stopped().await.success());
    let squatter = Squatter::on(before);
    let server = home.serve().await;
    assert_ne!(server.address, before);
    let there = [&before, &server.address].map(|address| format!("http://{address}/v1/projects"));
    for target in ["/v1/projects", &there[0], &there[1]] {
        assert!(home.run(&["curl", "-sS", target], "").ok().contains("\"projects\""), "{target}");
    }
    squatter.heard_nothing();
}

#[tokio::test]
async fn pages_stay_on_the_port_they_were_on_and_keys_live_on() {
    let home = Home::new();
    home.account();
    let server = home.serve_at(&free().to_string()).await;
    home.key_from(&server).await;
    let address = server.address;
    assert!(server.stopped().await.success());
    let mut client = Client::of(home.unconfigured(&["mcp"]).stderr(Stdio::null())).await;
    assert_eq!(client.tool("check_scope", json!({"scopes": ["audience:read"]})).await["allowed"], true);
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    assert_eq!(text(&asked, "verification_uri"), format!("http://{address}/claim"));
    let server = Server::started(home.unconfigured(&["serve"])).await;
    assert_eq!(server.address, address, "a link that was shown leads to whoever serves next");
    assert!(server.stopped().await.success());
    let server = home.serve_at(&free().to_string()).await;
    assert_ne!(server.address, address, "who names a port has it");
    assert!(client.tool("check_scope", json!({})).await["key"]["id"].is_string());
}

#[tokio::test]
async fn a_serve_that_cannot_serve_asks_nobody_to_hand_over() {
    let home = Home::new();
    let mut client = Client::start(&home).await;
    client.tool("check_scope", json!({})).await;
    let (before, taken) = (home.owner().await, Squatter::on(free()));
    home.run(&["serve", "--listen", &taken.0.local_addr().unwrap().to_string()], "").ended(1).says("can't listen on");
    assert_eq!(home.owner().await.pid, before.pid);
    client.done().await;
}

// Directories and files of others.

#[test]
fn a82_a_directory_of_another_user_is_refused_by_everybody() {
    let home = Home::new();
    // Only root can give a directory away; who is not root borrows one of root's.
    fs::create_dir(home.data()).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(home.data().join("owner.lock"), "").unwrap();
    fs::write(home.data().join("secret"), [7; 32]).unwrap();
    if chown(home.data(), NOBODY, NOBODY).is_err() {
        fs::remove_dir_all(home.data()).unwrap();
        symlink("/usr", home.data()).unwrap();
    }
    for command in [&["serve"][..], &["mcp"], &["accounts", "list"], &["doctor"]] {
        let done = home.run(command, "");
        let told = format!("{}{}", done.ended(1).said(), done.out());
        assert!(told.contains("belongs to another user") || told.contains("there is no data"), "{command:?}: {told}");
    }
    assert!(!home.data().join("store").exists());
}

#[test]
fn a82_a_secret_lock_or_store_of_another_user_is_refused() {
    for (name, of_root) in [("secret", "/etc/passwd"), ("owner.lock", "/etc/passwd"), ("store", "/usr")] {
        let home = Home::new();
        home.account();
        let part = home.data().join(name);
        if chown(&part, NOBODY, NOBODY).is_err() {
            fs::rename(&part, home.0.path().join("away")).unwrap();
            symlink(of_root, &part).unwrap();
        }
        let said = home.run(&["serve"], "").ended(1).said();
        assert!(["another user", "symbolic link", "Permission denied"].iter().any(|why| said.contains(why)), "{name}: {said}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = if chown(file.path(), NOBODY, NOBODY).is_ok() { file.path() } else { Path::new("/etc/passwd") };
    assert!(matches!(secret_file::read(path), Err(SecretError::Foreign(_))));
}

// The socket.

#[tokio::test]
async fn a_socket_is_found_where_its_owner_says_it_is() {
    let home = Home::new();
    let data = home.0.path().join("long".repeat(30));
    let run = home.0.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    let program = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("--data").arg(&data).args(arguments).env_clear().envs(environment(home.0.path()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    };
    let mut serve = program(&["serve"]);
    serve.env("XDG_RUNTIME_DIR", &run);
    let _server = Server::started(serve).await;
    assert_eq!(fs::read_dir(&run).unwrap().count(), 1, "the socket");
    Done(program(&["accounts", "list"]).output().await.unwrap()).ok();
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let home = Home::new();
    home.account();
    let _server = home.serve().await;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let mut silent = Vec::new();
    for _ in 0..520 {
        silent.push(UnixStream::connect(home.data().join("owner.sock")).await.unwrap());
    }
    assert!(home.run(&["accounts", "list"], "").ok().contains(ME));
    home.run(&["serve", "--listen", "127.0.0.1:0"], "").ended(1).says("countersign serve");
}

#[tokio::test]
async fn a_call_sent_again_after_the_secret_was_rotated_is_the_same_call() {
    let home = Home::new();
    home.account();
    let call = json!({"operation": "1", "call": "create_key", "account": ME, "name": "CI", "scopes": ["audience:read"],
        "environment": null, "expires_in": null, "requests_per_minute": null});
    let server = home.serve().await;
    let first = home.sent(&call.to_string()).await;
    assert!(server.stopped().await.success());
    home.run(&["secrets", "rotate"], "").ok();
    let server = home.serve().await;
    let second = home.sent(&call.to_string()).await;
    assert_eq!(first["Ok"]["value"], second["Ok"]["value"]);
    server.http().projects(&text(&second["Ok"]["value"], "key")).await.ok();
}

// The terminal.

#[tokio::test]
async fn a_server_elsewhere_does_not_command_the_terminal() {
    let body = "{\"error\":\"x\",\"error_description\":\"\\u001b]0;owned\\u0007\u{9b}2J back\u{202e}\"}";
    let answer = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let (evil, _) = crate::elsewhere::listening(answer).await;
    let home = Home::new();
    let asked = home.program(&["--server", &evil, "keys", "list"]).env("COUNTERSIGN_API_KEY", "cs_live_x").output().await.unwrap();
    let done = Done(asked);
    done.says("owned").says("back\\u202e");
    assert!(!done.said().trim_end().contains(|c: char| c.is_control()), "{:?}", done.said());
}

#[test]
fn server_is_in_the_help_of_the_commands_that_take_it() {
    let home = Home::new();
    for (command, takes) in [("mcp", true), ("keys", true), ("connect", true), ("serve", false), ("accounts", false), ("doctor", false)] {
        assert_eq!(home.run(&[command, "--help"], "").ok().contains("--server"), takes, "{command}");
    }
    home.run(&["--server", "https://example.com", "doctor"], "").ended(2).says("--server");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let done = std::process::Command::new(PROGRAM).args(["mcp", "--data", "/proc/nope"]).stdin(Stdio::null()).output().unwrap();
    Done(done).ended(1).says("/proc/nope");
}
