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
                struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut members = Vec::new();
                while let Some((Key(key), raw)) = map.next_entry()? {
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

/// Members, raw, as they must be written behind the `{` of an object whose text goes on with `rest`.
pub(in crate::hub) fn before(rest: &str, members: &str) -> String {
    let comma = if members.is_empty() || rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{members}{comma}")
}

/// A raw object with members, raw, put first in it; what is no object counts as an empty one.
pub(in crate::hub) fn put_first(object: &str, members: &str) -> String {
    let rest = object.trim_start().strip_prefix('{').unwrap_or("}");
    format!("{{{}{rest}", before(rest, members))
}

/// Likewise, put last.
pub(in crate::hub) fn put_last(object: &str, members: &str) -> String {
    let rest = object.trim_end().strip_suffix('}').unwrap_or("{");
    let comma = if members.is_empty() || rest.trim_end().ends_with('{') { "" } else { "," };
    format!("{rest}{comma}{members}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_put_where_they_belong() {
        for (object, first, last) in [
            (r#"{"a":1}"#, r#"{"x":0,"a":1}"#, r#"{"a":1,"x":0}"#),
            ("{ }", r#"{"x":0 }"#, r#"{ "x":0}"#),
            (r#" {"a":{}} "#, r#"{"x":0,"a":{}} "#, r#" {"a":{},"x":0}"#),
            ("null", r#"{"x":0}"#, r#"{"x":0}"#),
        ] {
            assert_eq!((put_first(object, r#""x":0"#), put_last(object, r#""x":0"#)), (first.into(), last.into()));
        }
        assert_eq!(
            (put_first(r#"{"a":1}"#, ""), put_last(r#"{"a":1}"#, "")),
            (r#"{"a":1}"#.into(), r#"{"a":1}"#.into())
        );
    }
}
