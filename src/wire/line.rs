//! One message is one line to every reader, whatever it takes for the end of a line.
//!
//! JSON allows a carriage return between members, and U+0085, U+2028 and U+2029 in strings. Python's text mode and Java's
//! `readLine` end a line at the first, Python's `splitlines`, Swift and Node's `readline` at others of them: what comes behind it
//! would be a message of its own to them, that nobody has checked.

use bytes::Bytes;
use memchr::memmem;

/// A message without a line end.
pub(super) fn one(message: Bytes) -> Bytes {
    if has_line_end(&message) { joined(&message).into() } else { message }
}

/// Rewrites what stands in `out` from `from` on, a message, so that it has no line end: between members one becomes a space, in a
/// string it is written as an escape.
pub(super) fn join(out: &mut Vec<u8>, from: usize) {
    let message = &out[from..];
    if has_line_end(message) {
        let joined = joined(message);
        out.truncate(from);
        out.extend_from_slice(&joined);
    }
}

fn has_line_end(message: &[u8]) -> bool {
    memchr::memchr2(b'\n', b'\r', message).is_some()
        || !message.is_ascii()
            && ["\u{85}", "\u{2028}", "\u{2029}"].iter().any(|end| memmem::find(message, end.as_bytes()).is_some())
}

fn joined(message: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(message.len() + 64);
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = message;
    while let [byte, behind @ ..] = rest {
        let (escape, length) = match rest {
            [b'\n', ..] => ("\\n", 1),
            [b'\r', ..] => ("\\r", 1),
            [0xc2, 0x85, ..] => ("\\u0085", 2),
            [0xe2, 0x80, 0xa8, ..] => ("\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => ("\\u2029", 3),
            _ => {
                match *byte {
                    _ if escaped => escaped = false,
                    b'\\' if in_string => escaped = true,
                    b'"' => in_string = !in_string,
                    _ => {}
                }
                joined.push(*byte);
                rest = behind;
                continue;
            }
        };
        joined.extend_from_slice(if in_string { escape.as_bytes() } else { b" " });
        rest = &rest[length..];
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_no_line_end() {
        for (message, line) in [
            ("{\"a\":1,\r\"b\":2}", "{\"a\":1, \"b\":2}"),
            ("{\r\n\t\"a\\\"\":\"x\"\n}", "{  \t\"a\\\"\":\"x\" }"),
            ("{\"a\u{85}\":\"\u{2028}\\\\\u{2029}\"}", r#"{"a\u0085":"\u2028\\\u2029"}"#),
            // Their neighbours, which are letters and marks.
            ("{\"a\":\"\u{a0}\u{2027}\u{202a}\u{c285}\"}", "{\"a\":\"\u{a0}\u{2027}\u{202a}\u{c285}\"}"),
        ] {
            let mut out = b"before\n".to_vec();
            out.extend_from_slice(message.as_bytes());
            join(&mut out, 7);
            assert_eq!(String::from_utf8_lossy(&out), format!("before\n{line}"));
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
    }
}
