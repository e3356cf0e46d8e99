//! Files of ours: what another put in their place is not followed, cut or waited for, and the secret survives rotations at
//! once and kills.

use crate::support::process::{Home, PROGRAM, Server, environment, mode};
use crate::support::*;
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
    time::Duration,
};

const PRECIOUS: &str = "not ours to cut";

#[tokio::test]
async fn what_lies_in_the_place_of_the_lock_is_neither_cut_nor_waited_for() {
    type Plant = fn(&std::path::Path, &std::path::Path);
    let plants: [(&str, Plant); 3] = [
        ("symbolic link", |precious, lock| symlink(precious, lock).unwrap()),
        ("hard link", |precious, lock| fs::hard_link(precious, lock).unwrap()),
        ("is no file", |_, lock| assert!(Command::new("mkfifo").arg(lock).status().unwrap().success())),
    ];
    for (named, plant) in plants {
        let home = Home::new();
        home.key("audience:read");
        let (precious, lock) = (home.0.path().join("precious"), home.data().join("owner.lock"));
        fs::write(&precious, PRECIOUS).unwrap();
        fs::remove_file(&lock).unwrap();
        plant(&precious, &lock);
        home.run(&["serve"], "").ended(1).says(named);
        home.run(&["keys", "list"], "").ended(1).says(named);
        assert_eq!(fs::read_to_string(&precious).unwrap(), PRECIOUS);
    }
}

#[tokio::test]
async fn no_other_file_of_the_data_directory_is_written_through_a_link() {
    let home = Home::new();
    home.key("audience:read");
    let precious = home.0.path().join("precious");
    fs::write(&precious, PRECIOUS).unwrap();
    let links = ["port", "journal.path.new", "setup-code", "store/probe", "secret.new-1"];
    for name in links {
        let link = home.data().join(name);
        let _ = fs::remove_file(&link);
        symlink(&precious, &link).unwrap();
    }
    home.data_with(&format!("[backup]\njournal = {:?}\n", home.0.path().join("journal").to_str().unwrap()));
    let server = home.serve().await;
    assert!(server.stopped().await.success());
    home.run(&["secrets", "rotate"], "").ok();
    assert_eq!(fs::read_to_string(&precious).unwrap(), PRECIOUS);
}

fn ids(home: &Home) -> Vec<String> {
    let bytes = fs::read(home.data().join("secret")).unwrap();
    assert!(bytes.len().is_multiple_of(32) && !bytes.is_empty() && mode(home.data().join("secret")) == 0o600, "{} bytes", bytes.len());
    bytes.as_chunks::<32>().0.iter().map(|secret| countersign::domain::server_secret::ServerSecret::new(secret).id()).collect()
}

fn reported(said: &str) -> String {
    said.split_whitespace().nth(3).unwrap().to_owned()
}

#[tokio::test]
async fn a105_of_secrets_rotated_at_once_each_that_was_reported_is_in_the_file() {
    for with_a_server in [false, true] {
        let home = Home::new();
        let (_, key) = home.key("audience:read");
        let server = if with_a_server { Some(home.serve().await) } else { None };
        let first = ids(&home);
        let rotations: Vec<_> = (0..5)
            .map(|_| {
                let mut command = Command::new(PROGRAM);
                command.arg("--data").arg(home.data()).args(["secrets", "rotate"]).env_clear().envs(environment(home.0.path()));
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let said: HashSet<String> = rotations
            .into_iter()
            .map(|rotation| {
                let done = rotation.wait_with_output().unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
                reported(&String::from_utf8(done.stdout).unwrap())
            })
            .collect();
        let there = ids(&home);
        assert_eq!((said.len(), there.len()), (5, 6));
        assert!(said.iter().all(|id| there.contains(id)) && there.ends_with(&first), "{said:?} {there:?}");
        if let Some(server) = server {
            assert!(server.stopped().await.success());
        }
        assert_eq!(home.verdict(&key), "VALID");
    }
}

#[tokio::test]
async fn a105_killed_at_any_moment_of_a_rotation_the_secret_is_whole() {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    let (draws, mut before) = (Seeded::new(5), ids(&home));
    let full = fs::read(home.data().join("secret")).unwrap();
    for _ in 0..40 {
        let mut rotation = home.program(&["secrets", "rotate"]).spawn().unwrap();
        // The pause is what is tested: a kill at any moment of a real program.
        tokio::time::sleep(Duration::from_micros(u64::from(draws.below(12_000)))).await;
        let _ = rotation.start_kill();
        let said = rotation.wait_with_output().await.unwrap();
        let after = ids(&home);
        assert!(after.ends_with(&before), "those before are all there");
        let said = String::from_utf8(said.stdout).unwrap();
        if said.contains("Added the secret") {
            assert!(after.contains(&reported(&said)), "{said}");
        }
        before = after;
        if before.len() == 8 {
            // As many as it takes; begin again.
            fs::write(home.data().join("secret"), &full).unwrap();
            before = ids(&home);
        }
    }
    home.run(&["secrets", "rotate"], "").ok();
    let left: Vec<_> = fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("secret.new")), "{left:?}");
    assert_eq!(home.verdict(&key), "VALID");
}

#[tokio::test]
async fn connections_to_the_socket_that_say_nothing_leave_files_for_everybody_else() {
    let home = Home::new();
    let (_, key) = home.key("audience:read");
    let server = Server::started(home.in_shell("ulimit -n 140")).await;
    let socket = home.data().join("owner.sock");
    let mut silent = Vec::new();
    for _ in 0..512 {
        // Those it has no place for it closes.
        if let Ok(stream) = std::os::unix::net::UnixStream::connect(&socket) {
            silent.push(stream);
        }
    }
    let open: Vec<_> = futures::future::join_all((0..40).map(|_| {
        let http = server.http();
        async move { tokio::time::timeout(Duration::from_secs(4), http.get("/readyz").send()).await.map(|answer| answer.status) }
    }))
    .await;
    assert!(open.iter().all(|status| status.as_ref().is_ok_and(|status| *status == 200)), "{open:?}");
    assert_eq!(home.verdict(&key), "VALID", "commands get in, too");
    drop(silent);
    assert!(server.stopped().await.success());
}
