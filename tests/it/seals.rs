//! Backups and journals lie where others may write: what was changed there, cut off, exchanged or hashed again is refused by
//! name, and an earlier version's is restored if whoever does it says that it may be believed.

use crate::support::process::Home;
use countersign::store::{
    backup::{BackupError, Manifest, read},
    tables::settings::JOURNAL,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A journal as earlier versions wrote it.
pub(super) fn unsealed_journal(entries: &[Vec<u8>]) -> String {
    let (mut last, mut text) = (String::new(), String::new());
    for entry in entries {
        let hash = blake3::hash(&[last.as_bytes(), entry].concat()).to_hex()[..32].to_owned();
        text += &format!("{hash} {}\n", String::from_utf8_lossy(entry));
        last = hash;
    }
    text
}

fn entries(journal: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(journal).unwrap();
    entries_of(&text.lines().map(str::to_owned).collect::<Vec<_>>())
}

/// The manifest hashed again after a change, as somebody does who lacks the secret.
fn rehashed(backup: &Path, change: impl Fn(&mut Manifest, &mut Value)) {
    let path = backup.join("manifest.json");
    let mut sealed: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut manifest: Manifest = serde_json::from_value(sealed["manifest"].clone()).unwrap();
    manifest.blake3 = blake3::hash(&fs::read(backup.join("rows")).unwrap()).to_hex().to_string();
    change(&mut manifest, &mut sealed);
    sealed["blake3"] = blake3::hash(&serde_json::to_vec(&manifest).unwrap()).to_hex().as_str().into();
    sealed["manifest"] = serde_json::to_value(&manifest).unwrap();
    fs::write(path, serde_json::to_vec(&sealed).unwrap()).unwrap();
}

/// As an earlier version would have made it.
fn unsealed(backup: &Path) {
    rehashed(backup, |manifest, sealed| {
        (manifest.format, manifest.sealed_by, manifest.journal) = (1, None, None);
        sealed.as_object_mut().unwrap().remove("seal");
    });
}

fn makes_an_operator(backup: &Path) {
    let path = backup.join("rows");
    let (rows, from, to) = (fs::read(&path).unwrap(), b"\"operator\":false", b"\"operator\":true ");
    let at = rows.windows(from.len()).position(|window| window == from).unwrap();
    fs::write(path, [&rows[..at], to, &rows[at + from.len()..]].concat()).unwrap();
}

/// A home with a journal, a backup, and a revocation, a narrowing and a further revocation after it.
struct Taken {
    home: Home,
    keys: Vec<(String, String)>,
}

impl Taken {
    fn away() -> Self {
        let home = Home::new().keeping_a_journal();
        let keys: Vec<_> = (0..3).map(|_| home.key("audience:read")).collect();
        home.run(&["keys", "revoke", &keys[0].0, "--yes"], "").ok();
        home.backup("b");
        home.run(&["keys", "revoke", &keys[1].0, "--yes"], "").ok();
        home.run(&["keys", "revoke", &keys[2].0, "--yes"], "").ok();
        Self { home, keys }
    }

    fn journal(&self) -> PathBuf {
        self.home.beside("journal")
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.journal()).unwrap().lines().map(|line| format!("{line}\n")).collect()
    }

    /// Whatever is accepted otherwise: refused, with these words.
    #[track_caller]
    fn refused(&self, why: &str) {
        for accepted in [&[][..], &["--accept-unsealed"]] {
            let (backup, journal) = (self.home.path("b"), self.home.path("journal"));
            let arguments = [&["restore", &backup, "--journal", &journal], accepted].concat();
            self.home.bare().run(&arguments, "").ended(1).says(why);
        }
    }
}

#[tokio::test]
async fn a95_rows_exchanged_after_they_were_verified_are_found_at_the_end() {
    let taken = Taken::away();
    let backup = taken.home.beside("b");
    let sealed: Value = serde_json::from_slice(&fs::read(backup.join("manifest.json")).unwrap()).unwrap();
    let manifest: Manifest = serde_json::from_value(sealed["manifest"].clone()).unwrap();
    let all = |backup: &Path| {
        let mut pages = read(backup, &manifest)?;
        while !pages()?.is_empty() {}
        Ok::<_, BackupError>(())
    };
    all(&backup).unwrap();
    makes_an_operator(&backup);
    assert!(all(&backup).unwrap_err().to_string().contains("checksum"));
}

