//! What somebody pasted where a token goes: the token, without what came along; or a placeholder that was never filled in.
//!
//! Headers, bodies, forms, tool arguments, variables and files are all read by this, so that none of them takes for a
//! token, or for nothing, what another does not.

use crate::domain::characters::{is_b64token, only};
use icu_properties::{
    CodePointSetData,
    props::{DefaultIgnorableCodePoint, QuotationMark},
};
use std::borrow::Cow;

/// What is said where a token goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// Nothing, or a word or form for nothing: empty, `undefined`, `[object Object]`, `<your-key>`.
    Nothing,
    /// The name of a value that nobody put in its place: `$NAME`, `${NAME:-}`, `{env:NAME}`, `{{NAME}}`, `%NAME%`.
    Reference,
    /// A token, right or wrong, without what came along.
    Token(&'a str),
}

/// Words that programs write for a value they don't have.
const WORDS: [&str; 8] = ["undefined", "null", "none", "nil", "nan", "(null)", "<nil>", "[object object]"];

/// Between these stands what a human was to replace.
const FORMS: [(char, char); 3] = [('<', '>'), ('[', ']'), ('(', ')')];

/// Reads what stands where a token goes.
pub fn said(text: &str) -> Said<'_> {
    let token = bare(text);
    // What most tokens are made of needs no closer look; the longest of the words is shorter.
    if token.len() > 16 && only(token, |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.') {
        return Said::Token(token);
    }
    let is_word = WORDS.iter().any(|word| token.eq_ignore_ascii_case(word));
    if is_word || !token.chars().any(char::is_alphanumeric) {
        return Said::Nothing;
    }
    // What can be a token by its characters is one, and a key put into a form is no form.
    if is_b64token(token) || holds_a_secret(token) {
        return Said::Token(token);
    }
    if let Some(default) = default_of(token) {
        // A shell would put this in the name's place.
        return match said(default) {
            Said::Token(_) => Said::Token(token),
            Said::Nothing | Said::Reference => Said::Reference,
        };
    }
    match () {
        () if is_reference(token) => Said::Reference,
        () if FORMS.iter().any(|(open, close)| token.starts_with(*open) && token.ends_with(*close)) => Said::Nothing,
        () => Said::Token(token),
    }
}

/// A token without what came along when it was copied: white space and invisible characters of any kind, quotes, and the
/// scheme of a header, around it and in any order. What is inside stays as it is.
pub fn bare(text: &str) -> &str {
    let mut text = text;
    loop {
        let inner = text.trim_matches(came_along);
        let inner = without_scheme(inner).unwrap_or(inner);
        if inner.len() == text.len() {
            return text;
        }
        text = inner;
    }
}

/// Whether a character is no part of any token, and often beside one.
pub fn came_along(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_graphic() || matches!(c, '"' | '\'' | '`');
    }
    let quote = CodePointSetData::new::<QuotationMark>().contains(c) || matches!(c, '´' | '′' | '″');
    let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) || matches!(c, '\u{2800}' | '\u{fff9}'..='\u{fffb}');
    quote || invisible || c.is_whitespace() || c.is_control()
}

/// What follows `Bearer ` or `ApiKey `, in any case.
fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = (text.get(..6)?, text.get(6..)?);
    let ours = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("apikey");
    (ours && (rest.is_empty() || rest.starts_with(came_along))).then_some(rest)
}

/// A name that somebody sent, as an error may repeat it: a secret that was sent in a name's place is not told.
pub fn name(text: &str) -> Cow<'_, str> {
    const SHOWN_CHARS: usize = 12;
    const MAX_BYTES: usize = 64;
    if text.len() <= MAX_BYTES && !holds_a_secret(text) {
        return text.into();
    }
    text.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

/// Whether there is a run of letters and digits in it that nobody would choose for a name.
fn holds_a_secret(text: &str) -> bool {
    let mut runs = text.split(|c: char| !c.is_ascii_alphanumeric());
    runs.any(|run| run.len() >= 20 && run.contains(|c: char| c.is_ascii_digit()) && run.contains(|c: char| c.is_ascii_alphabetic()))
}

/// What `${NAME:-default}` falls back to.
fn default_of(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}')?.split_once(":-").map(|(_, default)| default)
}

