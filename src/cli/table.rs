//! Rows in columns that fit the terminal: the widest give way first.

use std::io::{self, IsTerminal, Write};

use console::{Style, Term, measure_text_width, truncate_str};

use crate::shown::{self, Shown};

/// Between two columns.
const GAP: usize = 2;
/// No column becomes narrower than this.
const NARROWEST: usize = 6;
/// How wide a terminal is that does not say.
const WIDTH: usize = 80;

/// How many characters a line may have: as TRUNKLINE_WIDTH says, or the terminal; a pipe or a file takes any.
pub(super) fn width() -> Option<usize> {
    let number = |name: &str| std::env::var(name).ok().and_then(|columns| columns.parse().ok());
    if let Some(width) = number("TRUNKLINE_WIDTH") {
        return Some(width);
    }
    let terminal = io::stdout().is_terminal().then(|| Term::stdout().size_checked())?;
    Some(terminal.map(|(_, columns)| usize::from(columns)).or(number("COLUMNS")).unwrap_or(WIDTH))
}

/// Prints rows in columns as wide as their widest cell, or as there is room for.
pub(super) fn table(out: &mut Shown<impl Write>, heads: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let all: Vec<_> = std::iter::once(&heads).chain(rows).collect();
    let widest = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    };
    let widths = fitted((0..heads.len()).map(widest).collect(), &heads, width());
    let coloured = io::stdout().is_terminal() && console::colors_enabled();
    for (at, row) in all.into_iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let text = shown::line(cell);
            let text = truncate_str(&text, *width, "…");
            let style = if at == 0 { Style::new().bold() } else { style_of(cell) };
            let fill = " ".repeat(width.saturating_sub(measure_text_width(&text)) + GAP);
            line.push_str(&style.force_styling(coloured).apply_to(text).to_string());
            line.push_str(&fill);
        }
        // Its cells are escaped by now; what is left are our own colours.
        writeln!(out.0, "  {}", line.trim_end())?;
    }
    Ok(())
}

/// How a word is shown that says how something fares.
fn style_of(cell: &str) -> Style {
    match cell {
        "ready" | "ok" => Style::new().green(),
        "broken" | "failed" | "misconfigured" => Style::new().red(),
        "needs_login" | "backoff" | "starting" | "draining" => Style::new().yellow(),
        "idle" | "stopped" | "disabled" | "-" => Style::new().dim(),
        _ => Style::new(),
    }
}

/// Widths that fit into a line: the widest column gives way until they do, but not below its head.
fn fitted(mut widths: Vec<usize>, heads: &[String], line: Option<usize>) -> Vec<usize> {
    let Some(line) = line else { return widths };
    let room = line.saturating_sub(2 + GAP * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let least = |column: usize| heads.get(column).map_or(NARROWEST, |head| head.len().max(NARROWEST));
        let next =
            (0..widths.len()).filter(|column| widths[*column] > least(*column)).max_by_key(|column| widths[*column]);
        let Some(widest) = next else { break };
        widths[widest] -= 1;
    }
    widths
}

/// A line that fits.
pub(super) fn cut(line: &str) -> String {
    match width() {
        Some(width) => truncate_str(line, width, "…").into_owned(),
        None => line.to_owned(),
    }
}

/// A text in lines that fit, each behind an indentation.
pub(super) fn wrapped(text: &str, indent: &str) -> String {
    // What others wrote makes no lines of its own.
    let text = shown::line(text);
    let room = width().unwrap_or(usize::MAX).saturating_sub(indent.len()).max(20);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().map(|line| measure_text_width(line)).unwrap_or_default();
        if last > 0 && last + 1 + measure_text_width(word) > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_give_way_to_the_line() {
        let heads: Vec<String> = ["NAME", "STATE", "WHAT"].map(str::to_owned).into();
        assert_eq!(fitted(vec![10, 8, 100], &heads, None), [10, 8, 100]);
        let narrow = fitted(vec![10, 8, 100], &heads, Some(80));
        assert_eq!(narrow.iter().sum::<usize>() + 2 + 2 * GAP, 80);
        assert_eq!(narrow[..2], [10, 8]);
        assert_eq!(fitted(vec![10, 8, 100], &heads, Some(200)), [10, 8, 100]);
        assert!(fitted(vec![100, 100, 100], &heads, Some(10)).iter().all(|width| *width >= NARROWEST));
    }
}
