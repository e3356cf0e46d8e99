//! What a client keeps on this computer: keys of several servers, claims of several processes, values in files.

use crate::{
    delivery::{with, working},
    support::process::*,
};
use axum::{Json, Router, routing};
use countersign::{
    api::values::{Revealed, Time},
    domain::{environment::Environment, id::KeyId, scope::ScopeSet},
    local_keys::{
        env_file::EnvFile,
        keys::{StoredKey, StoredKeys},
    },
    platform::runtime::Runtime,
};
use serde_json::{Value, json};
use std::{
    fs,
    future::{Ready, ready},
    os::unix::fs::{PermissionsExt, symlink},
    process::Stdio,
};

const HERE: &str = "http://127.0.0.1:4080";

/// A key as a client that got one keeps it: `cs_live_of_` and its profile.
fn stored(home: &Home, profile: &str, origin: &str) -> StoredKey {
    let runtime = Runtime::system();
    let credential = StoredKey {
        key_id: KeyId::new(runtime.now(), runtime.bytes()),
        key: Revealed::new(&format!("cs_live_of_{profile}")),
        prefix: "cs_live_of".to_owned(),
        origin: origin.to_owned(),
        api_origin: origin.to_owned(),
        profile: profile.to_owned(),
        scopes: ScopeSet::default(),
        environment: Environment::Live,
        expires_at: None,
        stored_at: Time(runtime.now()),
        elsewhere: false,
    };
    StoredKeys::new(&home.data()).store(&credential).unwrap();
    credential
}

fn kept(home: &Home, credential: &StoredKey) -> bool {
    let found = StoredKeys::new(&home.data()).list().unwrap();
    let same = |found: &StoredKey| (&found.origin, found.key_id) == (&credential.origin, credential.key_id);
    found.into_iter().find(same).is_some_and(|found| found.key.expose() == credential.key.expose())
}

fn said(answer: Value) -> impl Fn() -> Ready<Json<Value>> + Clone + Send + Sync + 'static {
    move || ready(Json(answer.clone()))
}

/// A server elsewhere that approves everything itself and says what it likes of the keys it gives and revokes.
async fn evil(given: &str, revoked: &str, key_prefix: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let page = format!("{url}/claim");
    let registered = json!({
        "registration_id": "reg_01m813czcmjz2ezs93esap9ztz", "registration_type": "service_auth", "claim_token": "clm_evil",
        "claim_token_expires": "2099-01-01T00:00:00Z", "claim_url": page, "post_claim_scopes": [], "ignored_scopes": [],
        "environment": "live", "next": "", "claim": {
            "user_code": "ABCD-EFGH", "verification_uri": page, "verification_uri_complete": page, "expires_in": 600, "interval": 5,
        },
    });
    let delivered = json!({
        "access_token": "sk_live_of_evil", "token_type": "Bearer", "scope": "audience:read", "key_id": given, "approved_by": "e",
        "environment": "live", "key_prefix": key_prefix, "next": "",
    });
    let revoked = json!({"id": revoked, "status": "revoked", "revoked_at": "2026-01-01T00:00:00Z", "descendants": 0});
    let server = Router::new()
        .route("/.well-known/oauth-protected-resource", routing::get(said(json!({"resource": url}))))
        .route("/agent/identity", routing::post(said(registered)))
        .route("/oauth2/token", routing::post(said(delivered)))
        .route("/v1/keys/{id}", routing::delete(said(revoked)));
    tokio::spawn(async { axum::serve(listener, server).await.unwrap() });
    url
}

async fn client_of(home: &Home, url: &str) -> Client {
    let work = home.0.path().join("work");
    fs::create_dir_all(&work).unwrap();
    Client::of(home.program(&["mcp", "--server", url]).current_dir(work).stderr(Stdio::null())).await
}

async fn claim(client: &mut Client, agent: &str) -> Value {
    let asked = client.tool("register_agent", json!({"agent_name": agent})).await;
    json!({"claim_id": asked["claim_id"], "wait_seconds": 0})
}

#[tokio::test]
async fn a82_a_server_elsewhere_neither_replaces_nor_removes_the_key_of_another() {
    let home = Home::new();
    let (one, two) = (stored(&home, "default", HERE), stored(&home, "default", "http://127.0.0.1:4081"));
    let url = evil(&one.key_id.to_string(), &two.key_id.to_string(), "cs_live_evil").await;
    let mut client = client_of(&home, &url).await;
    let asked = claim(&mut client, "Claude").await;
    let delivered = client.tool("poll_claim", asked).await;
    assert_eq!(delivered["key"]["id"], one.key_id.to_string(), "the same id: {delivered}");
    assert!(kept(&home, &one));
    let revoked = client.tool("revoke_key", json!({"key_id": delivered["key"]["id"]})).await;
    assert_eq!(revoked["error"], "unavailable", "an answer about another key is none: {revoked}");
    assert!(kept(&home, &one) && kept(&home, &two) && fs::exists(text(&delivered, "stored_at")).unwrap());
    // The truth about its own key takes its own file, and no other.
    let url = evil(&one.key_id.to_string(), &one.key_id.to_string(), "cs_live_evil").await;
    let mut client = client_of(&home, &url).await;
    let asked = claim(&mut client, "Claude").await;
    let delivered = client.tool("poll_claim", asked).await;
    assert_eq!(client.tool("revoke_key", json!({"key_id": one.key_id.to_string()})).await["status"], "revoked");
    assert!(kept(&home, &one) && !fs::exists(text(&delivered, "stored_at")).unwrap());
}

