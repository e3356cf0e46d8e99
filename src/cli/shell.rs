//! Words and paths as a shell reads them.

use std::path::Path;

pub fn tilde(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(|rest| format!("~/{}", rest.display()))) {
        Some(short) => short,
        None => path.display().to_string(),
    }
}

/// Words as a shell reads them back.
pub fn shell_line(words: &[String]) -> String {
    let plain = |word: &String| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:@%+,".contains(&b));
    let quoted = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
