//! The form of the stored data, and the way from an older one to this one.

use crate::{
    service::errors::OpenError,
    store::{access::Write, error::StoreError, handle::Store},
};

/// One batch of the step from a form to the next, going on after `after`. Returns where the next batch goes on;
/// `None`: the step is done. Each batch is a transaction with its place in it, so a kill loses no work twice.
pub type Migration = fn(tx: &mut dyn Write, after: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError>;

/// From 1 to 2, from 2 to 3, and so on.
pub const MIGRATIONS: &[Migration] = &[secrets_become_a_list];

/// An older program refuses newer data.
pub const SCHEMA: u32 = 1 + MIGRATIONS.len() as u32;

const DONE: Option<Vec<u8>> = None;

/// Brings the data to the newest form, or refuses data that is newer than this program.
pub async fn migrate(store: &Store, migrations: &'static [Migration]) -> Result<(), OpenError> {
    let newest = u32::try_from(migrations.len()).unwrap_or(u32::MAX).saturating_add(1);
    loop {
        let step = move |tx: &mut dyn Write| {
            let Some(schema) = tx.setting::<u32>("schema")? else {
                tx.save_setting("schema", &newest)?;
                return Ok(None);
            };
            if schema > newest {
                return Err(OpenError::NewerSchema { data: schema, known: newest });
            }
            let Some(migration) = schema.checked_sub(1).and_then(|index| migrations.get(index as usize)) else { return Ok(None) };
            let after = tx.setting::<Option<Vec<u8>>>("migrating")?.flatten();
            let next = migration(tx, after)?;
            if next.is_none() {
                tx.save_setting("schema", &(schema + 1))?;
            }
            tx.save_setting("migrating", &next)?;
            Ok(Some((schema + 1, next.is_none())))
        };
        match store.write(step).await? {
            None => return Ok(()),
            Some((schema, done)) => tracing::info!(schema, done, "the data moves to a newer form"),
        }
    }
}

/// 2: keys may have been made with any of several server secrets.
fn secrets_become_a_list(tx: &mut dyn Write, _: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
    let secret: Option<String> = tx.setting("secret")?;
    tx.save_setting("secrets", &Vec::from_iter(secret))?;
    tx.erase_setting("secret");
    Ok(DONE)
}