#[tokio::test]
async fn two_processes_of_one_client_keep_each_others_claims() {
    let home = Home::new();
    home.account();
    let server = home.serve().await;
    let (mut one, mut two) = (Client::start(&home).await, Client::start(&home).await);
    let mut browser = server.signed_in().await;
    let mut claims = Vec::new();
    for (client, agent) in [(&mut one, "First"), (&mut two, "Second")] {
        let asked = client.tool("register_agent", json!({"agent_name": agent})).await;
        browser.approve(&text(&asked, "user_code")).await;
        claims.push(json!({"claim_id": asked["claim_id"], "wait_seconds": 0}));
    }
    assert_eq!(one.tool("poll_claim", claims[0].clone()).await["status"], "delivered");
    assert_eq!(two.tool("poll_claim", claims[1].clone()).await["status"], "delivered");
    // And each knows what became of the other's.
    assert_eq!(one.tool("poll_claim", claims[1].clone()).await["status"], "delivered");
    assert_eq!(two.tool("poll_claim", claims[0].clone()).await["status"], "delivered");
}

#[tokio::test]
async fn many_claims_at_once_of_two_processes_are_all_kept() {
    let home = Home::new();
    home.account();
    let _server = home.serve().await;
    let (mut one, mut two) = (Client::start(&home).await, Client::start(&home).await);
    let mut asked = Vec::new();
    for n in 0..6 {
        let (first, second) = (format!("One {n}"), format!("Two {n}"));
        asked.extend(<[Value; 2]>::from(tokio::join!(claim(&mut one, &first), claim(&mut two, &second))));
    }
    let mut fresh = Client::start(&home).await;
    for claim in asked {
        assert_eq!(fresh.tool("poll_claim", claim).await["status"], "pending");
    }
}

