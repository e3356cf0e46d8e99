//! The house stays in order: what a file uses stands below its room, no files go round in a circle, an import names the file
//! that defines what it takes, and no file is too long to read.
//!
//! Read are all paths that begin with `crate`, in `use` lines and elsewhere, outside tests. The rooms are told in `src/lib.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// From the roof down.
const ROOMS: [&str; 17] = [
    "main",
    "cli",
    "server",
    "mcp",
    "web",
    "http",
    "client",
    "instance",
    "service",
    "local_keys",
    "cache",
    "store",
    "api",
    "config",
    "guide",
    "domain",
    "platform",
];

/// From the roof down, inside `service`; what is not named here stands below all of them.
const CONTEXTS: [&str; 7] = ["services", "housekeeping", "admin", "claims", "keys", "accounts", "verification"];

const MAX_LINES: usize = 400;

type Module = Vec<String>;

/// Which file uses which, and what of it.
type Arrows = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn module(file: &Path) -> Module {
    let mut parts: Module = file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// Names, `::` and single signs of a source, without comments, literals, modules of tests and `pub(in …)`.
fn tokens(text: &str) -> Vec<String> {
    let code: String = text.split("#[cfg(test)]\nmod ").next().unwrap().lines().map(|line| without_literals(line) + "\n").collect();
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = code.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if first.is_alphanumeric() || first == '_' => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if !token.trim().is_empty() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    let restricts = |at: usize| at >= 3 && tokens[at - 1] == "in" && tokens[at - 2] == "(" && tokens[at - 3] == "pub";
    let kept: Vec<bool> = (0..tokens.len()).map(|at| tokens[at] != "crate" || !restricts(at)).collect();
    tokens.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(token, _)| token).collect()
}

fn without_literals(line: &str) -> String {
    let (mut code, mut inside, mut chars) = (String::new(), false, line.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' if inside => _ = chars.next(),
            '"' => inside = !inside,
            '/' if !inside && chars.peek() == Some(&'/') => break,
            _ if !inside => code.push(c),
            _ => {}
        }
    }
    code
}

/// Reads a path, or a tree of them in braces, from behind a `::`.
fn paths(tokens: &[String], at: &mut usize, prefix: &Module, found: &mut Vec<Module>) {
    let mut path = prefix.clone();
    loop {
        match tokens.get(*at).map(String::as_str) {
            Some("{") => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    if tokens[*at] == "," {
                        *at += 1;
                    } else {
                        paths(tokens, at, &path, found);
                        while tokens.get(*at).is_some_and(|token| token != "," && token != "}") {
                            *at += 1;
                        }
                    }
                }
                *at += 1;
                return;
            }
            Some(name) if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => path.push(name.to_owned()),
            _ => break,
        }
        *at += 1;
        if tokens.get(*at).is_none_or(|token| token != "::") {
            break;
        }
        *at += 1;
    }
    found.push(path);
}

fn used(tokens: &[String]) -> Vec<Module> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at + 1 < tokens.len() {
        if tokens[at] == "crate" && tokens[at + 1] == "::" {
            at += 2;
            paths(tokens, &mut at, &Module::new(), &mut found);
        } else {
            at += 1;
        }
    }
    found
}

struct House {
    files: BTreeMap<PathBuf, Vec<String>>,
    arrows: Arrows,
}

impl House {
    fn of(texts: &BTreeMap<PathBuf, String>) -> Self {
        let modules: BTreeMap<Module, &PathBuf> = texts.keys().map(|file| (module(file), file)).collect();
        let files: BTreeMap<PathBuf, Vec<String>> = texts.iter().map(|(file, text)| (file.clone(), tokens(text))).collect();
        let mut arrows = Arrows::new();
        for (file, tokens) in &files {
            for path in used(tokens) {
                let length = (1..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]));
                let Some(target) = length.map(|length| modules[&path[..length]]).filter(|target| *target != file) else { continue };
                let what = path.get(length.unwrap_or(0)).cloned().unwrap_or_else(|| "itself".to_owned());
                arrows.entry(file.clone()).or_default().entry(target.clone()).or_default().insert(what);
            }
        }
        Self { files, arrows }
    }

    fn today() -> Self {
        Self::of(&texts())
    }

    fn each(&self) -> impl Iterator<Item = (&PathBuf, &PathBuf, String)> {
        self.arrows.iter().flat_map(|(file, targets)| {
            targets.iter().map(move |(target, what)| (file, target, what.iter().cloned().collect::<Vec<_>>().join(", ")))
        })
    }

    fn upward(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (file, target, what) in self.each() {
            if rank(target) < rank(file) {
                wrong.push(format!(
                    "{} uses {what} of {}, which stands above it: move {what} down to where both may reach it, or hand it in as an argument",
                    file.display(),
                    target.display()
                ));
            }
        }
        wrong
    }

    /// Imports of the `mod.rs` of one's own room or of one above it.
    fn own_rooms(&self) -> Vec<String> {
        let own = |file: &Path, target: &Path| target.ends_with("mod.rs") && target.parent().is_some_and(|room| file.starts_with(room));
        let wrong = self.each().filter(|(file, target, _)| own(file, target));
        wrong
            .map(|(file, target, what)| format!("{} uses {what} of its own room's {}: give it a file", file.display(), target.display()))
            .collect()
    }

    fn circle(&self) -> Option<String> {
        fn visit(house: &House, file: &Path, path: &mut Vec<PathBuf>, done: &mut BTreeSet<PathBuf>) -> Option<String> {
            if let Some(start) = path.iter().position(|seen| seen == file) {
                let circle: Vec<_> = path[start..].iter().map(|file| file.display().to_string()).collect();
                return Some(format!("{} → {}: move what one takes of the next into a file below both", circle.join(" → "), circle[0]));
            }
            if !done.insert(file.to_owned()) {
                return None;
            }
            path.push(file.to_owned());
            let circle = house.arrows.get(file).into_iter().flat_map(BTreeMap::keys).find_map(|next| visit(house, next, path, done));
            path.pop();
            circle
        }
        let mut done = BTreeSet::new();
        self.files.keys().find_map(|file| visit(self, file, &mut Vec::new(), &mut done))
    }

    /// Files outside `rooms` that name a crate.
    fn naming(&self, krate: &str, allowed: impl Fn(&str) -> bool) -> Vec<String> {
        let names = |tokens: &[String]| {
            tokens.windows(2).enumerate().any(|(at, pair)| pair[0] == krate && pair[1] == "::" && (at == 0 || tokens[at - 1] != "::"))
        };
        let files = self.files.iter().filter(|(file, tokens)| !allowed(file.to_str().unwrap()) && names(tokens));
        files.map(|(file, _)| format!("{} names {krate}", file.display())).collect()
    }
}

