//! Says in our words what other tools' files say of their MCP servers. Pure; what has no meaning here becomes a note.
//!
//! The shapes are those of the agents in `config/agents.toml`.

mod entry;
mod roots;
mod times;
mod values;
mod words;

pub(super) use entry::entry;
pub(super) use roots::{Found, tables};

use crate::config::node::{Member, Node, Value};
use crate::config::problems::Problems;

/// The servers of a file, each as our own form would have it, under the key that the file has them at; `None` if it has none.
pub(super) fn servers(root: Node, problems: &mut Problems<'_>) -> Option<(&'static str, Node)> {
    let at = root.at.clone();
    let (mut all, mut first) = (Vec::<Member>::new(), None);
    for Found { key, folder, members, .. } in tables(root, problems) {
        if let Some((_, at)) = folder {
            let message =
                "the servers of single projects under `projects` are not read: `trunkline import` takes them over";
            problems.note(at.start, message.to_owned());
            continue;
        }
        let counts = *first.get_or_insert(key);
        for member in members {
            let entry = problems.under(key, |problems| named(member, problems));
            if all.iter().any(|earlier| earlier.name == entry.name) {
                problems.note(entry.at.start, format!("`{}` stands in `{counts}` too: that one counts", entry.name));
            } else {
                all.push(entry);
            }
        }
    }
    Some((first?, Node { at, value: Value::Table(all) }))
}

fn named(member: Member, problems: &mut Problems<'_>) -> Member {
    let Member { name, at, node } = member;
    let node = problems.under(&name, |problems| entry(node, problems));
    Member { name, at, node }
}
