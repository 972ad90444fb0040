//! The members of a raw object, in their order.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::envelope::quoted;

/// The members of an object, in their order.
pub(in crate::hub) struct Object<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(serde::Deserialize)]
                struct ShareKey<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::new();
                while let Some((ShareKey(key), raw)) = map.next_entry()? {
                    members.push((key, raw));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A raw object without these members; `None` if it has none of them.
pub(in crate::hub) fn without(object: &str, names: &[&str]) -> Option<String> {
    let Object(members) = serde_json::from_str(object).ok()?;
    let kept: Vec<_> = members.iter().filter(|(key, _)| !names.contains(&&**key)).collect();
    if kept.len() == members.len() {
        return None;
    }
    let kept: Vec<_> = kept.into_iter().map(|(key, raw)| format!("{}:{raw}", quoted(key))).collect();
    Some(format!("{{{}}}", kept.join(",")))
}
