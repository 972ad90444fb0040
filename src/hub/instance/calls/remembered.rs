//! What is remembered of a server's own ids: of so many and so long ones, and the oldest is forgotten first.

use std::collections::{HashMap, VecDeque};

/// How many ids of one instance are remembered, and how many bytes of them.
const MOST: usize = 4096;
const MOST_BYTES: usize = 1 << 20;

/// Values by ids that a server has made.
#[derive(Debug, Clone)]
pub(super) struct Remembered<T> {
    known: HashMap<Box<str>, T>,
    oldest: VecDeque<Box<str>>,
    /// Of all ids.
    bytes: usize,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), oldest: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Remembered<T> {
    pub(super) fn get(&self, id: &str) -> Option<&T> {
        self.known.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.known.get_mut(id)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.known.values()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.known.values_mut()
    }

    pub(super) fn insert(&mut self, id: &str, value: T) {
        if self.known.insert(id.into(), value).is_none() {
            self.oldest.push_back(id.into());
            self.bytes += id.len();
        }
        while self.oldest.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.oldest.pop_front() else { break };
            self.bytes -= oldest.len();
            self.known.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<T> {
        let value = self.known.remove(id)?;
        self.oldest.retain(|known| **known != *id);
        self.bytes -= id.len();
        Some(value)
    }

    /// Remembers what another one does, the younger ones last; what is known already stays.
    pub(super) fn inherit(&mut self, other: &Self, as_inherited: impl Fn(&T) -> T) {
        for id in &other.oldest {
            if let Some(value) = other.known.get(id).filter(|_| !self.known.contains_key(id)) {
                self.insert(id, as_inherited(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut all = Remembered::default();
        (0..=MOST).for_each(|number| all.insert(&number.to_string(), number));
        assert_eq!((all.get("0"), all.get("1"), all.values().count()), (None, Some(&1), MOST));
        // What is said again is no more than it was, and what was taken leaves its place.
        all.insert("1", 7);
        assert_eq!((all.remove("1"), all.remove("1")), (Some(7), None));
        all.insert("new", 8);
        assert_eq!((all.get("2"), all.get("new")), (Some(&2), Some(&8)));
    }

    #[test]
    fn long_ids_push_others_out() {
        let mut all = Remembered::default();
        all.insert("short", 1);
        let long = |letter: &str| letter.repeat(MOST_BYTES / 2 - 1);
        all.insert(&long("a"), 2);
        assert_eq!(all.values().count(), 2);
        all.insert(&long("b"), 3);
        assert_eq!((all.get("short"), all.get(&long("a")), all.get(&long("b"))), (None, Some(&2), Some(&3)));
        all.insert(&"c".repeat(MOST_BYTES + 1), 4);
        assert_eq!((all.values().count(), all.bytes), (0, 0));
    }

    #[test]
    fn another_instance_inherits() {
        let (mut new, mut old) = (Remembered::default(), Remembered::default());
        old.insert("a", 1);
        old.insert("b", 1);
        new.insert("b", 2);
        new.inherit(&old, |value| value + 10);
        assert_eq!((new.get("a"), new.get("b"), old.get("a")), (Some(&11), Some(&2), Some(&1)));
    }
}
