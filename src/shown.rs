//! Text of others as a terminal and a log may show it: what would move the cursor, turn the text round or hide in it is escaped.

use std::borrow::Cow;
use std::io::{self, Write};

/// Whether a character shows nothing of itself, and changes how others are shown.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{3164}'
                | '\u{ffa0}'
                | '\u{e0000}'..='\u{e01ef}'
        )
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let escapes = |letter: char| is_hidden(letter) && !stays(letter);
    if !text.contains(escapes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if escapes(letter) {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// A text of one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Shows what is written to it, in lines and columns.
#[derive(Debug)]
pub struct Shown<W>(pub W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(escaped(&text, |letter| matches!(letter, '\n' | '\t')).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What is shorter than this is no secret, and would turn up in any text.
const SHORTEST: usize = 6;

/// A text of others without what was sent to them: some repeat it in their errors.
pub fn scrubbed(text: &str, sent: &[&str]) -> String {
    let secrets = sent.iter().filter(|secret| secret.len() >= SHORTEST);
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
}

/// How much of a text that is no message is kept, in characters.
const KEPT: usize = 300;

/// A text as it may be shown: without control characters and the sequences that they begin, and not longer than needed.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => match letters.next() {
                Some('[') => while letters.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {},
                // An operating system command, which ends with BEL or ESC and a backslash.
                Some(']') => while letters.next_if(|letter| !matches!(letter, '\u{7}' | '\u{1b}')).is_some() {},
                Some(_) | None => {}
            },
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
        if out.len() > KEPT {
            out.push('…');
            break;
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_hides() {
        for (text, shown) in [
            ("plain, ünïcode, 天気, \u{1f600}", "plain, ünïcode, 天気, \u{1f600}"),
            ("\u{1b}]0;title\u{7}\u{1b}[2J", "\\u{1b}]0;title\\u{7}\\u{1b}[2J"),
            ("a\u{9b}31mb\u{7f}\u{8}\r", "a\\u{9b}31mb\\u{7f}\\u{8}\\r"),
            ("\u{202e}gnp.exe\u{2066}\u{200b}\u{feff}", "\\u{202e}gnp.exe\\u{2066}\\u{200b}\\u{feff}"),
            ("a\tb\nc", "a\tb\nc"),
        ] {
            let mut out = Vec::new();
            Shown(&mut out).write_all(text.as_bytes()).expect("written");
            assert_eq!(String::from_utf8_lossy(&out), shown);
        }
        assert_eq!(line("a\nforged\tline"), "a\\nforged\\tline");
    }
}
