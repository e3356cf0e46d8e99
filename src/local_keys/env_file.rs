//! One variable of a `.env` file: where a program expects its key.

use crate::{
    api::{error::Error, values::Revealed},
    domain::place,
    platform::private_folder::Folder,
};
use std::{
    ffi::OsString,
    io::{self, Read},
    ops::Range,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};
use zeroize::Zeroizing;

/// A settings file is small; anything larger is not one.
const MAX_FILE_BYTES: usize = 1 << 20;

/// What some editors put before the first line.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A file in a folder, and the variable in it that is to hold the key. The folder is held: while a human decides, what is
/// under its name may be exchanged for a link that leads elsewhere.
#[derive(Debug)]
pub struct EnvFile {
    folder: Folder,
    file: OsString,
    /// As it was asked for.
    shown: String,
    /// Where it was then.
    path: PathBuf,
    name: String,
}

/// The file's text around the variable.
struct Text {
    before: Zeroizing<String>,
    value: Zeroizing<String>,
    after: Zeroizing<String>,
}

impl EnvFile {
    /// `path` is relative to `folder` and stays in it: no `..`, and no link on the way that could lead elsewhere.
    pub fn new(folder: &Path, path: &str, name: &str) -> Result<Self, Error> {
        let wrong = |detail: &str| Error::invalid("env_path", detail);
        place::check(path).map_err(|error| wrong(&format!("can't be used: {error}")))?;
        let parts: Option<Vec<_>> = (Path::new(path).components())
            .filter(|part| *part != Component::CurDir)
            .map(|part| if let Component::Normal(name) = part { Some(name) } else { None })
            .collect();
        let Some((file, folders)) = parts.as_deref().and_then(|parts| parts.split_last()).filter(|_| !path.ends_with('/')) else {
            return Err(wrong("must be a file below the working directory, such as .env, without `..`"));
        };
        let behind = |_| wrong("is in a folder that is not there, or behind a link");
        let top = Folder::open(folder).map_err(behind)?;
        let opened = folders.iter().try_fold(top, |here, name| here.enter(name)).map_err(behind)?;
        opened.file(file).map_err(|_| wrong("is a link, no file, or can't be read"))?;
        let fits = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && ["_KEY", "_TOKEN"].iter().any(|end| name.strip_suffix(end).is_some_and(|rest| !rest.is_empty()));
        if !fits {
            return Err(Error::invalid("env_name", "must be upper-case letters, digits and '_', and end in _KEY or _TOKEN"));
        }
        Ok(Self { folder: opened, file: (*file).to_owned(), shown: path.to_owned(), path: folder.join(path), name: name.to_owned() })
    }

    /// Makes sure the key could be put there, before one is taken. `is_own_key` knows the values this client wrote.
    pub fn check(&self, is_own_key: impl Fn(&str) -> bool) -> Result<(), Error> {
        self.text(is_own_key)?;
        self.folder.probe().map_err(|error| self.failed(&error))
    }

    /// Puts the key into the variable and leaves every other line as it is; says where that is. On disk when this returns.
    pub fn put(&self, key: &Revealed, is_own_key: impl Fn(&str) -> bool) -> Result<String, Error> {
        let Text { before, after, .. } = self.text(is_own_key)?;
        let whole = Zeroizing::new([before.as_str(), key.expose(), after.as_str()].concat());
        self.folder.write(&self.file, whole.as_bytes()).map_err(|error| self.failed(&error))?;
        Ok(format!("{} in {}", self.name, self.place().display()))
    }

    fn place(&self) -> PathBuf {
        self.folder.path().map_or_else(|| self.path.clone(), |folder| folder.join(&self.file))
    }

    /// Whether the next commit could carry the key away: in a repository, and not ignored.
    pub fn git_would_take_it(&self) -> bool {
        let place = self.place();
        let Some(folder) = place.parent() else { return false };
        // The folder may be anybody's: nothing its repository configures is run.
        let mut git = Command::new("git");
        git.args(["-c", "core.fsmonitor=false", "-C"]).arg(folder).args(["check-ignore", "-q", "--"]).arg(&self.file);
        let status = git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status.ok().and_then(|status| status.code()) {
            Some(0) => false,
            Some(1) => true,
            // No git, no repository, or one of another user, which git does not look into.
            _ => folder.ancestors().any(|folder| folder.join(".git").exists()),
        }
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::Conflict { detail: format!("{} can't be written: {error}", self.shown) }
    }