#[tokio::test]
async fn a95_rows_that_are_no_file_are_refused() {
    let taken = Taken::away();
    let rows = taken.home.beside("b").join("rows");
    fs::remove_file(&rows).unwrap();
    assert!(Command::new("mkfifo").arg(&rows).status().unwrap().success());
    taken.refused("is no file");
}

#[tokio::test]
async fn a95_a_row_that_was_changed_and_hashed_again_is_refused() {
    let taken = Taken::away();
    let backup = taken.home.beside("b");
    makes_an_operator(&backup);
    taken.refused("checksum");
    rehashed(&backup, |_, _| {});
    taken.refused("its seal is wrong");
    let bare = taken.home.bare();
    bare.run(&["restore", &taken.home.path("b"), "--accept-resurrection"], "").ended(1).says("its seal is wrong");
    // And so is what only says less of itself.
    rehashed(&backup, |manifest, _| manifest.journal = None);
    taken.refused("its seal is wrong");
    rehashed(&backup, |manifest, sealed| {
        manifest.sealed_by = None;
        sealed["seal"] = Value::Null;
    });
    taken.refused("is damaged");
    rehashed(&backup, |manifest, sealed| {
        manifest.sealed_by = Some("0123456789abcdef".to_owned());
        sealed["seal"] = json!("00");
    });
    taken.refused("not the one the backup was made with");
}

#[tokio::test]
async fn a95_without_its_seal_a_backup_is_believed_only_if_somebody_says_so() {
    let taken = Taken::away();
    let backup = taken.home.beside("b");
    makes_an_operator(&backup);
    unsealed(&backup);
    let restore = |accepted: &[&str]| {
        let (bare, backup, journal) = (taken.home.bare(), taken.home.path("b"), taken.home.path("journal"));
        bare.run(&[&["restore", &backup, "--journal", &journal], accepted].concat(), "")
    };
    restore(&[]).ended(1).says("has no seal").says("--accept-unsealed");
    restore(&["--accept-resurrection"]).ended(1).says("has no seal");
    restore(&["--accept-unsealed"]).ended(0);
}

#[tokio::test]
async fn a95_a_journal_that_was_changed_and_hashed_again_is_refused() {
    let taken = Taken::away();
    let (whole, lines) = (taken.lines().concat(), taken.lines());
    assert_eq!(lines.len(), 4);
    let put = |lines: &[String]| fs::write(taken.journal(), lines.concat()).unwrap();
    // One line less, with what follows as it was.
    put(&[&lines[..2], &lines[3..]].concat());
    taken.refused("line 3 is damaged");
    // Another key in its place.
    put(&[&lines[..2], &[lines[2].replace(&taken.keys[1].0, &taken.keys[0].0)], &lines[3..]].concat());
    taken.refused("line 3 is damaged");
    // Hashed again as earlier versions did: behind sealed lines, and from the start.
    let mut entries = entries_of(&lines);
    entries.remove(2);
    let plain = unsealed_journal(&entries);
    put(&[&lines[..2], &[plain.lines().nth(2).unwrap().to_owned() + "\n"]].concat());
    taken.refused("line 3 is not sealed");
    fs::write(taken.journal(), plain).unwrap();
    taken.refused("is not the one that was kept");
    fs::write(taken.journal(), unsealed_journal(&entries_of(&lines))).unwrap();
    taken.refused("is not the one that was kept");
    // Another deployment's.
    let other = Home::new().keeping_a_journal();
    let (id, _) = other.key("audience:read");
    other.run(&["keys", "revoke", &id, "--yes"], "").ok();
    fs::copy(other.beside("journal"), taken.journal()).unwrap();
    taken.refused("is sealed with the server secret");
    fs::write(taken.journal(), whole).unwrap();
    let bare = taken.home.bare();
    bare.run(&["restore", &taken.home.path("b"), "--journal", &taken.home.path("journal")], "").ok();
    assert!(taken.keys.iter().all(|(_, key)| bare.verdict(key) == "REVOKED"));
}

fn entries_of(lines: &[String]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| line[line.find('{').unwrap()..].trim_end().as_bytes().to_vec()).collect()
}

