//! Secrets and confirmations from whoever sits at the terminal. Never from argv: other processes read it.

use crate::{
    api::values::Revealed,
    cli::{failure::Failure, print},
};
use std::io::{self, BufRead, IsTerminal, Read};
use zeroize::Zeroizing;

/// Longest first line that is read from stdin as a secret.
const MAX_LINE_BYTES: u64 = 4096;

/// Asks without echo.
pub fn hidden(question: &str) -> Result<Revealed, Failure> {
    let typed = rpassword::prompt_password(format!("{question}: ")).map(Zeroizing::new);
    Ok(Revealed::new(&typed.map_err(|error| Failure::failed(format!("can't ask at the terminal: {error}")))?))
}

/// The first line of stdin, without the byte order mark that some shells put before it.
pub fn piped() -> Result<Revealed, Failure> {
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().take(MAX_LINE_BYTES).read_line(&mut line)?;
    Ok(Revealed::new(line.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n'])))
}

/// Hidden at a terminal, else the first line of stdin.
pub fn hidden_or_piped(question: &str) -> Result<Revealed, Failure> {
    if io::stdin().is_terminal() { hidden(question) } else { piped() }
}

/// Yes or no. Scripts say `--yes` instead.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    Ok(matches!(answered(&format!("{question} [y/N]"))?.as_str(), "y" | "Y" | "yes"))
}

/// Asks for a word, so that nothing large is done by a slip. Scripts say `--yes` instead.
pub fn typed(question: &str, word: &str) -> Result<bool, Failure> {
    Ok(answered(&format!("{question} Type {word} to go on:"))? == word)
}

fn answered(question: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage("there is no terminal to ask at: say --yes".to_owned()));
    }
    print::tell(&format!("{question} "));
    let mut answer = String::new();
    io::stdin().lock().take(64).read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}
