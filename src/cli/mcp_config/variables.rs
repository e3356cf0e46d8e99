//! What a client puts in the place of variables in its file before it uses an entry, and what can't be known here.

use crate::cli::clients::Client;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Whose file it is and where, which decides what a variable stands for.
pub struct Place {
    pub owner: Option<Client>,
    /// The folder of the project the file belongs to; a file of the user's home belongs to none.
    pub project: Option<PathBuf>,
}

/// A text with its variables replaced.
#[derive(Default)]
pub struct Expanded {
    pub text: String,
    /// What could not be replaced, in words, and is left out of the text.
    pub missing: Vec<String>,
    /// The part of it that stands in the file itself.
    pub literal: String,
}

impl Place {
    pub fn of(file: &Path) -> Self {
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let hidden = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let project = if hidden { folder.parent().map(Path::to_owned) } else { Some(folder) };
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self { owner: Client::of_file(file), project: project.filter(|project| home.as_ref() != Some(project)) }
    }

    /// Replaces what this file's client replaces; what it does not stays as it stands.
    pub fn expand(&self, text: &str) -> Expanded {
        let mut done = Expanded::default();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '{']) {
            let (before, from) = rest.split_at(at);
            done.text.push_str(before);
            done.literal.push_str(before);
            let Some((form, value)) = self.variable(from, &mut done.missing) else {
                let step = from.chars().next().map_or(0, char::len_utf8);
                done.text.push_str(&from[..step]);
                done.literal.push_str(&from[..step]);
                rest = &from[step..];
                continue;
            };
            done.text.push_str(&value.text);
            done.literal.push_str(&value.literal);
            rest = &from[form.len()..];
        }
        done.text.push_str(rest);
        done.literal.push_str(rest);
        done
    }

    /// The variable a text begins with, if this client knows it, and what stands for it.
    fn variable<'a>(&self, text: &'a str, missing: &mut Vec<String>) -> Option<(&'a str, Value)> {
        if let Some(rest) = text.strip_prefix("${") {
            let (inner, _) = rest.split_once('}')?;
            let value = self.braced(inner, missing)?;
            return Some((&text[..inner.len() + 3], value));
        }
        if let Some(rest) = text.strip_prefix('$') {
            let length = rest.bytes().take_while(|&b| b.is_ascii_alphanumeric() || b == b'_').count();
            let known = self.owner == Some(Client::Gemini) && rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            return known.then(|| (&text[..=length], of_environment(&rest[..length], None, missing)));
        }
        let (inner, _) = text.strip_prefix('{').filter(|_| self.owner == Some(Client::Opencode))?.split_once('}')?;
        let value = match inner.split_once(':')? {
            ("env", name) => of_environment(name, None, missing),
            ("file", path) => of_file(path, missing),
            _ => return None,
        };
        Some((&text[..inner.len() + 2], value))
    }

    /// What stands between `${` and `}`.
    fn braced(&self, inner: &str, missing: &mut Vec<String>) -> Option<Value> {
        use crate::cli::clients::Client::Claude;
        use crate::cli::clients::Client::Cursor;
        use crate::cli::clients::Client::Gemini;
        use crate::cli::clients::Client::Vscode;
        use crate::cli::clients::Client::Windsurf;
        let is = |clients: &[Client]| self.owner.is_none_or(|owner| clients.contains(&owner));
        if let Some(name) = inner.strip_prefix("env:").filter(|_| is(&[Cursor, Vscode, Windsurf])) {
            return Some(of_environment(name, None, missing));
        }
        if let Some(path) = inner.strip_prefix("file:").filter(|_| is(&[Windsurf])) {
            return Some(of_file(path, missing));
        }
        if is(&[Cursor, Vscode]) {
            let folder = |found: Option<PathBuf>, missing: &mut Vec<String>| match found {
                Some(path) => Value::plain(path.display().to_string()),
                None => Value::none(format!("${{{inner}}} is the folder that is open in the client, which is not known here"), missing),
            };
            match inner {
                "userHome" => return Some(of_environment("HOME", None, missing)),
                "workspaceFolder" => return Some(folder(self.project.clone(), missing)),
                "workspaceFolderBasename" => {
                    let name = self.project.as_ref().and_then(|path| path.file_name()).map(PathBuf::from);
                    return Some(folder(name, missing));
                }
                "pathSeparator" | "/" => return Some(Value::plain("/".to_owned())),
                _ => {}
            }
            if let Some((kind @ ("input" | "command" | "config" | "workspaceFolder"), _)) = inner.split_once(':') {
                let why = if kind == "input" { "the client asks its user for" } else { "the client knows" };
                return Some(Value::none(format!("${{{inner}}} is what {why}, and is not known here"), missing));
            }
        }
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (is_name && is(&[Claude, Gemini])).then(|| of_environment(name, default, missing))
    }
}

struct Value {
    text: String,
    /// The part of it that stands in the file.
    literal: String,
}

impl Value {
    fn plain(text: String) -> Self {
        Self { text, literal: String::new() }
    }

    fn none(why: String, missing: &mut Vec<String>) -> Self {
        missing.push(why);
        Self::plain(String::new())
    }
}

fn of_environment(name: &str, default: Option<&str>, missing: &mut Vec<String>) -> Value {
    match (std::env::var(name), default) {
        (Ok(text), _) => Value { text, literal: default.unwrap_or_default().to_owned() },
        (Err(_), Some(default)) => Value { text: default.to_owned(), literal: default.to_owned() },
        (Err(_), None) => Value::none(format!("the variable {name} is not set here"), missing),
    }
}

fn of_file(path: &str, missing: &mut Vec<String>) -> Value {
    match fs::read_to_string(path) {
        Ok(text) => Value::plain(text.trim().to_owned()),
        Err(error) => Value::none(format!("{path} can't be read ({error})"), missing),
    }
}