#[test]
fn a70_a_folder_exchanged_for_a_link_while_a_human_decides_leads_no_key_away() {
    let home = tempfile::TempDir::new().unwrap();
    let at = |name: &str| home.path().join(name);
    for folder in ["work", "work/sub", "outside"] {
        fs::create_dir(at(folder)).unwrap();
    }
    let file = EnvFile::new(&at("work"), "sub/.env", "A_KEY").unwrap();
    file.check(|_| false).unwrap();
    fs::rename(at("work/sub"), at("work/sub.old")).unwrap();
    symlink(at("outside"), at("work/sub")).unwrap();
    let place = file.put(&Revealed::new("cs_live_x"), |_| false).unwrap();
    assert_eq!(fs::read_dir(at("outside")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(at("work/sub.old/.env")).unwrap(), "A_KEY=cs_live_x\n");
    assert!(place.ends_with("sub.old/.env"), "it says where it is: {place}");
}

#[tokio::test]
async fn a70_what_a_server_says_of_its_keys_makes_no_value_in_a_file_ours() {
    let home = Home::new();
    let mine = stored(&home, "default", HERE);
    let url = evil(&mine.key_id.to_string(), "", "sk_live_").await;
    let mut client = client_of(&home, &url).await;
    let first = claim(&mut client, "One").await;
    assert_eq!(client.tool("poll_claim", first).await["status"], "delivered");
    let file = home.0.path().join("work/.env");
    fs::write(&file, "STRIPE_KEY=sk_live_HumansOwnStripeSecret\n").unwrap();
    let second = claim(&mut client, "Two").await;
    let into = json!({"delivery": "env_file", "env_path": ".env", "env_name": "STRIPE_KEY"});
    assert_eq!(client.tool("poll_claim", with(&second, into)).await["error"], "conflict");
    assert_eq!(fs::read_to_string(&file).unwrap(), "STRIPE_KEY=sk_live_HumansOwnStripeSecret\n");
}

#[tokio::test]
async fn a70_a_key_of_the_right_form_that_another_put_into_a_file_stays() {
    let home = Home::new();
    home.account();
    let made = home.run(&["keys", "create", "--account", ME, "--name", "x", "--scope", "audience:read"], "").ok();
    let (mut client, folder) = working(&home, &[]).await;
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    let before = format!("COUNTERSIGN_API_KEY={}\n", made.trim());
    fs::write(folder.join(".env"), &before).unwrap();
    let into = json!({"claim_id": asked["claim_id"], "wait_seconds": 0, "delivery": "env_file", "env_path": ".env"});
    let refused = client.tool("poll_claim", into.clone()).await;
    assert!(refused["error"] == "conflict" && text(&refused, "error_description").contains("another variable"), "{refused}");
    assert_eq!(fs::read_to_string(folder.join(".env")).unwrap(), before);
    assert_eq!(client.tool("poll_claim", with(&into, json!({"env_name": "OTHER_KEY"}))).await["status"], "delivered");
}

#[tokio::test]
async fn a_repository_git_does_not_look_into_is_warned_about() {
    let home = Home::new();
    home.account();
    let (mut client, folder) = working(&home, &[]).await;
    // As git answers for another user's repository: it refuses.
    fs::write(folder.join(".git"), "gitdir: /nowhere\n").unwrap();
    let asked = client.tool("register_agent", json!({"agent_name": "Claude"})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    let into = json!({"claim_id": asked["claim_id"], "wait_seconds": 0, "delivery": "env_file", "env_path": ".env"});
    let delivered = client.tool("poll_claim", into).await;
    assert!(text(&delivered, "next").contains(".gitignore"), "{delivered}");
}

#[tokio::test]
async fn one_key_file_that_cannot_be_read_takes_no_other_key_away() {
    let home = Home::new();
    home.account();
    let mut client = Client::start(&home).await;
    let claim = approved(&mut client, json!(["audience:read"])).await;
    let delivered = client.tool("poll_claim", claim).await;
    stored(&home, "other", HERE);
    let good = text(&delivered, "stored_at");
    for file in fs::read_dir(home.data().join("credentials")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.to_str() != Some(&good) {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
    fs::write(home.data().join("credentials/note.json"), "{").unwrap();
    assert_eq!(client.tool("check_scope", json!({"scopes": ["audience:read"]})).await["allowed"], true);
    home.run(&["exec", "--env", "KEY", "--", "true"], "").ended(0).says("passed over").says("chmod 600");
    home.run(&["curl", "-sSf", "/v1/projects"], "").ok();
    assert!(home.run(&["doctor"], "").out().contains("chmod 600"));
}

#[test]
fn with_keys_of_several_clients_exec_and_curl_ask_whose() {
    let home = Home::new();
    let (claude, _) = (stored(&home, "claude", HERE), stored(&home, "cursor", HERE));
    let exec = |options: &[&str], key: &str| {
        let test = format!("[ \"$K\" = {key} ]");
        home.run(&[&["exec", "--env", "K"], options, &["--", "sh", "-c", &test]].concat(), "")
    };
    exec(&[], "").ended(2).says("--profile claude").says("--profile cursor").says(&claude.key_id.to_string());
    home.run(&["curl", "/v1/projects"], "").ended(2).says("--profile claude");
    exec(&["--profile", "claude"], "cs_live_of_claude").ok();
    exec(&["--profile", "cursor"], "cs_live_of_cursor").ok();
    exec(&["--key", &claude.key_id.to_string()], "cs_live_of_claude").ok();
}

#[tokio::test]
async fn a_client_stays_who_it_first_said_it_is() {
    let home = Home::new();
    home.account();
    let mut cursor = Client::start(&home).await;
    let asked = cursor.tool("register_agent", json!({"agent_name": "Cursor"})).await;
    page_of(&asked).await.approve(&text(&asked, "user_code")).await;
    let delivered = cursor.tool("poll_claim", json!({"claim_id": asked["claim_id"], "wait_seconds": 0})).await;
    assert_eq!(delivered["status"], "delivered", "{delivered}");
    // As of 2026-07-28: no `initialize`, and a name with each request. `a test` is whose key it is.
    for names in [["a test", "mallory"], ["mallory", "a test"]] {
        let mut client = Client::bare(home.program(&["mcp"]).stderr(Stdio::null()));
        for _ in 0..2 {
            for name in names {
                let meta = json!({
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientInfo": {"name": name, "version": "1"},
                    "io.modelcontextprotocol/clientCapabilities": {},
                });
                let reply = client.request("tools/call", json!({"name": "check_scope", "arguments": {}, "_meta": meta})).await;
                let let_in = reply["result"]["structuredContent"]["key"]["id"].is_string();
                assert_eq!(let_in, names[0] == "a test", "{names:?}, as {name}: {reply}");
            }
        }
    }
}

#[tokio::test]
async fn a_placeholder_in_the_variable_is_no_key() {
    let home = Home::new();
    let run =
        |value: &'static str| home.program(&["keys", "list", "--server", "http://127.0.0.1:9"]).env("COUNTERSIGN_API_KEY", value).output();
    for value in
        ["", " ", "$COUNTERSIGN_API_KEY", "${COUNTERSIGN_API_KEY}", "%COUNTERSIGN_API_KEY%", "undefined", "null", "<your key>", "="]
    {
        Done(run(value).await.unwrap()).ended(4).says("set COUNTERSIGN_API_KEY");
    }
    for value in ["cs_live_x", " cs_live_x\n", "ab.c-d_e~f+g/h=="] {
        Done(run(value).await.unwrap()).ended(1).says("can't be reached");
    }
}
