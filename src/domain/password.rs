//! What a password may be, and how one typed on another keyboard is still the same.
//!
//! NIST SP 800-63B: the list of what is guessed first ships in the program (`zxcvbn`), nobody is told to mix digits and
//! signs, and Unicode is normalised before it is hashed.

use crate::domain::{
    name::Email,
    secret::{Password, nfkc},
};
use std::{borrow::Cow, collections::BTreeSet};
use zeroize::Zeroizing;

/// Guesses an attacker needs who begins with what people choose. Those who try here are stopped by limits long before;
/// whoever stole the hashes pays an argon2 for each.
const MIN_GUESSES: u64 = 1_000_000_000;

/// The same without what is between the letters: `qwer-tyui-op` is still a row of keys.
const MIN_GUESSES_SQUEEZED: u64 = 1_000_000;

/// `0101101001` looks random, and there are a thousand of them.
const MIN_DIFFERENT_CHARS: usize = 5;

/// Letters and digits beside one's own address and the service's name.
const MIN_CHARS_OF_ONES_OWN: usize = 6;

/// What is looked at: the estimate takes long for long texts, and the rest only makes them harder to guess.
const MAX_CHARS_ESTIMATED: usize = 40;

const WEAK: &str = "would be guessed soon: it is often chosen, repeats itself, or follows the alphabet or the keyboard. Take four or five \
                    words that have nothing to do with each other";

const ONES_OWN: &str = "is made of your e-mail address or of this service's name, which are tried first. Take four or five words that \
                        have nothing to do with either";

impl Password {
    /// Shorter ones are guessed; NIST SP 800-63B asks for at least 8.
    pub const MIN_CHARS: usize = 10;
    /// Bounds what one request makes argon2 chew on.
    pub const MAX_BYTES: usize = 256;

    /// What is hashed: the same text whichever keyboard made it (NFKC; `é` comes as one character or as two).
    pub fn normalised(&self) -> Zeroizing<String> {
        Zeroizing::new(nfkc(self.expose()).into_owned())
    }

    /// What a stored hash may be of, likeliest first: older ones were made of the text as it was typed. None is longer
    /// than a password may be.
    pub fn forms(&self) -> Vec<Zeroizing<String>> {
        let mut forms = vec![self.normalised()];
        if forms[0].as_str() != self.expose() {
            forms.push(Zeroizing::new(self.expose().to_owned()));
        }
        forms.retain(|form| form.len() <= Self::MAX_BYTES);
        forms
    }

    /// What every new password must be, in a form; cheap.
    ///
    /// # Errors
    /// What is wrong, to follow "the password".
    pub fn fits(&self) -> Result<(), String> {
        let text = self.normalised();
        if text.chars().count() < Self::MIN_CHARS {
            return Err(format!("must have at least {} characters", Self::MIN_CHARS));
        }
        if text.len() > Self::MAX_BYTES {
            return Err(format!("must have at most {} bytes", Self::MAX_BYTES));
        }
        Ok(())
    }

    /// Whether it is hard to guess, for whoever knows the address and the service. Takes milliseconds, at worst a tenth of
    /// a second: not for a thread that serves others.
    ///
    /// # Errors
    /// What is wrong and what to do, to follow "the password".
    pub fn is_hard_to_guess(&self, email: &Email, service: &str) -> Result<(), &'static str> {
        let text = self.normalised();
        let lower = Zeroizing::new(text.to_lowercase());
        if lower.chars().collect::<BTreeSet<_>>().len() < MIN_DIFFERENT_CHARS {
            return Err(WEAK);
        }
        let known = known_words(email.as_str(), service);
        let mut own = Zeroizing::new(squeezed(&lower).into_owned());
        for word in &known {
            own = Zeroizing::new(own.replace(squeezed(word).as_ref(), ""));
        }
        if own.chars().count() < MIN_CHARS_OF_ONES_OWN {
            return Err(ONES_OWN);
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let guesses = |text: &str| {
            let head = Zeroizing::new(text.chars().take(MAX_CHARS_ESTIMATED).collect::<String>());
            zxcvbn::zxcvbn(&head, &known).guesses()
        };
        if guesses(&text) < MIN_GUESSES || guesses(&squeezed(&text)) < MIN_GUESSES_SQUEEZED {
            return Err(WEAK);
        }
        Ok(())
    }
}

