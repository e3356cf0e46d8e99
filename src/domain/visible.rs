//! Which characters a short text may hold that people read on pages and in terminals: what has a shape of its own, and
//! stays where it stands.
//!
//! Categories and scripts are Unicode's own (UAX #44), so what a later version adds is right without a list here.
//! Joiners and selectors are text where the standards say so (UTS #51 for emoji, UAX #31 for scripts) and nowhere else.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, Emoji, EmojiModifier, ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, Script},
};

/// Marks of no script in particular that a base may carry: accents on a Vietnamese vowel are two.
const MAX_ACCENTS: usize = 2;

/// Marks of the base's own script: spelling, as in Tibetan or Burmese; none of them twice (UTS #39 §5.4).
const MAX_MARKS: usize = 4;
const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';

/// Asks for the colourful form of what stands before it; keyboards add it by themselves.
const EMOJI_STYLE: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';

/// Symbols without a shape: a braille cell without dots, a note without a head, a stand-in for an object, and the sign of
/// a text that was lost.
const BLANK: [char; 4] = ['\u{2800}', '\u{1d159}', '\u{fffc}', '\u{fffd}'];

/// What is shown in the place of a character that may not stand there.
const STAND_IN: char = '□';

/// Scripts whose spelling uses joiners between letters.
const JOINED: [Script; 19] = [
    Script::Arabic,
    Script::Syriac,
    Script::Mandaic,
    Script::Nko,
    Script::Mongolian,
    Script::Devanagari,
    Script::Bengali,
    Script::Gurmukhi,
    Script::Gujarati,
    Script::Oriya,
    Script::Tamil,
    Script::Telugu,
    Script::Kannada,
    Script::Malayalam,
    Script::Sinhala,
    Script::Khmer,
    Script::Myanmar,
    Script::Tibetan,
    Script::Balinese,
];

/// A text without spaces around it, each of its spaces the plain one, if all of it can be seen.
/// `joiners`: whether those that are part of a text may stand in it.
pub fn visible(text: &str, joiners: bool) -> Option<String> {
    let chars = plain_spaces(text);
    let fits = |at| fits(&chars, at) && (joiners || !matches!(chars[at], ZWNJ | ZWJ | EMOJI_STYLE));
    (0..chars.len()).all(fits).then(|| chars.iter().collect())
}

/// The same of a text that was taken in when less was refused, so that it can be shown: marks too many are left out,
/// other characters have a stand-in.
pub fn made_visible(text: &str) -> String {
    let mut chars = plain_spaces(text);
    let mut at = 0;
    while at < chars.len() {
        if fits(&chars, at) {
            at += 1;
        } else if is_mark(chars[at]) && at > 0 && chars[at - 1] != ' ' {
            chars.remove(at);
        } else {
            chars[at] = STAND_IN;
            // What stood before it may have needed it, a keycap's digit or a joiner.
            at = at.saturating_sub(2);
        }
    }
    chars.into_iter().collect()
}

fn plain_spaces(text: &str) -> Vec<char> {
    let space = |c| if category(c) == GeneralCategory::SpaceSeparator { ' ' } else { c };
    text.trim().chars().map(space).collect()
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

fn is_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(category(c))
}

fn is_pictograph(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

/// Whether the character at this place may stand there, between its neighbours.
fn fits(chars: &[char], at: usize) -> bool {
    use GeneralCategory as G;
    let c = chars[at];
    match c {
        EMOJI_STYLE => follows_emoji(chars, at),
        ZWJ => joins_emoji(chars, at) || joins_letters(chars, at),
        ZWNJ => joins_letters(chars, at),
        _ if BLANK.contains(&c) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) => false,
        _ => match category(c) {
            G::Control | G::Format | G::PrivateUse | G::Surrogate | G::Unassigned | G::LineSeparator | G::ParagraphSeparator => false,
            G::NonspacingMark | G::SpacingMark | G::EnclosingMark => is_carried(chars, at),
            _ => true,
        },
    }
}

/// Whether a mark stands on something, and does not grow a tower there.
fn is_carried(chars: &[char], at: usize) -> bool {
    let below = chars[..at].iter().rev().take_while(|&&c| is_mark(c)).count();
    let Some(base) = at.checked_sub(below + 1).map(|base| chars[base]).filter(|&base| base != ' ') else { return false };
    let stack = &chars[at - below..=at];
    let accents = stack.iter().filter(|&&mark| script(mark) != script(base)).count();
    accents <= MAX_ACCENTS && stack.len() <= MAX_MARKS && !stack[..below].contains(&chars[at])
}

/// After an emoji, or within a keycap such as 1️⃣ (UTS #51 ED-9a, ED-20).
fn follows_emoji(chars: &[char], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| chars[before]) else { return false };
    CodePointSetData::new::<Emoji>().contains(before) && (!before.is_ascii() || chars.get(at + 1) == Some(&KEYCAP))
}

/// Between two emoji, of which the first may have its colourful form or a colour of skin (UTS #51 ED-16).
fn joins_emoji(chars: &[char], at: usize) -> bool {
    let modifier = |c: char| c == EMOJI_STYLE || CodePointSetData::new::<EmojiModifier>().contains(c);
    let before = chars[..at].iter().rev().copied().find(|&c| !modifier(c));
    before.is_some_and(is_pictograph) && chars.get(at + 1).copied().is_some_and(is_pictograph)
}

/// Between two letters of one script that uses joiners (UAX #31 §2.3); the first may carry marks.
fn joins_letters(chars: &[char], at: usize) -> bool {
    let before = chars[..at].iter().rev().copied().find(|&c| !is_mark(c));
    let after = chars.get(at + 1).copied();
    let (Some(before), Some(after)) = (before, after) else { return false };
    let letters = [before, after].iter().all(|&c| GeneralCategoryGroup::Letter.contains(category(c)));
    letters && script(before) == script(after) && JOINED.contains(&script(before))
}
