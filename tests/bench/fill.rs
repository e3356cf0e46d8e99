//! Fills a data directory for the benches, much faster than anybody could ask for it: the rows are the product's own,
//! written in large transactions. Run: `fill keys DATA COUNT FILE`; FILE gets each key in a line of its own,
//! FILE.operator the key of a service that verifies them,
//! FILE.unlimited keys of its own.
//! `fill registrations DATA COUNT FILE`: registrations that wait, and their claim tokens.

use countersign::{
    domain::{
        account::Account,
        environment::Environment,
        id::{AccountId, AttemptId, KeyId, RegistrationId},
        key::{Key, Origin},
        key_format::{Body, KeyFormat},
        key_stream::KeyStream,
        registration::{
            request::{Attempt, RegistrationRequest},
            transitions::Registration,
        },
        scope::ScopeSet,
        secret::{ApiKey, ClaimToken},
        server_secret::{Purpose, ServerSecret},
        source::Source,
    },
    instance::secret_file,
    platform::runtime::Runtime,
    store::{error::StoreError, handle::Store, row::Row, sled::engine::SledEngine, table::Table},
};
use jiff::{SignedDuration, Timestamp};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

type Failure = Box<dyn std::error::Error>;

const PER_ACCOUNT: u64 = 10;
const UNLIMITED: u64 = 10_000;
/// Rows of one transaction.
const PER_WRITE: usize = 10_000;