/// Letters and digits only.
fn squeezed(text: &str) -> Cow<'_, str> {
    if text.chars().all(char::is_alphanumeric) { text.into() } else { text.chars().filter(|c| c.is_alphanumeric()).collect() }
}

/// What a guesser knows of this account: its address and the service's name, whole and in parts, longest first.
fn known_words(email: &str, service: &str) -> Vec<String> {
    let mut known = BTreeSet::new();
    for text in [email, service, "countersign"] {
        let text = text.to_lowercase();
        known.extend(text.split('@').map(str::to_owned));
        known.extend(text.split(|c: char| !c.is_alphanumeric()).map(str::to_owned));
        known.insert(text);
    }
    let mut known: Vec<String> = known.into_iter().filter(|word| squeezed(word).chars().count() > 2).collect();
    known.sort_by_key(|word| std::cmp::Reverse(word.len()));
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(text: &str) -> Result<(), &'static str> {
        Password::typed(text.to_owned()).is_hard_to_guess(&"alice.liddell@example.com".parse().unwrap(), "Harbour Mail")
    }

    #[test]
    fn a96_what_is_tried_first_is_refused() {
        for text in [
            "          ",
            "aaaaaaaaaa",
            "qwertyuiop",
            "QwertyUiop",
            "1234567890",
            "0987654321",
            "0101101001",
            "abcabcabcabc",
            "passwordpassword",
            "Password123!",
            "P@ssw0rd1234",
            "1q2w3e4r5t6y",
            "asdfghjkl;'",
            "zaq12wsxcde3",
            "iloveyou1234",
            "qwer-tyui-op",
            "q w e r t y u i o p",
            "p.a.s.s.w.o.r.d",
            "2026-11-27 2026",
            "monkey dragon",
            "Summer2024!!",
            "letmein12345",
            "abcdefghij",
            "ａａａａａａａａａａ",
            "ｑｗｅｒｔｙｕｉｏｐ",
        ] {
            assert_eq!(judged(text), Err(WEAK), "{text}");
        }
    }

    #[test]
    fn a96_ones_own_address_and_the_services_name_are_refused() {
        for text in [
            "alice.liddell@example.com",
            "ALICE.LIDDELL@EXAMPLE.COM",
            "alice liddell",
            "alice-liddell-example-com",
            "liddell.alice",
            "harbour-mail-1",
            "harbourmail!",
            "Harbour Countersign",
            "countersign",
            "alice harbour 12",
        ] {
            assert_eq!(judged(text), Err(ONES_OWN), "{text}");
        }
        for text in ["alice2026!!!!", "liddell123456", "Harbour1234567"] {
            assert!(judged(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_few_words_or_random_letters_are_taken() {
        for text in [
            "correct horse battery staple",
            "correct horse battery",
            "a brand new pass phrase",
            "quite another password",
            "xK9$mP2vLq",
            "alice has eleven purple umbrellas",
            "Vier grüne Lampen tanzen",
            "красный самовар едет домой",
            "四つの緑のランプが踊るよ",
        ] {
            assert_eq!(judged(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn f46_one_text_has_one_hash_whichever_keyboard_typed_it() {
        for (one, other) in
            [("Zürcher Gänse", "Zu\u{308}rcher Ga\u{308}nse"), ("ﬁne ｗｏｒｄｓ here", "fine words here"), ("한국어 문장", "한국어 문장")]
        {
            let (one, other) = (Password::typed(one.to_owned()), Password::typed(other.to_owned()));
            assert_eq!(one.normalised(), other.normalised());
        }
        assert_eq!(Password::typed("plain ASCII text".to_owned()).forms().len(), 1);
        assert_eq!(Password::typed("Ga\u{308}nse".to_owned()).forms().len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// The estimate is another's code: no text makes it panic or take long.
        #[test]
        fn any_text_is_judged(text in "\\PC{0,120}", leet in "[4@8(\\[<369!1|0$5+7%2]{0,100}") {
            let _ = judged(&text);
            let _ = judged(&leet);
        }
    }
}