fn is_reference(text: &str) -> bool {
    let between = |open: &str, close: char| text.strip_prefix(open).is_some_and(|rest| rest.ends_with(close));
    let name = |text: &str| {
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.'))
    };
    let addressed = |(scheme, rest): (&str, &str)| name(scheme) && !rest.is_empty();
    between("{", '}')
        || ["${", "#{", "%{", "@{"].iter().any(|open| between(open, '}'))
        || between("$(", ')')
        || between("%", '%')
        || text.strip_prefix('%').is_some_and(|rest| rest.starts_with('('))
        || text.strip_prefix('$').is_some_and(|rest| name(rest) || rest.starts_with('{'))
        // A password manager's address of a value: `op://vault/item`.
        || text.split_once("://").is_some_and(addressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cs_live_0123456789ABCDEFGHIJKLMNOPQRST0abcde";

    #[test]
    fn what_came_along_is_no_part_of_a_token() {
        for around in [
            "K",
            "K\n",
            "\r\nK\r\n",
            " K\t",
            "\u{a0}K\u{2003}",
            "\u{feff}K\u{200b}",
            "\u{ad}K\u{2060}",
            "\"K\"",
            "'K'",
            "`K`",
            "“K”",
            "«K»",
            "「K」",
            "\u{115f}K\u{e0100}\u{e0020}",
            "Bearer K",
            "bearer  K\n",
            "BEARER\tK",
            "ApiKey K",
            "\"Bearer K\"",
            "Bearer \"K\"",
            "Bearer 'Bearer K'\u{a0}",
            "Bearer\u{a0}K",
            " \u{202a}K\u{202c}\u{0}",
        ] {
            let text = around.replace('K', KEY);
            // The scheme's own letters were replaced with.
            let text = text.replace(&format!("Api{KEY}ey"), "ApiKey");
            assert_eq!(said(&text), Said::Token(KEY), "{around:?}");
        }
    }

    #[test]
    fn what_is_inside_stays() {
        for inside in ["a b", "a\u{200b}b", "key=a", "Bearer:a", "BearerX", "a, b", "a;", "x Bearer a"] {
            assert_eq!(bare(inside), inside);
            assert_eq!(bare(&format!("Bearer \"{inside}\"\n")), inside);
        }
    }

    #[test]
    fn a_secret_in_the_place_of_a_name_is_not_told() {
        assert_eq!((name("scopes"), name("status[]")), ("scopes".into(), "status[]".into()));
        assert_eq!((&*name(KEY), &*name(&"x".repeat(65))), ("cs_live_0123…", "xxxxxxxxxxxx…"));
    }

    #[test]
    fn what_stands_for_nothing_is_nothing() {
        for text in [
            "",
            " ",
            "\u{a0}\n",
            "Bearer",
            "bearer ",
            "Bearer Bearer ",
            "\"\"",
            "''",
            "undefined",
            "Null",
            "NONE",
            "\"null\"",
            "Bearer undefined",
            "[object Object]",
            "<nil>",
            "(null)",
            "NaN",
            "<your-key>",
            "Bearer <your key here>",
            "[KEY]",
            "***",
            "...",
            "=",
            "-",
            "•••",
        ] {
            assert_eq!(said(text), Said::Nothing, "{text:?}");
        }
    }

    #[test]
    fn a_name_in_place_of_its_value_is_a_reference() {
        for text in [
            "$COUNTERSIGN_API_KEY",
            "Bearer $COUNTERSIGN_API_KEY",
            "${KEY}",
            "${KEY:-}",
            "${env:KEY}",
            "${input:key}",
            "${KEY:-${OTHER}}",
            "${KEY:-undefined}",
            "$env:KEY",
            "{env:KEY}",
            "{file:~/key}",
            "{{KEY}}",
            "{{ secrets.KEY }}",
            "${{ secrets.KEY }}",
            "%KEY%",
            "%(KEY)s",
            "$(cat key)",
            "#{KEY}",
            "op://vault/item/field",
            "\"$KEY\"",
            "${KEY",
        ] {
            assert_eq!(said(text), Said::Reference, "{text:?}");
        }
    }

    #[test]
    fn a_wrong_key_is_still_one() {
        for text in [
            "cs_live_x",
            "x",
            "ab.c-d_e~f+g/h==",
            "${KEY:-acme_1}",
            "${KEY:-cs_live_0123456789ABCDEFGHIJKLMNOPQRST0abcde}",
            "$2b$10$abc",
            "<cs_live_0123456789ABCDEFGHIJKLMNOPQRST0abcde>",
            "YOUR_API_KEY",
            "nullable",
            "100%",
            "clé",
            "a b",
            "$cs_live_0123456789ABCDEFGHIJKL",
        ] {
            assert!(matches!(said(text), Said::Token(_)), "{text:?}: {:?}", said(text));
        }
    }
}
