//! Reads chosen members of a JSON object as raw text and passes over the rest.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A set of wanted members of a JSON object, the rest passed over.
pub(super) trait Wanted<'de>: Default {
    /// How the wanted ones are spelled.
    const NAMES: &'static [&'static str];

    /// Reads the value of `key`; false, and nothing read, if it is none of the wanted.
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;

    /// Where the first member is noted that some readers would take for one of the wanted.
    fn lookalike(&mut self) -> &mut Option<Box<Lookalike>>;
}

/// Implements [`Wanted`]: each name, and how its value is read.
macro_rules! wanted {
    ($type:ident, |$this:ident, $map:ident| { $($name:literal => $read:expr,)+ }) => {
        impl<'de> Wanted<'de> for $type<'de> {
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
                let ($this, $map) = (self, map);
                match key {
                    $($name => $read?,)+
                    _ => return Ok(false),
                }
                Ok(true)
            }

            fn lookalike(&mut self) -> &mut Option<Box<Lookalike>> {
                &mut self.lookalike
            }
        }
    };
}
pub(super) use wanted;

/// A member that some readers take for one of another name, and others do not: Go's `encoding/json` and C#'s web defaults
/// ignore case, and pydantic's models, with which the Python SDK reads, take `request_id` for `requestId`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookalike {
    pub found: String,
    pub name: &'static str,
}

impl Lookalike {
    /// What `key`, which is none of `names`, can be taken for.
    pub(super) fn of(key: &str, names: &'static [&'static str]) -> Option<Self> {
        // A letter takes three bytes at most, and a separator may stand beside each; a longer key is not walked through.
        let first = folded(key).next()?;
        let can_be = |name: &str| {
            folded(name).next() == Some(first) && key.len() <= 6 * name.len() && folded(key).eq(folded(name))
        };
        let name = names.iter().find(|name| can_be(name))?;
        Some(Self { found: key.to_owned(), name })
    }
}

/// Whether a name is spelled as pydantic's models do, and as nobody does who ignores case.
fn is_snake_case(key: &str) -> bool {
    (key.contains('_') || key == "meta")
        && !key.starts_with('_')
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The letters of a name, without regard to case and separators.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|letter| !matches!(letter, '_' | '-')).map(|letter| match letter {
        // The only letters outside of ASCII that are one inside of it in another case.
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        letter => letter.to_ascii_lowercase(),
    })
}

/// Reads wanted members of a text that is one JSON value into what is there; one of another type counts as an object without
/// members. What is read is large: it is not moved on the way.
pub(super) fn read<'de, T: Wanted<'de>>(text: &'de str, wanted: &mut T) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Members(wanted).deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Reads a value likewise.
pub(super) struct Members<'w, T>(pub &'w mut T);

impl<'de, T: Wanted<'de>> DeserializeSeed<'de> for Members<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Wanted<'de>> Visitor<'de> for Members<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(serde::Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let Self(wanted) = self;
        while let Some(Key(key)) = map.next_key()? {
            if !wanted.member(&key, &mut map)? {
                let Some(found) = Lookalike::of(&key, T::NAMES) else {
                    skip(&mut map)?;
                    continue;
                };
                let value: &RawValue = map.next_value()?;
                // To who reads these, null is nothing; some writers write all that they know in this spelling, too.
                if value.get() != "null" || !is_snake_case(&key) {
                    wanted.lookalike().get_or_insert_with(|| Box::new(found));
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a raw value into `slot`; a second one is refused, since parsers disagree on which of two counts.
pub(super) fn once<'de, A: MapAccess<'de>>(slot: &mut Option<&'de str>, map: &mut A) -> Result<(), A::Error> {
    let raw: &'de RawValue = map.next_value()?;
    match slot.replace(raw.get()) {
        None => Ok(()),
        Some(_) => Err(twice()),
    }
}

pub(super) fn twice<E: serde::de::Error>() -> E {
    E::custom("a member stands twice in one object")
}

/// Reads a nested object of wanted members, once.
pub(super) fn nested<'de, T: Wanted<'de>, A: MapAccess<'de>>(
    seen: &mut bool,
    wanted: &mut T,
    map: &mut A,
) -> Result<(), A::Error> {
    if std::mem::replace(seen, true) {
        return Err(twice());
    }
    map.next_value_seed(Members(wanted))
}

/// Passes over a value.
pub(super) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_taken_for_a_name() {
        const NAMES: &[&str] = &["id", "requestId", "task", "_meta", "io.modelcontextprotocol/related-task"];
        let of = |key: &str| Lookalike::of(key, NAMES).map(|lookalike| lookalike.name);
        for (key, name) in [
            ("ID", "id"),
            ("\u{131}d", "id"),
            ("request_id", "requestId"),
            ("RequestID", "requestId"),
            ("request-id", "requestId"),
            ("ta\u{17f}\u{212a}", "task"),
            ("meta", "_meta"),
            ("Meta", "_meta"),
            ("io.modelcontextprotocol/relatedTask", "io.modelcontextprotocol/related-task"),
        ] {
            assert_eq!(of(key), Some(name), "{key}");
        }
        assert_eq!(of(&"_".repeat(1 << 20)), None);
        for key in ["ids", "d", "request", "tasks", "requestId2", "metadata", "related-task", "", "_"] {
            assert_eq!(of(key), None, "{key}");
        }
    }
}
