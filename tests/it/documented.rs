//! Public items of the rooms below are documented: what a type is, what a function does that its name does not say, and on what
//! it fails.
//!
//! A test in place of `missing_docs`, which asks for a line on each field and variant, too: those of `Account`, `Purpose` or
//! `EventKind` have names that say all, and sentences that repeat a name hide those that don't. It asks nothing, on the other
//! hand, of what is `pub(crate)`, which is most of what the use cases share.

use std::{fs, path::Path};

/// Rooms, or files of them, whose items are documented.
const DOCUMENTED: [&str; 11] =
    ["server", "client", "instance", "service", "local_keys", "cache", "store", "api", "config", "domain", "platform"];

/// Errors that are documented by themselves: each of their kinds says when it comes. A function that fails with another error
/// says so under `# Errors`.
const EXPLAINED: [&str; 9] =
    ["Error", "StoreError", "OpenError", "OpenFailure", "BackupError", "RestoreError", "RestoreFailure", "SecretError", "StoredKeyError"];

const ITEMS: [&str; 7] = ["struct", "enum", "trait", "fn", "const", "static", "type"];

/// What follows `pub`, `pub(…)`, `async` and the like, up to the item's own name.
fn kind_and_name(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("pub")?;
    let rest = if rest.starts_with('(') { rest.split_once(')')?.1 } else { rest };
    let mut words = rest.strip_prefix(' ')?.split([' ', '(', '<', ':', ';', '{']);
    let mut kind = words.next()?;
    while kind == "async" || (kind == "const" && rest.contains(" fn ")) {
        kind = words.next()?;
    }
    let name = words.next()?;
    ITEMS.contains(&kind).then_some((kind, name))
}

/// The text of a documentation comment above a line, attributes in between left out.
fn documentation(above: &[&str]) -> String {
    let (mut text, mut rest) = (Vec::new(), above);
    while let Some((last, before)) = rest.split_last() {
        let line = last.trim();
        if let Some(words) = line.strip_prefix("///") {
            text.push(words);
        } else if line.starts_with("$(#[") {
            // A macro is given the documentation of what it defines.
            text.push(line);
        } else if line.ends_with(']') && !line.starts_with("#[") {
            // The end of an attribute of several lines.
            let Some(start) = before.iter().rposition(|line| line.trim().starts_with("#[")) else { break };
            rest = &before[..start];
            continue;
        } else if !line.starts_with("#[") {
            break;
        }
        rest = before;
    }
    text.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The name of the error of a function that can fail.
fn error_of(signature: &str) -> Option<&str> {
    let (_, result) = signature.split_once("->")?.1.split_once("Result<")?;
    let mut depth = 0;
    let after_comma = result.find(|c: char| {
        depth += match c {
            '<' | '(' | '[' => 1,
            '>' | ')' | ']' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    })?;
    let error = result[after_comma + 1..].trim_start();
    Some(error.find(['>', ' ', '{', ';']).map_or(error, |end| &error[..end]))
}

/// What is missing in a source.
fn missing(file: &str, text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut missing = Vec::new();
    let mut in_public_trait = false;
    for (at, line) in lines.iter().enumerate() {
        in_public_trait = *line != "}" && (in_public_trait || (line.starts_with("pub") && line.contains(" trait ")));
        // What a public trait asks for is as public as the trait.
        let asked_for = line.strip_prefix("    ").filter(|line| in_public_trait && !line.starts_with([' ', '/', '#', '}']));
        let item = asked_for.map_or_else(|| line.trim_start().to_owned(), |line| format!("pub {line}"));
        let Some((kind, name)) = kind_and_name(&item) else { continue };
        let said = documentation(&lines[..at]);
        if said.trim().is_empty() {
            missing.push(format!("{file}:{}: {kind} {name} has no line of documentation", at + 1));
        }
        let end = lines[at..].iter().position(|line| line.ends_with(['{', ';', '}'])).map_or(lines.len(), |length| at + length + 1);
        let signature = lines[at..end].join(" ");
        let fails = error_of(&signature).filter(|error| kind == "fn" && !EXPLAINED.contains(error));
        if let Some(error) = fails.filter(|_| !said.contains("# Errors")) {
            missing.push(format!("{file}:{}: {kind} {name} fails with {error} and does not say when: write `# Errors`", at + 1));
        }
    }
    missing
}

fn sources(path: &Path, found: &mut Vec<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_str().unwrap().to_owned());
    }
}

#[test]
fn public_items_are_documented_and_say_when_they_fail() {
    let mut files = Vec::new();
    for room in DOCUMENTED {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut files);
    }
    files.sort();
    let missing: Vec<_> = files.iter().flat_map(|file| missing(file, &fs::read_to_string(file).unwrap())).collect();
    assert!(files.len() > 20 && missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn what_is_planted_without_documentation_is_found() {
    let planted = "
pub struct Bare;
/// Said.
#[derive(
    Debug,
)]
pub(crate) enum Said { A }
// Not said.
pub const fn of(a: u8) -> u8 {
/// Fails.
pub async fn fails<T>(
    a: Vec<(u8, T)>,
) -> Result<(u8, Vec<T>), Wrong> {
/// Fails, and
///
/// # Errors
/// says when.
pub fn says() -> Result<(), Wrong> {
/// Explained by its error.
pub fn explained() -> Result<(), Error> {
/// Said.
pub trait Contract {
    fn asked_for(&self) {
        fn inner() {}
    }
}
pub field: u8,
pub use a::b;
";
    let expected = [
        "x.rs:2: struct Bare has no line of documentation",
        "x.rs:9: fn of has no line of documentation",
        "x.rs:11: fn fails fails with Wrong and does not say when: write `# Errors`",
        "x.rs:23: fn asked_for has no line of documentation",
    ];
    assert_eq!(missing("x.rs", planted), expected);
}
