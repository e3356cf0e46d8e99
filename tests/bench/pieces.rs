//! What a verification is made of: `cargo bench`. The whole of it over HTTP is `tests/bench/run`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement fails by panicking")]

use countersign::{
    config::{load::Sources, settings::Config},
    domain::{
        environment::Environment,
        id::AccountId,
        key_stream::KeyStream,
        scope::ScopeSet,
        secret::{ApiKey, Password},
        server_secret::{Purpose, ServerSecret},
        source::Source,
    },
    platform::runtime::Runtime,
    service::{
        caller::{Actor, Caller, Requirements},
        keys::create::NewKey,
        services::Services,
    },
    store::{handle::Store, sled::engine::SledEngine},
};
use divan::{Bencher, black_box};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

fn main() {
    divan::main();
}

/// A service with one key and somebody who verifies it.
struct Bench {
    tokio: tokio::runtime::Runtime,
    service: Services,
    caller: Caller,
    key: String,
    _data: TempDir,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let data = TempDir::new().expect("a directory");
    let (service, caller, key) = tokio.block_on(async {
        let file = "[plans.free]\nrequests_per_minute = 1000000000\n".to_owned();
        let config = Config::load(&Sources { file: Some(("bench.toml".into(), file)), ..Sources::default() }).expect("a configuration");
        let store = Store::new(Arc::new(SledEngine::open(data.path(), None).expect("a store")));
        let service = Services::open(Arc::new(config), store, ServerSecret::new(&[7; 32]), Runtime::system()).await.expect("a service");
        service.verifier.learn_keys().await.expect("known keys");
        let password = Password::typed("correct horse battery".to_owned());
        let account = service.accounts.create_account("bench@example.com", password, true, true).await.expect("an account");
        let verifier = made(&service, account, &["keys:verify"]).await;
        let key = made(&service, account, &["audience:read", "email:send"]).await;
        let caller =
            service.verifier.authenticate(ApiKey::presented(&verifier).as_ref(), &Requirements::default()).await.expect("a caller");
        (service, caller, key)
    });
    Bench { tokio, service, caller, key, _data: data }
});

async fn made(service: &Services, account: AccountId, scopes: &[&str]) -> String {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    let new = NewKey { name: "Bench".to_owned(), scopes, expires_in: Some(86_400), ..NewKey::default() };
    service.keys.create_key(Actor::Operator, account, new, Source::Local).await.expect("a key").key.expose().to_owned()
}

fn need(cost: u32) -> Requirements {
    Requirements { scopes: ScopeSet::parse("audience:read").unwrap_or_default(), environment: Some(Environment::Live), cost }
}

fn verify(bencher: Bencher<'_, '_>, key: &str, cost: u32) {
    let Bench { tokio, service, caller, .. } = &*BENCH;
    bencher.bench_local(|| tokio.block_on(service.verifier.verify(caller, black_box(key), need(cost))).expect("a verdict"));
}

#[divan::bench]
fn a_good_key(bencher: Bencher<'_, '_>) {
    verify(bencher, &BENCH.key, 1);
}

#[divan::bench]
fn a_good_key_that_is_not_charged(bencher: Bencher<'_, '_>) {
    verify(bencher, &BENCH.key, 0);
}

/// Refused by its checksum.
#[divan::bench]
fn a_mistyped_key(bencher: Bencher<'_, '_>) {
    verify(bencher, &BENCH.key.replace("_live_", "_live_x"), 1);
}

/// Well-formed, and no key: answered by the filter.
#[divan::bench]
fn an_unknown_key(bencher: Bencher<'_, '_>) {
    let format = BENCH.service.context.config.key_format();
    let (unknown, _) = format.make(Environment::Live, &mut KeyStream::fresh([9; 32]));
    verify(bencher, unknown.expose(), 1);
}

#[divan::bench]
fn form_and_checksum(bencher: Bencher<'_, '_>) {
    let (format, key) = (BENCH.service.context.config.key_format(), ApiKey::presented(&BENCH.key).expect("a key"));
    bencher.bench_local(|| format.could_be(black_box(&key)));
}

#[divan::bench]
fn keyed_hash(bencher: Bencher<'_, '_>) {
    let secret = ServerSecret::new(&[7; 32]);
    bencher.bench_local(|| secret.hash(Purpose::ApiKey, black_box(BENCH.key.as_bytes())));
}

#[divan::bench]
fn scopes(bencher: Bencher<'_, '_>) {
    let held = ScopeSet::parse("audience:read email:send").unwrap_or_default();
    bencher.bench_local(|| ScopeSet::parse(black_box("audience:read")).map(|wanted| wanted.missing_from(&held)));
}

/// A key's allowance alone (GCRA).
#[divan::bench]
fn charge(bencher: Bencher<'_, '_>) {
    let Bench { tokio, service, key, .. } = &*BENCH;
    let caller =
        tokio.block_on(service.verifier.authenticate(ApiKey::presented(key).as_ref(), &Requirements::default())).expect("a caller");
    bencher.bench_local(|| service.verifier.charge(black_box(&caller), 1));
}
