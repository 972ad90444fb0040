//! Which tools of a server agents see.

use crate::config::decode::{Decode, Fields};
use crate::config::node::Node;
use crate::config::problems::Problems;
use schemars::JsonSchema;
use wildmatch::WildMatch;

/// `tools = { allow = […], deny = […] }`: names, with `*` for any characters and `?` for one. A tool is offered if `allow`
/// names it, or is empty, and `deny` does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Filter {
    /// Offer these only; all if empty.
    #[schemars(default)]
    pub allow: Vec<String>,
    /// Never offer these.
    #[schemars(default)]
    pub deny: Vec<String>,
}

impl Filter {
    pub fn allows(&self, tool: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| WildMatch::new(pattern).matches(tool));
        (self.allow.is_empty() || any(&self.allow)) && !any(&self.deny)
    }

    /// Whether it lets every tool pass.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

impl Decode for Filter {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let filter =
            Self { allow: fields.take("allow").unwrap_or_default(), deny: fields.take("deny").unwrap_or_default() };
        fields.finish();
        Some(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn deny_wins_over_allow() {
        let filter = |allow: &[&str], deny: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
            Filter { allow: owned(allow), deny: owned(deny) }
        };
        for (filter, tool, allowed) in [
            (filter(&[], &[]), "x", true),
            (filter(&[], &["delete_*"]), "delete_repo", false),
            (filter(&[], &["delete_*"]), "undelete_repo", true),
            (filter(&["get_*", "list"], &[]), "list", true),
            (filter(&["get_*", "list"], &[]), "lists", false),
            (filter(&["*"], &["get_?"]), "get_a", false),
            (filter(&["*"], &["get_?"]), "get_ab", true),
            (filter(&["A"], &[]), "a", false),
        ] {
            assert_eq!(filter.allows(tool), allowed, "{filter:?} {tool}");
        }
    }
}
