//! Rewrites single members of a message: what is not rewritten stays the text that was sent.

use std::ops::Range;

/// A frame without one member, which `value`, a slice of it, is the value of.
pub fn without(frame: &str, value: &str) -> String {
    let from = (value.as_ptr() as usize).wrapping_sub(frame.as_ptr() as usize);
    let (before, behind) = (&frame[..from], &frame[from + value.len()..]);
    // Back over the name.
    let name = before.rfind('"').and_then(|end| before[..end].rfind('"')).unwrap_or(from);
    let before = before[..name].trim_end();
    match (before.strip_suffix(','), behind.trim_start().strip_prefix(',')) {
        (Some(before), _) => format!("{before}{behind}"),
        (None, Some(behind)) => format!("{before}{behind}"),
        (None, None) => format!("{before}{behind}"),
    }
}

/// One replacement in a frame.
#[derive(Debug, Clone)]
pub struct Edit<'a> {
    pub at: Range<usize>,
    pub with: &'a str,
}

/// Appends `frame` to `out` with the edits carried out. Edits must not overlap; their order does not matter.
pub fn splice(frame: &str, edits: &mut [Edit<'_>], out: &mut Vec<u8>) {
    pieces(frame.len(), edits, |piece| match piece {
        Piece::Kept(range) => out.extend_from_slice(&frame.as_bytes()[range]),
        Piece::Put(with) => out.extend_from_slice(with.as_bytes()),
    });
}

/// What a frame is made of, with edits carried out.
pub enum Piece<'e> {
    /// What stands there in the frame.
    Kept(Range<usize>),
    Put(&'e str),
}

/// The pieces of a frame of `length` bytes with the edits carried out, in order.
pub fn pieces<'e>(length: usize, edits: &mut [Edit<'e>], mut each: impl FnMut(Piece<'e>)) {
    edits.sort_unstable_by_key(|edit| edit.at.start);
    let mut done = 0;
    for edit in edits {
        each(Piece::Kept(done..edit.at.start));
        each(Piece::Put(edit.with));
        done = edit.at.end;
    }
    each(Piece::Kept(done..length));
}

/// A frame with the edits carried out.
pub fn spliced<'e>(frame: &str, edits: impl IntoIterator<Item = Edit<'e>>) -> String {
    let mut edits: Vec<_> = edits.into_iter().collect();
    let more = edits.iter().map(|edit| edit.with.len()).sum::<usize>();
    let mut out = Vec::with_capacity(frame.len() + more);
    splice(frame, &mut edits, &mut out);
    // Edits stand for whole parts of a text.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;

    #[test]
    fn a_member_is_taken_out_with_its_comma() {
        for (frame, expected) in [
            (
                r#"{"id":1,"method":"m","params":{"a":1, "requestState" : "s" ,"b":2}}"#,
                r#"{"id":1,"method":"m","params":{"a":1 ,"b":2}}"#,
            ),
            (
                r#"{"id":1,"method":"m","params":{"requestState":"s", "b":2}}"#,
                r#"{"id":1,"method":"m","params":{ "b":2}}"#,
            ),
            (r#"{"id":1,"method":"m","params":{"requestState":"s"}}"#, r#"{"id":1,"method":"m","params":{}}"#),
        ] {
            let envelope = Envelope::parse(frame.as_bytes()).expect("valid");
            assert_eq!(without(frame, envelope.params.request_state.expect("there")), expected);
        }
    }
}
