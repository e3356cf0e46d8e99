//! A path as somebody wrote it, before anything is made there: what a shell or a client should have replaced in it, and
//! did not, would become the name of a folder.

use std::path::PathBuf;

/// Why a text is no path of a file here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    #[error("a variable is left in it, and nothing replaces it here: write the path out, from the root on")]
    Variable,
    #[error("the `~` is left in it, and nothing replaces it here: write the path of the home directory out (a folder of that name is ./~)")]
    Home,
    #[error("it is an address: write a path, from the root on")]
    Address,
    #[error("quotation marks are left around it: leave them out")]
    Quoted,
}

/// Refuses a path in which something is left that was meant to be replaced.
///
/// # Errors
/// [`NoPath`] names what is left in it and what to write instead.
pub fn check(text: &str) -> Result<(), NoPath> {
    if text.starts_with('~') {
        return Err(NoPath::Home);
    }
    if has_variable(text) {
        return Err(NoPath::Variable);
    }
    if is_address(text) {
        return Err(NoPath::Address);
    }
    let quoted = |mark| text.len() > 1 && text.starts_with(mark) && text.ends_with(mark);
    if quoted('"') || quoted('\'') { Err(NoPath::Quoted) } else { Ok(()) }
}

/// The same of an argument, which is handed on as it came.
///
/// # Errors
/// As [`check`].
pub fn checked(path: PathBuf) -> Result<PathBuf, NoPath> {
    check(&path.to_string_lossy())?;
    Ok(path)
}

/// `${NAME}`, `$NAME`, `$(…)` and `` `…` `` of shells, `%NAME%` of Windows, `{env:NAME}` and `{{name}}` of clients and templates.
fn has_variable(text: &str) -> bool {
    let begins_name = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let dollar = text.match_indices('$').any(|(at, _)| {
        let rest = &text[at + 1..];
        rest.starts_with(['{', '(']) || begins_name(rest)
    });
    let percent = text.split('%').skip(1).collect::<Vec<_>>();
    let percent = percent.split_last().is_some_and(|(_, inner)| {
        inner.iter().any(|name| begins_name(name) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_()".contains(&b)))
    });
    dollar || percent || text.contains('`') || ["{{", "{env:", "{file:"].iter().any(|form| text.contains(form))
}

/// `scheme://…`, `file:…`, and a drive of Windows.
fn is_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let named =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b));
    named && (rest.starts_with('/') || rest.starts_with('\\') || ["file", "sled"].contains(&scheme.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_to_be_replaced_is_no_path() {
        use crate::domain::place::NoPath::Address;
        use crate::domain::place::NoPath::Home;
        use crate::domain::place::NoPath::Quoted;
        use crate::domain::place::NoPath::Variable;
        for (text, why) in [
            ("~", Home),
            ("~/x", Home),
            ("~ada/x", Home),
            ("${workspaceFolder}/.cs", Variable),
            ("/home/${USER}/x", Variable),
            ("${X:-/abs}", Variable),
            ("$HOME/x", Variable),
            ("/srv/$APP", Variable),
            ("$env:APPDATA/x", Variable),
            ("$(pwd)/x", Variable),
            ("`pwd`/x", Variable),
            ("%APPDATA%/x", Variable),
            ("%ProgramFiles(x86)%\\x", Variable),
            ("{env:HOME}/x", Variable),
            ("{{home}}/x", Variable),
            ("file:///x", Address),
            ("file:x", Address),
            ("FILE:/x", Address),
            ("https://x.example/y", Address),
            ("sled:/srv/x", Address),
            ("vscode-remote://x/y", Address),
            ("C:\\Users\\x", Address),
            ("C:/x", Address),
            ("\"/srv/x\"", Quoted),
            ("'x'", Quoted),
        ] {
            assert_eq!(check(text), Err(why), "{text}");
        }
        for path in
            ["/srv/x", "x", "./~", "a/~x", "a$", "100%", "50%-60%", "%20a%20", "a:b", "2026-01-01T12:00", "/srv/a:/b", "it's", "ü/€"]
        {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }
}