/// All sources, by their place in `src`.
fn texts() -> BTreeMap<PathBuf, String> {
    let (root, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Vec::new());
    sources(&root, &mut found);
    found.into_iter().map(|path| (path.strip_prefix(&root).unwrap().to_owned(), fs::read_to_string(&path).unwrap())).collect()
}

/// The higher the room, the less. `lib.rs` names all rooms.
fn rank(file: &Path) -> (usize, usize) {
    let parts = module(file);
    let at = |list: &[&str], name: Option<&String>| list.iter().position(|one| name.is_some_and(|name| name == one));
    let Some(room) = at(&ROOMS, parts.first()) else { return (0, 0) };
    (room, if ROOMS[room] == "service" { at(&CONTEXTS, parts.get(1)).unwrap_or(CONTEXTS.len()) } else { 0 })
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn what_a_file_uses_stands_below_it() {
    none(&House::today().upward());
}

#[test]
fn no_files_go_round_in_a_circle() {
    none(&Vec::from_iter(House::today().circle()));
}

#[test]
fn an_import_names_the_file_that_defines_what_it_takes() {
    none(&House::today().own_rooms());
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = texts().into_iter().map(|(file, text)| (file, text.lines().count())).filter(|(_, lines)| *lines > MAX_LINES);
    none(
        &long
            .map(|(file, lines)| format!("{} has {lines} lines, {MAX_LINES} at most: split it by subject", file.display()))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn crates_stay_in_their_rooms() {
    let house = House::today();
    none(&house.naming("sled", |file| file.starts_with("store/sled/") || file == "store/open.rs"));
    none(&house.naming("reqwest", |file| file.starts_with("client/") || file.starts_with("cli/")));
    let http = ROOMS.iter().position(|room| *room == "http").unwrap();
    none(&house.naming("axum", |file| rank(Path::new(file)).0 <= http));
}

#[test]
fn a_planted_fault_is_found_and_named() {
    let planted = |files: &[(&str, &str)]| {
        let texts = files.iter().map(|(file, text)| (PathBuf::from(file), (*text).to_owned())).collect();
        House::of(&texts)
    };
    let house = planted(&[
        ("domain/key.rs", "use crate::{\n    http::{error::HttpError as E, routes::{self, Verb}},\n    domain::scope::Scope,\n};"),
        ("domain/scope.rs", "fn of() -> crate::domain::key::Key { \"crate::web::x\" } // crate::cli::main"),
        ("domain/mod.rs", "pub struct Shared;"),
        ("domain/name.rs", "pub(in crate::domain) fn a(b: crate::domain::Shared) {}\n#[cfg(test)]\nmod tests { use crate::cli::main; }"),
        ("http/error.rs", ""),
        ("http/routes.rs", ""),
        ("service/keys/list.rs", "use crate::service::claims::poll::Poll;"),
        ("service/claims/poll.rs", "use crate::store::sled; fn a() { sled::open(); }"),
    ]);
    let upward = house.upward();
    assert_eq!(upward.len(), 3, "{upward:?}");
    assert!(upward[0].contains("domain/key.rs uses HttpError of http/error.rs"), "{upward:?}");
    assert!(upward[1].contains("domain/key.rs uses Verb, self of http/routes.rs"), "{upward:?}");
    assert!(upward[2].contains("service/keys/list.rs uses Poll of service/claims/poll.rs"), "{upward:?}");
    assert!(house.circle().is_some_and(|circle| circle.contains("domain/key.rs → domain/scope.rs")));
    assert_eq!(house.own_rooms(), ["domain/name.rs uses Shared of its own room's domain/mod.rs: give it a file"]);
    assert_eq!(house.naming("sled", |_| false), ["service/claims/poll.rs names sled"]);
}
