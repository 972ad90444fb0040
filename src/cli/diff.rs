//! A change of a file as a diff, for the person who is asked about it.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use crate::setup::masked;
use crate::shown;

/// How long two texts are compared.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines around a change that are shown with it.
const AROUND: usize = 3;

/// Prints what changes, without the secrets that lines hold.
pub(super) fn print(out: &mut impl Write, path: &Path, before: &str, after: &str) -> io::Result<()> {
    print_between(out, (path, before), (path, after))
}

/// The same, of two files.
pub(super) fn print_between(out: &mut impl Write, one: (&Path, &str), other: (&Path, &str)) -> io::Result<()> {
    let ((old_path, before), (new_path, after)) = (one, other);
    let shown = |path: &Path| shown::line(&path.display().to_string()).into_owned();
    writeln!(out, "--- {}\n+++ {}", shown(old_path), shown(new_path))?;
    // What is found by then is shown: a coarser change, and a right one.
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    for group in diff.grouped_ops(AROUND) {
        let (old, new) = group.first().map_or((0, 0), |op| (op.old_range().start, op.new_range().start));
        writeln!(out, "@@ -{} +{} @@", old + 1, new + 1)?;
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ('-', "\x1b[31m"),
                ChangeTag::Insert => ('+', "\x1b[32m"),
                ChangeTag::Equal => (' ', ""),
            };
            let text = masked(change.value().trim_end_matches(['\r', '\n'])).replace('\t', "    ");
            let line = format!("{sign}{}", shown::line(&text));
            if colour.is_empty() || !console::colors_enabled() {
                writeln!(out, "{line}")?;
            } else {
                writeln!(out, "{colour}{line}\x1b[0m")?;
            }
        }
    }
    Ok(())
}