/// Bytes that are the same in every run.
fn drawn<const N: usize>(what: &str, number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    blake3::Hasher::new().update(what.as_bytes()).update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn account(number: u64, operator: bool, now: Timestamp) -> Result<Account, Failure> {
    Ok(Account {
        id: AccountId::new(now, drawn("account", number)),
        email: format!("owner{number}@bench.example").parse()?,
        email_verified: true,
        password: None,
        operator,
        plan: "bench".to_owned(),
        external_id: Some(format!("user-{number}").parse()?),
        created_at: now,
        disabled_at: None,
    })
}

fn key(number: u64, account: AccountId, scopes: &ScopeSet, secret: &ServerSecret, now: Timestamp) -> Result<(ApiKey, Key), Failure> {
    let format = KeyFormat { prefix: "cs".to_owned(), body: Body::Checksummed, environments: true };
    let (plain, shown) = format.make(Environment::Live, &mut KeyStream::fresh(drawn("key", number)));
    let row = Key {
        id: KeyId::new(now, drawn("id", number)),
        account,
        name: format!("Bench {number}").parse()?,
        hash: secret.hash(Purpose::ApiKey, plain.expose().as_bytes()),
        secret: secret.id(),
        shown,
        environment: Environment::Live,
        scopes: scopes.clone(),
        created_at: now,
        expires_at: Some(now + SignedDuration::from_hours(24 * 90)),
        revoked: None,
        disabled_at: None,
        disabled_reason: None,
        disabled_with: None,
        parent: None,
        root: None,
        origin: Origin::Human,
        requests_per_minute: None,
        replaces: None,
        replaced_by: None,
        redeliverable: None,
    };
    Ok((plain, row))
}

#[expect(clippy::disallowed_methods, reason = "keys of this run end some time after it")]
async fn fill_keys(data: &Path, count: u64, file: &str) -> Result<(), Failure> {
    let secret = secret_file::read_or_make(&data.join("secret"), false, &Runtime::system())?;
    let store = Store::new(Arc::new(SledEngine::open(data, None)?));
    let (now, scopes) = (Timestamp::now(), ScopeSet::parse("audience:read email:send")?);

    let operator = account(u64::MAX, true, now)?;
    let (verifier, row) = key(u64::MAX, operator.id, &ScopeSet::parse("keys:verify")?, &secret, now)?;
    std::fs::write(format!("{file}.operator"), verifier.expose())?;
    let (mut rows, mut hashes) = (Rows::new(), Rows::new());
    add(&operator, &mut rows, &mut hashes)?;
    add(&row, &mut rows, &mut hashes)?;
    // The operator's own keys that verify are under no limit.
    let (mut unlimited, wide) = (lines(&format!("{file}.unlimited"))?, ScopeSet::parse("audience:read email:send keys:verify")?);
    for number in 0..UNLIMITED {
        let (plain, row) = key(u64::MAX / 2 + number, operator.id, &wide, &secret, now)?;
        writeln!(unlimited, "{}", plain.expose())?;
        add(&row, &mut rows, &mut hashes)?;
    }
    let (mut plain, mut owner) = (lines(file)?, operator);
    for number in 0..count {
        // Made one after the other, as keys are.
        let made = now - SignedDuration::from_millis(i64::try_from(count - number)?);
        if number % PER_ACCOUNT == 0 {
            owner = account(number / PER_ACCOUNT, false, made)?;
            add(&owner, &mut rows, &mut hashes)?;
        }
        let (secret, row) = key(number, owner.id, &scopes, &secret, made)?;
        writeln!(plain, "{}", secret.expose())?;
        add(&row, &mut rows, &mut hashes)?;
        if rows.len() > PER_WRITE {
            save(&store, std::mem::take(&mut rows)).await?;
            eprint!("\r{number} of {count} keys");
        }
    }
    save(&store, rows).await?;
    // In order: scattered over the whole tree they would take ten times as long.
    hashes.sort();
    for some in hashes.chunks(PER_WRITE) {
        save(&store, some.to_vec()).await?;
    }
    eprintln!("\r{count} of {count} keys");
    store.close().await;
    plain.flush()?;
    Ok(unlimited.flush()?)
}

#[expect(clippy::disallowed_methods, reason = "they wait for some time after this run")]
async fn fill_claims(data: &Path, count: u64, file: &str) -> Result<(), Failure> {
    let secret = secret_file::read_or_make(&data.join("secret"), false, &Runtime::system())?;
    let store = Store::new(Arc::new(SledEngine::open(data, None)?));
    let (now, mut plain) = (Timestamp::now(), lines(file)?);
    let (mut rows, mut hashes) = (Rows::new(), Rows::new());
    for number in 0..count {
        let made = now - SignedDuration::from_millis(i64::try_from(count - number)?);
        let token = ClaimToken::new(drawn("claim", number));
        writeln!(plain, "{}", token.expose())?;
        let expires_at = now + SignedDuration::from_hours(24 * 30);
        let request = RegistrationRequest {
            id: RegistrationId::new(made, drawn("registration", number)),
            created_at: made,
            expires_at,
            agent_name: format!("Agent {number}").parse()?,
            scopes: ScopeSet::parse("audience:read")?,
            ignored: Vec::new(),
            login_hint: None,
            environment: Environment::Live,
            source: Source::Local,
            before: 0,
            claim_token: secret.hash(Purpose::ClaimToken, token.expose().as_bytes()),
            challenge: None,
            handle: None,
        };
        let attempt = Attempt {
            id: AttemptId::new(made, drawn("attempt", number)),
            code: secret.hash(Purpose::UserCode, &number.to_be_bytes()),
            started_at: made,
            expires_at,
            number: 1,
            bound_to: None,
            typed: false,
        };
        // Polled too soon as often as it counts: however often it is polled, nothing changes any more.
        add(&Registration::open(request, attempt, 60), &mut rows, &mut hashes)?;
        if rows.len() > PER_WRITE {
            save(&store, std::mem::take(&mut rows)).await?;
            eprint!("\r{number} of {count} registrations");
        }
    }
    save(&store, rows).await?;
    hashes.sort();
    for some in hashes.chunks(PER_WRITE) {
        save(&store, some.to_vec()).await?;
    }
    eprintln!("\r{count} of {count} registrations");
    store.close().await;
    Ok(plain.flush()?)
}

/// A row and its index entries; those by hash apart.
type Rows = Vec<(u8, Vec<u8>, Vec<u8>)>;

fn add<R: Row>(row: &R, rows: &mut Rows, hashes: &mut Rows) -> Result<(), StoreError> {
    for (table, entry) in row.index() {
        let to = if matches!(table, Table::KeyHashes | Table::ClaimTokens | Table::UserCodes) { &mut *hashes } else { &mut *rows };
        to.push((table as u8, entry, row.key()));
    }
    rows.push((R::TABLE as u8, row.key(), row.value()?));
    Ok(())
}

async fn save(store: &Store, all: Rows) -> Result<(), StoreError> {
    let write = move |rows: &mut dyn countersign::store::access::Write| {
        for (table, key, value) in &all {
            rows.put(Table::of(&[*table])?, key, value.clone());
        }
        Ok(())
    };
    store.write(write).await
}

fn lines(file: &str) -> std::io::Result<BufWriter<File>> {
    Ok(BufWriter::new(File::create(file)?))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "keys", data, count, file] => fill_keys(Path::new(data), count.parse()?, file).await,
        [_, "registrations", data, count, file] => fill_claims(Path::new(data), count.parse()?, file).await,
        _ => Err("usage: fill keys|registrations DATA COUNT FILE".into()),
    }
}
