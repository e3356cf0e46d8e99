//! How the members of a request may be spelled, and which of them nobody knows.
//!
//! Where a request states a requirement or a right, what is not understood must not let more through: such a type denies
//! members it does not know (`deny_unknown_fields`), which the document then says, too.

use crate::{
    api::error::Error,
    domain::{nearest::nearest, pasted, scope::Scope},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize,
    de::{self, Deserializer, SeqAccess, Visitor, value::MapDeserializer},
};
use std::{borrow::Cow, fmt, iter::once, marker::PhantomData};

/// Refuses a member that a type does not take, and names the one that was meant.
pub fn known<'de, T: Deserialize<'de>>(name: &'de str) -> Result<(), Error> {
    let Some(all) = others_than::<T>(name) else { return Ok(()) };
    let meant = nearest(name, all.iter().copied());
    let hint = meant.map_or_else(|| "nothing is".to_owned(), |meant| format!("did you mean `{meant}`?"));
    Err(Error::invalid(pasted::name(name), format!("is not known here; {hint}")))
}

/// Refuses what stands in the address of a request whose body says everything.
pub fn nothing_in_the_address<'de, T: Deserialize<'de>>(query: Option<&str>) -> Result<(), Error> {
    let Some((name, _)) = query.and_then(|query| form_urlencoded::parse(query.as_bytes()).next()) else { return Ok(()) };
    // A name that no type has.
    match others_than::<T>("") {
        Some(_) => Err(Error::invalid(pasted::name(&name), "does not belong in the address: send it in the body")),
        None => Ok(()),
    }
}

/// All members of a type that takes no others, if this is one of those: asked of the type itself, by giving it a member
/// of that name and hearing what it says.
fn others_than<'de, T: Deserialize<'de>>(name: &'de str) -> Option<&'static [&'static str]> {
    let object = MapDeserializer::<_, Heard>::new(once((name, ())));
    T::deserialize(object).err().and_then(|Heard(expected)| expected)
}

#[derive(Debug)]
struct Heard(Option<&'static [&'static str]>);

impl de::Error for Heard {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self(Some(expected))
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not of that type")
    }
}

impl std::error::Error for Heard {}

/// A whole number, however a client writes it: `5.0` is the integer 5 (JSON Schema 2020-12 §6.1.1), and some languages
/// know no other numbers. Text is none, and neither is half of one.
#[derive(Debug, Clone, Copy)]
pub struct Whole<T>(pub T);

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(WholeVisitor(PhantomData))
    }
}

struct WholeVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i128>> WholeVisitor<T> {
    fn fitted<E: de::Error>(number: i128) -> Result<Whole<T>, E> {
        let wrong = if number < 0 { "must not be so low" } else { "must not be so large" };
        T::try_from(number).map(Whole).map_err(|_| E::custom(wrong))
    }
}

impl<T: TryFrom<i128>> Visitor<'_> for WholeVisitor<T> {
    type Value = Whole<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Self::fitted(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Self::fitted(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        whole(number).map_or_else(|| Err(E::custom("must be a whole number")), Self::fitted)
    }
}

impl<T: JsonSchema> JsonSchema for Whole<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The integer a floating-point number is. Larger ones than these were rounded by whoever wrote them.
pub fn whole(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i128)
}

/// A whole number where all is text: in a query or a form.
pub fn number<'de, D: Deserializer<'de>, T: TryFrom<i128>>(d: D) -> Result<Option<T>, D::Error> {
    let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
    let read = text.parse::<i128>().ok().or_else(|| text.parse().ok().and_then(whole));
    read.and_then(|number| T::try_from(number).ok()).map(Some).ok_or_else(|| de::Error::custom("must be a whole number in its range"))
}

/// Scopes: a list, or one text with spaces between them (RFC 6749 §3.3).
#[derive(Debug, Clone)]
pub struct Words(pub Vec<String>);

impl Words {
    pub fn spaced(&self) -> String {
        self.0.join(" ")
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of scopes, or a text with spaces between them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
        Ok(Words(text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = seq.next_element::<String>()? {
            // An empty one would vanish where they are joined.
            if word.is_empty() || word.contains(char::is_whitespace) {
                return Err(de::Error::custom("must list scopes, each by itself and none of them empty"));
            }
            words.push(word);
        }
        Ok(Words(words))
    }
}

impl JsonSchema for Words {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scopes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["array", "string"], "items": Scope::json_schema(generator)})
    }
}
