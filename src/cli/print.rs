//! What goes to stdout: tables for people, one JSON document for programs. Nobody's text commands the terminal.

use crate::cli::failure::Failure;
use serde::Serialize;
use std::{
    borrow::Cow,
    io::{self, Write},
};

/// Whether a terminal would obey a character, or show the others in another order (Unicode's bidirectional controls).
fn commands(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text with such characters written out as JSON does, all but `kept`.
pub fn escaped<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let escape = |c: char| commands(c) && !kept.contains(&c);
    if !text.contains(escape) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if escape(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Prints lines. A reader that went away (`| head`) is no failure.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(escaped(text, &['\n', '\t']).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

pub fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{}\n", escaped(line, &[])))
}

/// A line for whoever looks on: what it is said of goes on without them, and without room for it.
pub fn say(said: &str) {
    let _ = line(said);
}

/// Tells the one who looks on, on stderr. Where nobody does any more, as behind a client that closed it, nothing is lost.
pub fn note(note: &str) {
    tell(&format!("{}\n", escaped(note, &['\n', '\t'])));
}

/// Writes to stderr as it is. Never fails: `eprint!` would end the process when nobody reads.
pub fn tell(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    text(&format!("{}\n", serde_json::to_string_pretty(value).map_err(Failure::failed)?))
}

/// A table with aligned columns; the last one is as wide as it is.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| escaped(cell, &[])).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|title| title.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    let head: Vec<_> = head.iter().map(|title| Cow::Borrowed(*title)).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    text(&out)
}