    fn read(&self) -> io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        if let Some(file) = self.folder.file(&self.file)? {
            file.take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text)?;
        }
        Ok(text)
    }

    fn text(&self, is_own_key: impl Fn(&str) -> bool) -> Result<Text, Error> {
        let text = self.read().map_err(|error| self.failed(&error))?;
        if text.len() > MAX_FILE_BYTES {
            return Err(Error::invalid("env_path", "is too large for a file of variables"));
        }
        let mut at = text.len() - text.trim_start_matches(BYTE_ORDER_MARK).len();
        let (mut found, mut quote) = (Vec::new(), None);
        for line in text[at..].split_inclusive('\n') {
            // What stands in the value of another variable is no variable.
            if let Some(open) = quote {
                quote = quote.filter(|_| !closes(line, open));
            } else if let Some((name, value)) = assignment(line) {
                quote = line[value.clone()].chars().next().filter(|open| QUOTES.contains(open) && !closes(&line[value.start + 1..], *open));
                if name == self.name {
                    let value = if quote.is_none() { unquoted(line, value) } else { value };
                    found.push((at + value.start, at + value.end));
                }
            }
            at += line.len();
        }
        if quote.is_some() {
            return Err(Error::Conflict { detail: format!("a quote in {} is never closed: mend that first", self.shown) });
        }
        let kept = |text: &str| Zeroizing::new(text.to_owned());
        match found[..] {
            [] => {
                let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                Ok(Text { before: Zeroizing::new(format!("{}{end}{}=", *text, self.name)), value: kept(""), after: kept("\n") })
            }
            [(start, end)] => {
                let whole = Text { before: kept(&text[..start]), value: kept(&text[start..end]), after: kept(&text[end..]) };
                if whole.value.is_empty() || is_own_key(&whole.value) {
                    return Ok(whole);
                }
                let detail = format!("{} in {} holds a value this client did not write: name another variable", self.name, self.shown);
                Err(Error::Conflict { detail })
            }
            _ => Err(Error::Conflict { detail: format!("{} is there more than once in {}", self.name, self.shown) }),
        }
    }
}

const QUOTES: [char; 3] = ['"', '\'', '`'];

/// The name in a line `NAME=value`, and where its value stands, with its quotes; `None` for other lines.
fn assignment(line: &str) -> Option<(&str, Range<usize>)> {
    let (left, right) = line.trim_end().split_once('=')?;
    let left = left.trim();
    let name = left.strip_prefix("export ").map_or(left, str::trim_start);
    let end = line.trim_end().len();
    (!name.starts_with('#')).then(|| (name, end - right.trim_start().len()..end))
}

/// Whether a quote that is open at the start of a line ends in it.
fn closes(line: &str, quote: char) -> bool {
    let mut escaped = false;
    line.chars().any(|c| {
        let closing = c == quote && !escaped;
        escaped = c == '\\' && !escaped && quote == '"';
        closing
    })
}

/// A value without the quotes around it.
fn unquoted(line: &str, value: Range<usize>) -> Range<usize> {
    let text = &line[value.clone()];
    let quoted = QUOTES.iter().any(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote));
    if quoted { value.start + 1..value.end - 1 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn put(before: &str) -> Result<String, Error> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, before).unwrap();
        let file = EnvFile::new(folder.path(), ".env", "A_KEY")?;
        file.check(|value| value.starts_with("cs_"))?;
        file.put(&Revealed::new("cs_new"), |value| value.starts_with("cs_"))?;
        Ok(fs::read_to_string(path).unwrap())
    }

    #[test]
    fn one_variable_is_added_or_replaced_and_other_lines_stay() {
        assert_eq!(put("").unwrap(), "A_KEY=cs_new\n");
        assert_eq!(put("X=1").unwrap(), "X=1\nA_KEY=cs_new\n");
        assert_eq!(put("# A_KEY=cs_no\nA_KEY=cs_old\r\nB=2").unwrap(), "# A_KEY=cs_no\nA_KEY=cs_new\r\nB=2");
        assert_eq!(put("export A_KEY = 'cs_old' \nA_KEY_2=x\n").unwrap(), "export A_KEY = 'cs_new' \nA_KEY_2=x\n");
        assert_eq!(put("A_KEY=\n").unwrap(), "A_KEY=cs_new\n");
        assert_eq!(put("A_KEY=\"\"\n").unwrap(), "A_KEY=\"cs_new\"\n");
        assert_eq!(put("\u{feff}A_KEY=cs_old\n").unwrap(), "\u{feff}A_KEY=cs_new\n");
    }

    #[test]
    fn what_stands_in_the_value_of_another_variable_is_no_variable() {
        for quote in QUOTES {
            let before = format!("NOTE={quote}one\nA_KEY=\nA_KEY=cs_old\n{quote}\n");
            assert_eq!(put(&before).unwrap(), format!("{before}A_KEY=cs_new\n"));
        }
        assert_eq!(put("A=\"\\\"\nA_KEY=\n\"\nA_KEY=").unwrap(), "A=\"\\\"\nA_KEY=\n\"\nA_KEY=cs_new");
        assert_eq!(put("# it's\nA=it's\nB='\\'\nA_KEY=").unwrap(), "# it's\nA=it's\nB='\\'\nA_KEY=cs_new");
        assert!(matches!(put("A=\"open\nA_KEY=\n"), Err(Error::Conflict { .. })));
    }

    #[test]
    fn somebody_elses_value_stays() {
        assert!(matches!(put("A_KEY=sk_other\n"), Err(Error::Conflict { .. })));
        assert!(matches!(put("A_KEY=\"cs_old\nmore\"\n"), Err(Error::Conflict { .. })));
        assert!(matches!(put("A_KEY=cs_1\nA_KEY=cs_2\n"), Err(Error::Conflict { .. })));
    }
}
