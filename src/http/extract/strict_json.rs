//! JSON whose names are looked at before its values: none twice, and none that is unknown where it would matter.

use crate::domain::pasted;
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// Any JSON value in which no object has a member twice: two readers of such a body could disagree on what it says.
/// Of an object, the names of its members.
pub struct Strict<'a>(pub Option<Vec<Name<'a>>>);

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Strict<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Strict(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Strict(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Strict(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Strict(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Strict(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Strict(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<Strict<'de>>()?.is_some() {}
        Ok(Strict(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some((name, _)) = map.next_entry::<Name<'de>, Strict<'de>>()? {
            names.push(name);
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(serde::de::Error::custom(format!("member `{}` is there twice", pasted::name(&pair[0].0)))),
            None => Ok(Strict(Some(names))),
        }
    }
}
