//! The numbers that tests carry: each stands in `attacks.md` with what it means and where it is tested, and nothing else does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Numbers, and the files that each is tested in.
type Places = BTreeMap<String, BTreeSet<String>>;

const LIST: &str = include_str!("attacks.md");

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn is_number(word: &str) -> bool {
    word.strip_prefix(['a', 'f']).is_some_and(|digits| (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The numbers a line of Rust names a test by.
fn in_a_name(line: &str) -> Vec<String> {
    let line = line.trim_start();
    let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").and_then(|rest| rest.split('(').next());
    name.map_or(Vec::new(), |name| name.split('_').filter(|part| is_number(part)).map(str::to_owned).collect())
}

/// The numbers a comment names: what is no Rust test has no other place for them.
fn in_a_comment(line: &str) -> Vec<String> {
    let line = line.trim_start().to_lowercase();
    let is_comment = ["#", "//", "\"\"\""].iter().any(|begins| line.starts_with(begins));
    let words = line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_comment && is_number(word));
    words.map(str::to_owned).collect()
}

/// How the list calls a file: those of `tests/it` by their module.
fn place(file: &Path) -> String {
    let below = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
    let place = below.strip_prefix("tests/it").map_or(below.to_owned(), |module| module.with_extension(""));
    place.to_str().unwrap().to_owned()
}

fn used() -> Places {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readers = [
        ("src", in_a_name as fn(&str) -> Vec<String>),
        ("tests/it", in_a_name),
        ("tests/clients", in_a_comment),
        ("tests/bench", in_a_comment),
    ];
    let mut used = Places::new();
    for (folder, numbers) in readers {
        for file in files(&root.join(folder)) {
            // A picture holds none.
            let Ok(text) = fs::read_to_string(&file) else { continue };
            for number in text.lines().flat_map(numbers) {
                used.entry(number).or_default().insert(place(&file));
            }
        }
    }
    used
}

fn listed(list: &str) -> Places {
    let mut listed = Places::new();
    for line in list.lines().filter(|line| line.starts_with('-')) {
        let (number, rest) = line.strip_prefix("- **").and_then(|rest| rest.split_once("** ")).unwrap_or_else(|| panic!("{line}"));
        let (sentence, places) = rest.rsplit_once(" (").unwrap_or_else(|| panic!("{line}"));
        assert!(sentence.ends_with('.'), "a sentence and its places: {line}");
        let places = places.trim_end_matches(')').split(", ").map(|place| place.trim_matches('`').to_owned()).collect();
        assert!(listed.insert(number.to_owned(), places).is_none(), "{number} is there twice");
    }
    listed
}

fn faults(used: &Places, listed: &Places) -> Vec<String> {
    let numbers: BTreeSet<&String> = used.keys().chain(listed.keys()).collect();
    let fault = |number: &String| match (used.get(number), listed.get(number)) {
        (Some(places), None) => Some(format!("{number} is used and not listed: {places:?}")),
        (None, Some(_)) => Some(format!("{number} is listed and not used")),
        (Some(used), Some(listed)) if used != listed => Some(format!("{number} is listed for {listed:?} and used in {used:?}")),
        _ => None,
    };
    numbers.into_iter().filter_map(fault).collect()
}

#[test]
fn each_number_is_told_with_where_it_is_tested() {
    let found = used();
    assert!(found.len() > 100, "the tests were found");
    assert_eq!(faults(&found, &listed(LIST)), Vec::<String>::new());
}

#[test]
fn a_number_without_a_line_and_a_line_without_a_test_are_named() {
    let listed = listed("- **a01** One. (`pages`)\n- **a02** Two. (`pages`, `src/x.rs`)\n- **f03** Three. (`keys`)");
    let used = |numbers: &[(&str, &str)]| -> Places {
        numbers.iter().map(|(number, place)| ((*number).to_owned(), BTreeSet::from([(*place).to_owned()]))).collect()
    };
    let faults = faults(&used(&[("a01", "pages"), ("a02", "pages"), ("f99", "keys")]), &listed);
    assert_eq!(
        faults,
        [
            "a02 is listed for {\"pages\", \"src/x.rs\"} and used in {\"pages\"}",
            "f03 is listed and not used",
            "f99 is used and not listed: {\"keys\"}"
        ]
    );
    assert_eq!(in_a_name("    async fn a26_a27_two_of_them_and_f08_one(app: App) {"), ["a26", "a27", "f08"]);
    assert_eq!(in_a_name("    let a26_a27 = 1; // fn a26_"), Vec::<String>::new());
    assert_eq!(in_a_comment("    # f37, A61: what a61x is not"), ["f37", "a61"]);
}