#[tokio::test]
async fn a95_a_journal_that_was_cut_or_is_an_older_one_is_refused() {
    let taken = Taken::away();
    let lines = taken.lines();
    for kept in 0..2 {
        fs::write(taken.journal(), lines[..kept].concat()).unwrap();
        taken.refused(&format!("ends at entry {kept}, and this backup was made at entry 2"));
        let (bare, backup, journal) = (taken.home.bare(), taken.home.path("b"), taken.home.path("journal"));
        bare.run(&["restore", &backup, "--journal", &journal, "--accept-resurrection"], "").ok();
        assert_eq!(bare.verdict(&taken.keys[1].1), "DISABLED", "suspended, as without a journal");
    }
}

#[tokio::test]
async fn a95_a_journal_that_was_cut_while_nothing_ran_is_noticed_and_never_taken_for_whole_again() {
    let taken = Taken::away();
    let (home, lines) = (&taken.home, taken.lines());
    // The last revocation is cut off, and life goes on.
    fs::write(taken.journal(), lines[..3].concat()).unwrap();
    let (later, _) = home.key("audience:read");
    home.run(&["keys", "revoke", &later, "--yes"], "").ok();
    assert!(home.run(&["keys", "list"], "").ended(0).said().is_empty(), "it is said once");
    taken.refused("were lost after this backup was made");
    // A backup made since is whole.
    home.backup("c");
    let bare = home.bare();
    bare.run(&["restore", &home.path("c"), "--journal", &home.path("journal")], "").ok();
    assert_eq!(bare.verdict(&taken.keys[2].1), "REVOKED");
}

#[tokio::test]
async fn a_backup_and_a_journal_of_an_earlier_version_restore_and_go_on() {
    let home = Home::new().keeping_a_journal();
    let ((gone_id, gone), (later_id, later), (_, kept)) = (home.key("audience:read"), home.key("audience:read"), home.key("audience:read"));
    home.backup("b");
    home.run(&["keys", "revoke", &gone_id, "--yes"], "").ok();
    // So far by an earlier version.
    unsealed(&home.beside("b"));
    fs::write(home.beside("journal"), unsealed_journal(&entries(&home.beside("journal")))).unwrap();
    home.edit_store(|rows| {
        rows.erase_setting(JOURNAL);
        Ok(())
    })
    .await;
    let said = home.run(&["keys", "revoke", &later_id, "--yes"], "").ended(0).said();
    assert!(!said.contains("journal"), "{said}");
    let bare = home.bare();
    let restored = bare.run(&["restore", &home.path("b"), "--journal", &home.path("journal"), "--accept-unsealed", "--json"], "").ok();
    assert_eq!(serde_json::from_str::<Value>(&restored).unwrap()["restored"]["taken_away"], 2);
    assert_eq!([&gone, &later, &kept].map(|key| bare.verdict(key)), ["REVOKED", "REVOKED", "VALID"]);
    assert!(home.run(&["doctor"], "").out().contains("journal"));
}

#[tokio::test]
async fn a95_a_backup_names_the_secret_it_was_sealed_with_and_a_rotation_takes_none_away() {
    let taken = Taken::away();
    let home = &taken.home;
    home.run(&["secrets", "rotate"], "").ok();
    let (later, key) = home.key("audience:read");
    home.backup("c");
    home.run(&["keys", "revoke", &later, "--yes"], "").ok();
    for backup in ["b", "c"] {
        let bare = home.bare();
        bare.run(&["restore", &home.path(backup), "--journal", &home.path("journal")], "").ok();
        assert!(["REVOKED", "NOT_FOUND"].contains(&bare.verdict(&key).as_str()));
    }
    let manifests =
        ["b", "c"].map(|name| -> Value { serde_json::from_slice(&fs::read(home.beside(name).join("manifest.json")).unwrap()).unwrap() });
    let sealed_by = |at: usize| manifests[at]["manifest"]["sealed_by"].as_str().unwrap();
    assert_ne!(sealed_by(0), sealed_by(1));
    assert_eq!(manifests[1]["manifest"]["secrets"][0].as_str(), Some(sealed_by(1)));
    assert_eq!(manifests[0]["manifest"]["journal"]["entries"], 2);
}
