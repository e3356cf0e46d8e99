//! The code a human compares and types.

use crate::domain::secret::nfkc;
use std::{fmt, str::FromStr};

/// RFC 8628 §6.1: consonants only, so that no code spells a word or mixes up 0 and O.
const CODE_ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What the agent shows and the human enters: `WDJB-MJHT`. Stored as a keyed hash.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// A code from secret bytes, without bias: bytes past the last multiple of 20 are skipped.
    pub fn new(mut byte: impl FnMut() -> u8) -> Self {
        let mut code = String::with_capacity(8);
        while code.len() < 8 {
            let b = byte();
            if b < 240 {
                code.push(CODE_ALPHABET[usize::from(b % 20)] as char);
            }
        }
        Self(code)
    }

    /// The eight letters without the dash: what is hashed.
    pub fn letters(&self) -> &str {
        &self.0
    }

    /// As printed, `XXXX-XXXX`.
    pub fn expose(&self) -> String {
        format!("{}-{}", &self.0[..4], &self.0[4..])
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(redacted)")
    }
}

impl FromStr for UserCode {
    type Err = ();

    /// Reads a code as people type and paste it: whatever else came along (spaces, dashes, quotes, invisible characters,
    /// the end of a sentence) is dropped, and letters and digits no code has are read as the letter they resemble.
    /// `Err`: there are no eight letters, so it is no code and no guess.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = nfkc(text);
        let letters = || text.chars().filter_map(letter);
        let letters_or_digits = || text.chars().filter_map(|c| letter(c).or_else(|| digit(c)));
        // A digit is part of the code only where the code lacks a letter, not in "1. WDJB-MJHT".
        let code: String = if letters().count() == 8 { letters().collect() } else { letters_or_digits().take(9).collect() };
        if code.len() == 8 { Ok(Self(code)) } else { Err(()) }
    }
}

fn letter(c: char) -> Option<char> {
    match c.to_ascii_uppercase() {
        'O' => Some('Q'),
        'I' => Some('L'),
        'U' | 'Y' => Some('V'),
        c => c.is_ascii_uppercase().then_some(c),
    }
}

fn digit(c: char) -> Option<char> {
    match c {
        '0' => Some('Q'),
        '1' => Some('L'),
        '2' => Some('Z'),
        '5' => Some('S'),
        '6' => Some('G'),
        '8' => Some('B'),
        _ => None,
    }
}
