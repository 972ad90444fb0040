//! Tools whose names the models of agents do not take: the all-servers view shows them under names that they do.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::upstream::catalog::{Item, List};

/// The shown names that are not a tool's own, with the own ones; nothing before any list was looked at.
#[derive(Debug, Default)]
pub(in crate::hub) struct Spelled(Mutex<Option<HashMap<String, String>>>);

impl Spelled {
    /// The names under which the tools of a list are shown, in its order.
    pub(in crate::hub) fn shown_names(&self, tools: &[Item]) -> Vec<String> {
        let shown = spell(tools.iter().map(|tool| tool.key.as_str()));
        let mut known = self.0.lock();
        let known = known.get_or_insert_default();
        for (tool, shown) in tools.iter().zip(&shown) {
            // What was another one's name before may be a tool's own now.
            match tool.key == *shown {
                true => drop(known.remove(shown)),
                false => drop(known.insert(shown.clone(), tool.key.clone())),
            }
        }
        shown
    }

    /// The own name of the tool that is shown so, if it is another one; `lists` are those that an earlier daemon gave.
    pub(in crate::hub) fn own_name(&self, shown: &str, lists: impl FnOnce() -> Vec<List>) -> Option<String> {
        if let Some(known) = &*self.0.lock() {
            return known.get(shown).cloned();
        }
        // The agent was given its list by an earlier daemon.
        let lists = lists();
        if lists.is_empty() {
            return None;
        }
        lists.iter().for_each(|tools| drop(self.shown_names(tools)));
        self.0.lock().as_ref()?.get(shown).cloned()
    }
}

/// Names that every model takes, each for one tool: letters, digits, `_` and `-`.
fn spell<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Vec<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let plain = |name: &&str| name.chars().all(is_plain);
    let mut taken: HashSet<String> = names.clone().filter(plain).map(str::to_owned).collect();
    // With which number to go on for each.
    let mut next: HashMap<String, u32> = HashMap::new();
    let mut shown = |name: &'n str| {
        if plain(&name) {
            return name.to_owned();
        }
        let safe: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
        let number = next.entry(safe.clone()).or_insert(1);
        loop {
            let free = if *number == 1 { safe.clone() } else { format!("{safe}_{number}") };
            *number += 1;
            if taken.insert(free.clone()) {
                return free;
            }
        }
    };
    names.map(&mut shown).collect()
}

#[cfg(test)]
mod tests {
    use super::spell;

    #[test]
    fn each_tool_has_a_name_that_models_take() {
        let names = ["a.b", "a_b", "ns/x", "a b", "天気", "ok-1", "a_b_3"];
        assert_eq!(spell(names.into_iter()), ["a_b_2", "a_b", "ns_x", "a_b_4", "__", "ok-1", "a_b_3"]);
    }
}
