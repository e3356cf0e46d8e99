//! One variable of a `.env` file: where a program expects its key.

use super::{probe, write_private};
use crate::service::{Error, view::Revealed};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};
use zeroize::Zeroizing;

/// A settings file is small; anything larger is not one.
const MAX_FILE: u64 = 1 << 20;

/// A file below a folder, and the variable in it that is to hold the key.
#[derive(Debug)]
pub struct EnvFile {
    path: PathBuf,
    shown: String,
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
        let relative = Path::new(path);
        let parts: Vec<_> = relative.components().collect();
        if parts.is_empty() || path.ends_with('/') || !parts.iter().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(wrong("must be a file below the working directory, such as .env, without `..`"));
        }
        let mut here = folder.to_owned();
        for part in &parts {
            if !fs::symlink_metadata(&here).is_ok_and(|found| found.is_dir()) {
                return Err(wrong("is in a folder that is not there, or behind a link"));
            }
            here.push(part);
        }
        if fs::symlink_metadata(&here).is_ok_and(|found| !found.is_file()) {
            return Err(wrong("is a link or no file"));
        }
        let fits = name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && ["_KEY", "_TOKEN"].iter().any(|end| name.strip_suffix(end).is_some_and(|rest| !rest.is_empty()));
        if !fits {
            return Err(Error::invalid("env_name", "must be upper-case letters, digits and '_', and end in _KEY or _TOKEN"));
        }
        Ok(Self { path: here, shown: path.to_owned(), name: name.to_owned() })
    }

    /// Makes sure the key could be put there, before one is taken. `ours` tells keys of this service from other values.
    pub fn check(&self, ours: impl Fn(&str) -> bool) -> Result<(), Error> {
        self.text(ours)?;
        probe(self.path.parent().unwrap_or(&self.path)).map_err(|error| self.failed(&error))
    }

    /// Puts the key into the variable and leaves every other line as it is. On disk when this returns.
    pub fn put(&self, key: &Revealed, ours: impl Fn(&str) -> bool) -> Result<String, Error> {
        let Text { before, after, .. } = self.text(ours)?;
        let whole = Zeroizing::new([before.as_str(), key.expose(), after.as_str()].concat());
        write_private(&self.path, whole.as_bytes()).map_err(|error| self.failed(&error))?;
        Ok(format!("{} in {}", self.name, self.path.display()))
    }

    /// Whether the next commit could carry the key away: in a repository, and not ignored.
    pub fn git_would_take_it(&self) -> bool {
        let Some((folder, file)) = self.path.parent().zip(self.path.file_name()) else { return false };
        // The folder may be anybody's: nothing its repository configures is run.
        let mut git = Command::new("git");
        git.args(["-c", "core.fsmonitor=false", "-C"]).arg(folder).args(["check-ignore", "-q", "--"]).arg(file);
        let status = git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.code() == Some(1))
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::Conflict { detail: format!("{} can't be written: {error}", self.shown) }
    }

    fn text(&self, ours: impl Fn(&str) -> bool) -> Result<Text, Error> {
        let size = fs::symlink_metadata(&self.path).map(|found| found.len()).unwrap_or(0);
        if size > MAX_FILE {
            return Err(Error::invalid("env_path", "is too large for a file of variables"));
        }
        let text = Zeroizing::new(match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(self.failed(&error)),
        });
        let (mut found, mut at) = (Vec::new(), 0);
        for line in text.split_inclusive('\n') {
            if let Some(value) = value_of(line, &self.name) {
                found.push((at + value.start, at + value.end));
            }
            at += line.len();
        }
        let kept = |text: &str| Zeroizing::new(text.to_owned());
        match found[..] {
            [] => {
                let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                Ok(Text { before: Zeroizing::new(format!("{}{end}{}=", *text, self.name)), value: kept(""), after: kept("\n") })
            }
            [(start, end)] => {
                let whole = Text { before: kept(&text[..start]), value: kept(&text[start..end]), after: kept(&text[end..]) };
                if whole.value.is_empty() || ours(&whole.value) {
                    return Ok(whole);
                }
                let detail =
                    format!("{} in {} holds something else than a key of this service: name another variable", self.name, self.shown);
                Err(Error::Conflict { detail })
            }
            _ => Err(Error::Conflict { detail: format!("{} is there more than once in {}", self.name, self.shown) }),
        }
    }
}

/// Where the value of `NAME=value` stands in a line, without quotes; `None` for other lines.
fn value_of(line: &str, name: &str) -> Option<std::ops::Range<usize>> {
    let line = line.trim_end();
    let rest = line.trim_start();
    let rest = rest.strip_prefix("export ").map_or(rest, str::trim_start);
    let rest = rest.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim_start();
    let quoted = ['"', '\''].iter().find_map(|quote| rest.strip_prefix(*quote)?.strip_suffix(*quote));
    let start = line.len() - rest.len() + usize::from(quoted.is_some());
    Some(start..start + quoted.unwrap_or(rest).len())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn somebody_elses_value_stays() {
        assert!(matches!(put("A_KEY=sk_other\n"), Err(Error::Conflict { .. })));
        assert!(matches!(put("A_KEY=cs_1\nA_KEY=cs_2\n"), Err(Error::Conflict { .. })));
    }
}
