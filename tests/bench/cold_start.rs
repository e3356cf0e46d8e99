//! How long a client waits for `initialize`: `countersign mcp` on an empty directory, beside a bare server of the same SDK.
//! `cargo bench --bench cold_start` prints the medians and their ratio.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement reads the real clock and fails by panicking"
)]

use rmcp::{ServerHandler, ServiceExt, transport::stdio};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 40;
const HELLO: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;

/// A server that can do nothing.
struct Bare;

impl ServerHandler for Bare {}

fn answered(command: &mut Command) -> Duration {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("stdin");
    writeln!(stdin, "{HELLO}").expect("it listens");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("it answers");
    let took = began.elapsed();
    assert!(line.contains("\"result\""), "{line}");
    drop(stdin);
    child.wait().expect("it ends");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("bare") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let running = Bare.serve(stdio()).await.expect("a client");
            let _ = running.waiting().await;
        });
        return;
    }
    let own = std::env::current_exe().expect("a path");
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(answered(Command::new(&own).arg("bare")));
        let home = tempfile::TempDir::new().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        ours.push(answered(command.arg("mcp").arg("--data").arg(home.path().join("data")).env("COUNTERSIGN_LISTEN", "127.0.0.1:0")));
    }
    let (bare, ours) = (median(bare), median(ours));
    println!("initialize: bare {bare:?}, countersign on an empty directory {ours:?}, ratio {:.2}", ours.as_secs_f64() / bare.as_secs_f64());
}
