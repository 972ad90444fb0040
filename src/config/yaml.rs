//! YAML as a tree that knows its lines: some agents keep their settings in it.

use std::collections::HashMap;
use std::ops::Range;

use crate::config::node::{Member, Node, Value};
use crate::config::problems::Problems;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// How many values a file may have once its aliases are replaced: a few lines of aliases of aliases are billions.
const MOST: usize = 100_000;
/// How deep values may lie in each other: each level takes a part of the stack.
const DEEPEST: usize = 128;

/// Reads the first document; `None` after a syntax error, which becomes a problem.
pub(super) fn read(text: &str, problems: &mut Problems<'_>) -> Option<Node> {
    let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
    let mut reader =
        Reader { parser: Parser::new_from_str(text), lines, anchors: HashMap::new(), left: MOST, depth: 0 };
    match reader.document() {
        Ok(Some(node)) => Some(node),
        Ok(None) => {
            problems.add(0, "the file is empty".to_owned());
            None
        }
        Err(Wrong { line, reason }) => {
            problems.add_at_line(line, format!("not valid YAML: {reason}"));
            None
        }
    }
}

struct Wrong {
    line: usize,
    reason: String,
}

impl From<ScanError> for Wrong {
    fn from(error: ScanError) -> Self {
        Self { line: error.marker().line(), reason: error.info().to_owned() }
    }
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    anchors: HashMap<usize, Node>,
    left: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Wrong> {
        self.parser.next_event().unwrap_or_else(|| Ok((Event::StreamEnd, Span::default()))).map_err(Wrong::from)
    }

    fn document(&mut self) -> Result<Option<Node>, Wrong> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => return Ok(None),
                (event, span) => return self.node(event, span).map(Some),
            }
        }
    }

    /// The line and the column are what the parser knows in characters: the line is exact.
    fn at(&self, span: Span) -> Range<usize> {
        let start = self.lines.get(span.start.line().saturating_sub(1)).copied().unwrap_or_default();
        start..start
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Wrong> {
        self.take(1, span)?;
        let at = self.at(span);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (scalar(text.into_owned(), plain), anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.deeper(span)?;
                (Value::Array(self.items()?), anchor)
            }
            Event::MappingStart(anchor, _) => {
                self.deeper(span)?;
                (Value::Table(self.members()?), anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().unwrap_or(Node { at, value: Value::Other("null") });
                self.take(node.size(), span)?;
                return Ok(node);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => (Value::Other("null"), 0),
        };
        let node = Node { at, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Counts a level down; its end counts it up again.
    fn deeper(&mut self, span: Span) -> Result<(), Wrong> {
        self.depth += 1;
        let is_deep = self.depth > DEEPEST;
        let wrong =
            || Wrong { line: span.start.line(), reason: format!("values lie more than {DEEPEST} deep in each other") };
        if is_deep { Err(wrong()) } else { Ok(()) }
    }

    fn take(&mut self, count: usize, span: Span) -> Result<(), Wrong> {
        let left = self.left.checked_sub(count);
        let wrong = || Wrong { line: span.start.line(), reason: format!("more than {MOST} values") };
        self.left = left.ok_or_else(wrong)?;
        Ok(())
    }

    fn items(&mut self) -> Result<Vec<Node>, Wrong> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(items);
                }
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn members(&mut self) -> Result<Vec<Member>, Wrong> {
        let (mut members, mut merged): (Vec<Member>, Vec<Member>) = (Vec::new(), Vec::new());
        let mut names: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                self.depth = self.depth.saturating_sub(1);
                break;
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let node = self.node(event, span)?;
            match key.value.into_text() {
                // What another mapping has, and this one does not say itself.
                Some(name) if name == "<<" => match node.value.into_items() {
                    Ok(items) => merged.extend(items.into_iter().flat_map(|item| item.value.into_members())),
                    Err(value) => merged.extend(value.into_members()),
                },
                // The last of several counts, as for other readers.
                Some(name) => match names.get(&name) {
                    Some(at) => members[*at].node = node,
                    None => {
                        names.insert(name.clone(), members.len());
                        members.push(Member { name, at: key.at, node });
                    }
                },
                None => {}
            }
        }
        for member in merged {
            if !names.contains_key(&member.name) {
                names.insert(member.name.clone(), members.len());
                members.push(member);
            }
        }
        Ok(members)
    }
}

/// A scalar by the core schema of YAML 1.2.
fn scalar(text: String, plain: bool) -> Value {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '.'))
        && text.parse::<f64>().is_ok();
    match text.as_str() {
        _ if !plain => Value::String(text),
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        "" | "~" | "null" | "Null" | "NULL" => Value::Other("null"),
        _ if is_number => Value::Number(text),
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::String(text) => format!("{text:?}"),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => number.clone(),
            Value::Other(kind) => (*kind).to_owned(),
            Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Value::Table(members) => {
                let each = |member: &Member| format!("{}={}", member.name, shown(&member.node));
                format!("{{{}}}", members.iter().map(each).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn values_by_the_core_schema() {
        for (text, expected) in [
            ("a: 1\nb: '1'\nc: yes\n", r#"{a=1 b="1" c="yes"}"#),
            ("- true\n- null\n-\n- 1.5\n", "[true null null 1.5]"),
            ("a: &x {k: v}\nb: *x\nc:\n  <<: *x\n  l: w\n", r#"{a={k="v"} b={k="v"} c={l="w" k="v"}}"#),
            ("# only a comment\na: >-\n  folded\n  text\n", r#"{a="folded text"}"#),
        ] {
            let mut problems = Problems::new(text);
            let node = read(text, &mut problems).expect("valid");
            assert_eq!(shown(&node), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let bomb = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
            let below = format!("*a{}", level - 1);
            format!("{text}a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", "))
        });
        let deep = "- ".repeat(4000);
        for (text, line) in [(deep.as_str(), 1), ("a: b\nc: [1, }\n", 2), (bomb.as_str(), 5)] {
            let mut problems = Problems::new(text);
            assert!(read(text, &mut problems).is_none());
            assert_eq!(problems.into_found().0[0].line, line, "{text}");
        }
    }
}
