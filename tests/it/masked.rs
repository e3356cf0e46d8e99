//! What a key must not leave behind: in the output of the programs it is handed to, in a dump of this one's memory.

use crate::support::process::*;
use axum::{Router, body::Body, extract::Request, response::Response, routing};
use countersign::{
    api::values::{Revealed, Time},
    domain::{environment::Environment, id::KeyId, scope::ScopeSet},
    local_keys::keys::{StoredKey, StoredKeys},
    platform::runtime::Runtime,
};
use futures::stream;
use std::{
    fs,
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
};

const KEY: &str = "cs_live_0123456789abcdefghijABCDEFGHIJ";
const SHOWN: &str = "cs_live_0…";

/// A key of a server elsewhere that echoes what it is sent: in a header, and in a body that comes in two pieces.
async fn echoed(home: &Home) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let echo = |request: Request| async move {
        let sent = request.headers()["authorization"].to_str().unwrap().to_owned();
        let (first, rest) = sent.split_at(sent.len() - 7);
        let pieces = [format!("{{\"you_sent\":\"{first}"), format!("{rest}\",\"again\":\"{KEY}{KEY}\"}}\n")];
        let body = stream::iter(pieces.map(Ok::<_, std::io::Error>));
        Response::builder().header("x-echo", &sent).body(Body::from_stream(body)).unwrap()
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(routing::any(echo))).await });
    let runtime = Runtime::system();
    let credential = StoredKey {
        key_id: KeyId::new(runtime.now(), runtime.bytes()),
        key: Revealed::new(KEY),
        prefix: "cs_live_0".to_owned(),
        origin: origin.clone(),
        api_origin: origin.clone(),
        profile: "claude".to_owned(),
        scopes: ScopeSet::default(),
        environment: Environment::Live,
        expires_at: None,
        stored_at: Time(runtime.now()),
        elsewhere: true,
    };
    StoredKeys::new(&home.data()).store(&credential).unwrap();
    origin
}

#[tokio::test]
async fn a70_curl_masks_a_key_that_the_api_echoes() {
    let home = Home::new();
    let origin = echoed(&home).await;
    let url = format!("{origin}/echo");
    let file = home.0.path().join("headers");
    let calls: [&[&str]; 6] = [
        &["-sS", &url],
        &["-isS", &url],
        &["-sS", "-N", "-o", "-", &url],
        &["-sS", "-o", "/dev/stderr", &url],
        &["-sS", "-D", "/dev/stderr", &url],
        &["-sS", "-w", "%{header_json}", &url],
    ];
    for arguments in calls {
        let done = Done(home.program(&[&["curl"], arguments].concat()).output().await.unwrap());
        let all = format!("{}{}", done.ended(0).out(), done.said());
        assert!(!all.contains(KEY) && all.contains(&format!("Bearer {SHOWN}")), "{arguments:?}: {all}");
        assert!(all.contains(&format!("\"again\":\"{SHOWN}{SHOWN}\"}}\n")), "{arguments:?}: {all}");
    }
    // A file that was asked for is curl's own work, and holds what came.
    let arguments = ["curl", "-sS", "-D", file.to_str().unwrap(), &url];
    let done = Done(home.program(&arguments).output().await.unwrap());
    assert!(!done.ok().contains(KEY) && fs::read_to_string(&file).unwrap().contains(KEY));
}

/// What the kernel lets a process do with core dumps, as it says in `/proc`.
fn core_limit(process: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split_whitespace().nth(4).unwrap().to_owned()
}

#[tokio::test]
async fn a74_a_process_that_is_killed_leaves_no_core() {
    for signal in ["ABRT", "QUIT"] {
        let home = Home::new();
        let mut server = Server::started(home.in_shell(&format!("ulimit -c unlimited; cd {}", home.0.path().display()))).await;
        let process = server.child.id().unwrap().to_string();
        assert_eq!(core_limit(&process), "0");
        // Its memory belongs to nobody but root, so no other program of this user reads it or attaches to it.
        assert_eq!(fs::metadata(format!("/proc/{process}/mem")).unwrap().uid(), 0);
        assert!(std::process::Command::new("kill").args(["-s", signal, &process]).status().unwrap().success());
        let ended = server.child.wait().await.unwrap();
        assert!(ended.signal().is_some() && !ended.core_dumped(), "{ended}");
        assert!(!fs::read_dir(home.0.path()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains("core")));
    }
}

#[tokio::test]
async fn a74_a_program_that_exec_starts_dumps_what_its_user_lets_it() {
    let home = Home::new();
    echoed(&home).await;
    let line = "ulimit -Sc 8; exec \"$0\" --data \"$1\" exec --env KEY -- sh -c 'grep core /proc/self/limits'";
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", line, PROGRAM, home.data().to_str().unwrap()]).env_clear().envs(environment(home.0.path()));
    let said = Done(shell.output().await.unwrap()).ok();
    assert_eq!(said.split_whitespace().nth(4), Some("4096"), "{said}");
}
