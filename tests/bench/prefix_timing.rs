//! Whether the time a refusal takes tells that a key begins like a stored one (A48). Two kinds of unknown keys, both
//! well-formed, in random order: one shares what lists show of a stored key, the other shares nothing. Welch's t of the
//! two, over all samples and without the slowest twentieth, which is the machine's; |t| above 4.5 is a difference.
//!
//! cargo bench --bench prefix_timing [-- SAMPLES]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program that measures: it ends by panicking, and reads the clock")]

use countersign::{
    config::{load::Sources, settings::Config},
    domain::{
        environment::Environment,
        key_format::checksum,
        key_stream::KeyStream,
        secret::{ApiKey, Password},
        server_secret::ServerSecret,
        source::Source,
    },
    platform::runtime::Runtime,
    service::{
        caller::{Actor, Requirements},
        keys::create::NewKey,
        services::Services,
    },
    store::{handle::Store, sled::engine::SledEngine},
};
use std::{hint::black_box, process::ExitCode, sync::Arc, time::Instant};

const STORED: usize = 1000;
/// Of a key, what a list shows: so many letters behind the prefix.
const SHOWN: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let samples = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1_000_000_usize);
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::new(Arc::new(SledEngine::open(dir.path(), None).unwrap()));
    let config = Arc::new(Config::load(&Sources::default()).unwrap());
    let service = Services::open(config, store, ServerSecret::new(&[7; 32]), Runtime::system()).await.unwrap();
    let heads = stored_keys(&service).await;
    service.verifier.learn_keys().await.unwrap();
    let mut draws = KeyStream::fresh([1; 32]);
    let mut times = [Vec::with_capacity(samples / 2), Vec::with_capacity(samples / 2)];
    for n in 0..samples {
        let alike = draws.byte() & 1;
        let mut random = draws.letters(30);
        if alike == 1 {
            random.replace_range(..SHOWN, &heads[n % STORED]);
        }
        let key = ApiKey::presented(&format!("cs_live_{random}{}", String::from_utf8_lossy(&checksum(&random)))).unwrap();
        let before = Instant::now();
        let refused = black_box(service.verifier.authenticate(Some(black_box(&key)), &Requirements::default()).await).is_err();
        let took = before.elapsed();
        assert!(refused, "nobody has this key");
        times[usize::from(alike)].push(took.as_nanos() as f64);
    }
    println!("{:>14} {:>10} {:>12} {:>12}", "", "samples", "mean ns", "median ns");
    for (name, times) in ["begins new", "begins alike"].iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{name:>14} {:>10} {:>12.1} {:>12.0}", times.len(), moments(times).0, times[times.len() / 2]);
    }
    let cut = times[0][times[0].len() * 19 / 20];
    let usual = times.each_ref().map(|times| &times[..times.partition_point(|time| *time < cut)]);
    let t = [welch(&times[0], &times[1]), welch(usual[0], usual[1])];
    println!("Welch's t: {:.2} over all, {:.2} without the slowest twentieth", t[0], t[1]);
    if t.iter().all(|t| t.abs() < 4.5) {
        println!("no difference");
        ExitCode::SUCCESS
    } else {
        println!("the two differ");
        ExitCode::FAILURE
    }
}

/// The shown letters of keys that are stored.
async fn stored_keys(service: &Services) -> Vec<String> {
    let account = service
        .accounts
        .create_account("owner@example.com", Password::typed("correct horse battery staple".to_owned()), false, true)
        .await
        .unwrap();
    let mut heads = Vec::new();
    for _ in 0..STORED {
        let new = NewKey {
            name: "k".to_owned(),
            scopes: vec!["audience:read".to_owned()],
            environment: Some(Environment::Live),
            ..NewKey::default()
        };
        let made = service.keys.create_key(Actor::Operator, account, new, Source::Local).await.unwrap();
        heads.push(made.key.expose()["cs_live_".len()..][..SHOWN].to_owned());
    }
    heads
}

/// Mean and variance.
fn moments(times: &[f64]) -> (f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    (mean, times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0))
}

fn welch(one: &[f64], two: &[f64]) -> f64 {
    let ((a, va), (b, vb)) = (moments(one), moments(two));
    (a - b) / (va / one.len() as f64 + vb / two.len() as f64).sqrt()
}
