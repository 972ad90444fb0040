//! The span of a call, said to its server: it is the parent of the server's own (SEP-414).

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::Envelope;
use crate::hub::eras;
use crate::traces::Span;

/// The edit of a request that names trunkline's span in its `_meta`, in place of the agent's if that names one.
pub(super) fn edit(envelope: &Envelope<'_>, span: &Span) -> Option<(Range<usize>, String)> {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(borrow, default)]
        traceparent: Option<&'a RawValue>,
    }
    let own = format!("\"{}\"", span.own);
    let Some(meta) = envelope.params.meta_raw else {
        return eras::at_params(envelope.frame, &format!(r#""_meta":{{"traceparent":{own}}}"#));
    };
    let members: Members<'_> = serde_json::from_str(meta).ok()?;
    if let Some(found) = members.traceparent {
        return Some((envelope.span(found.get()), own));
    }
    let inner = meta.strip_prefix('{')?;
    let comma = if inner.trim_start().starts_with('}') { "" } else { "," };
    let at = envelope.span(meta).start + 1;
    Some((at..at, format!(r#""traceparent":{own}{comma}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Edit, spliced};
    use crate::traces::Place;

    #[test]
    fn the_span_is_named_wherever_a_meta_is_or_could_be() {
        let span = Span { own: Place { trace: 1, span: 2, flags: 1 }, parent: 0 };
        let own = r#""traceparent":"00-00000000000000000000000000000001-0000000000000002-01""#;
        for (params, expected) in [
            (r#"{"name":"a"}"#, format!(r#"{{"_meta":{{{own}}},"name":"a"}}"#)),
            (r#"{"_meta":{}}"#, format!(r#"{{"_meta":{{{own}}}}}"#)),
            (r#"{"_meta":{"progressToken":1}}"#, format!(r#"{{"_meta":{{{own},"progressToken":1}}}}"#)),
            (
                r#"{"_meta":{"x":1,"traceparent":"00-old", "tracestate":"a=b"}}"#,
                format!(r#"{{"_meta":{{"x":1,{own}, "tracestate":"a=b"}}}}"#),
            ),
        ] {
            let frame = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            let envelope = Envelope::parse(frame.as_bytes()).expect("a message");
            let (at, with) = edit(&envelope, &span).expect("an edit");
            let spliced = spliced(&frame, [Edit { at, with: &with }]);
            assert_eq!(spliced, frame.replace(params, &expected));
        }
    }
}
