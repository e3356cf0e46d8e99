//! What many callers do at once costs others nothing, and fills neither memory nor disk.

use crate::support::process::{Home, Server, asking};
use crate::support::*;
use countersign::store::table::Table;
use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

#[tokio::test]
async fn a03_a_flood_of_requests_from_everywhere_stores_no_more_than_the_bound_and_a_real_human_gets_through() {
    let app = build().set("limits.pending_registrations", "40").start().await;
    let mut browser = app.signed_in("alice@example.com").await;
    let mine = app.register().await;
    let mut flood =
        (0..400_u32).map(|n| app.service.claims.register(asks(&["audience:read"]), from(&format!("10.0.{}.{}", n / 250, n % 250))));
    for asked in flood.by_ref().take(30) {
        asked.await.unwrap();
    }
    browser.approve(mine.claim.user_code.expose()).await;
    let key = app.poll(&mine).await.unwrap();
    for asked in flood.by_ref() {
        asked.await.unwrap();
    }
    app.service.housekeeping.purge().await.unwrap();
    let rows = |counts: &RowCounts, table: Table| counts[table];
    let counts = app.row_counts().await;
    assert_eq!((rows(&counts, Table::Pending), rows(&counts, Table::Registrations)), (40, 80));
    assert_eq!(rows(&counts, Table::ClaimTokens), 80, "their indexes went with them");
    let late = app.register().await;
    browser.approve(late.claim.user_code.expose()).await;
    app.poll(&late).await.unwrap();
    assert_eq!(app.http().projects(key.access_token.expose()).await.status, 200);
    drop(browser);
    let app = app.restart().await;
    app.register().await;
    app.service.housekeeping.purge().await.unwrap();
    assert_eq!(rows(&app.row_counts().await, Table::Registrations), 80, "a restart forgets no ceiling");
}

impl Home {
    /// A server over a file system of its own of so many MiB, and that directory as we see it.
    async fn on_a_small_disk(&self, mib: u32) -> (Server, PathBuf) {
        let disk = self.data().parent().unwrap().join("disk");
        fs::create_dir(&disk).unwrap();
        let mount = format!("mount -t tmpfs -o size={mib}m none {disk} && exec \"$0\" \"$@\"", disk = disk.display());
        let mut program = self.below(&["unshare", "--map-root-user", "--mount", "sh", "-c", &mount]);
        program.env("COUNTERSIGN_STORE__URL", format!("sled:{}/data", disk.display()));
        let server = Server::started(program).await;
        let seen = PathBuf::from(format!("/proc/{}/root{}", server.child.id().unwrap(), disk.display()));
        (server, seen)
    }
}

/// Takes all room there is.
fn fill(disk: &Path) {
    let mut file = fs::File::create(disk.join("fill")).unwrap();
    let full = std::iter::repeat_with(|| file.write_all(&[1; 4096])).find_map(Result::err).unwrap();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
}

#[tokio::test]
async fn a58_on_a_full_disk_verification_goes_on_and_changes_come_back_with_the_room() {
    let home = Home::new();
    home.data_with("[plans.free]\nrequests_per_minute = 1000000\n");
    let (server, disk) = home.on_a_small_disk(32).await;
    home.key("audience:read");
    let (_, boss) = home.key("keys:write,keys:revoke,audience:read");
    let (id, key) = home.key("audience:read");
    let more: Vec<_> = (0..20).map(|_| home.key("audience:read")).collect();
    let mut browser = server.signed_in().await;
    browser.open("/settings/keys").await;
    let works = async |key: &str| server.http().get("/v1/whoami").bearer(key).send().await.status;
    let register = async || server.http().register(asking(false)).await.status;
    assert_eq!((works(&boss).await, works(&key).await, register().await), (200, 200, 200));
    fill(&disk);
    // What sled had room for in its last segment is used up first.
    let mut asked = 0;
    while register().await == 200 {
        asked += 1;
        assert!(asked < 100_000, "the disk is full");
    }
    for _ in 0..200 {
        assert_eq!((works(&boss).await, works(&key).await), (200, 200));
    }
    assert_eq!((register().await, works(&key).await), (503, 200));
    // What takes rights away has room that is kept for it, again and again; what follows from it is shown at once.
    let revoke = async |id: &str| server.http().call("DELETE", &format!("/v1/keys/{id}")).bearer(&boss).send().await.status;
    for (id, key) in std::iter::once(&(id, key)).chain(&more) {
        // If the disk was filled in the middle of a change, the store is opened again first, with what is kept.
        eventually("a revocation is taken", async || (revoke(id).await != 503).then_some(())).await;
        assert_eq!((works(key).await, register().await), (401, 503));
    }
    let signed_out = browser.submit("/logout", &[]).await;
    assert_eq!((signed_out.status, browser.visit("/settings/keys").await.status), (303, 303));
    assert_eq!(works(&boss).await, 200);
    fs::remove_file(disk.join("fill")).unwrap();
    eventually("changes are taken again", async || (register().await != 503).then_some(())).await;
    assert!(disk.join("data/store/reserve").metadata().unwrap().len() >= 8 << 20, "it is kept again");
    assert_eq!(server.stopped().await.code(), Some(0), "what was counted could be written");
}
