//! Reads chosen members of a JSON object as raw text and passes over the rest.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A set of wanted members of a JSON object, the rest passed over.
pub(super) trait Wanted<'de>: Default {
    /// Reads the value of `key`, or passes over it.
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads wanted members from an object; a value of another type counts as an object without members.
pub(super) struct Members<T>(pub T);

impl<'de, T: Wanted<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor(PhantomData)).map(Members)
    }
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Wanted<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        #[derive(serde::Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut wanted = T::default();
        while let Some(Key(key)) = map.next_key()? {
            wanted.member(&key, &mut map)?;
        }
        Ok(wanted)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

/// Reads a raw value into `slot`; a second one is refused, since parsers disagree on which of two counts.
pub(super) fn once<'de, A: MapAccess<'de>>(slot: &mut Option<&'de str>, map: &mut A) -> Result<(), A::Error> {
    let raw: &'de RawValue = map.next_value()?;
    match slot.replace(raw.get()) {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("a member stands twice in one object")),
    }
}

/// Reads a nested object of wanted members, once.
pub(super) fn nested<'de, T: Wanted<'de>, A: MapAccess<'de>>(seen: &mut bool, map: &mut A) -> Result<T, A::Error> {
    if std::mem::replace(seen, true) {
        return Err(A::Error::custom("a member stands twice in one object"));
    }
    map.next_value().map(|Members(wanted)| wanted)
}

pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}
