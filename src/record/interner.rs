//! Numbers for names and agents, by which calls stand in the record.

use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// How many are remembered; then all are given new numbers.
const MOST: usize = 8192;

/// Gives each thing a number, the same for as long as it is remembered.
#[derive(Debug)]
pub(super) struct Interner<T: ?Sized + Hash + Eq> {
    known: FxHashMap<Arc<T>, u32>,
    next: u32,
    /// Those that are in no file yet.
    fresh: Vec<(u32, Arc<T>)>,
    /// The same by where they are in memory: who has given one gives the same again.
    places: FxHashMap<usize, (Arc<T>, u32)>,
}

impl<T: ?Sized + Hash + Eq> Default for Interner<T> {
    fn default() -> Self {
        // 0 stands for nothing.
        Self { known: FxHashMap::default(), next: 1, fresh: Vec::new(), places: FxHashMap::default() }
    }
}

impl<T: ?Sized + Hash + Eq> Interner<T> {
    /// Numbers that were given before.
    pub(super) fn load(&mut self, all: impl IntoIterator<Item = (u32, Arc<T>)>) {
        for (number, thing) in all {
            self.next = self.next.max(number.saturating_add(1));
            self.known.insert(thing, number);
        }
    }

    /// Whether it is time for [`Interner::forget`].
    pub(super) fn is_full(&self) -> bool {
        self.known.len() >= MOST || self.next == u32::MAX
    }

    /// Forgets all: they get new numbers, and the old ones stay what they are in the file.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.places.clear();
    }

    /// Has all be written once more: the file is another one.
    pub(super) fn renew(&mut self) {
        self.fresh = self.known.iter().map(|(thing, number)| (*number, thing.clone())).collect();
    }

    pub(super) fn take_fresh(&mut self) -> Vec<(u32, Arc<T>)> {
        std::mem::take(&mut self.fresh)
    }

    fn add(&mut self, thing: Arc<T>) -> u32 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        self.fresh.push((number, thing.clone()));
        self.known.insert(thing, number);
        number
    }
}

impl Interner<str> {
    pub(super) fn name(&mut self, text: &str) -> u32 {
        match self.known.get(text) {
            Some(number) => *number,
            None => self.add(text.into()),
        }
    }
}

impl<T: Hash + Eq> Interner<T> {
    pub(super) fn number(&mut self, thing: &Arc<T>) -> u32 {
        let place = Arc::as_ptr(thing).addr();
        if let Some((_, number)) = self.places.get(&place) {
            return *number;
        }
        let number = self.known.get(thing).copied().unwrap_or_else(|| self.add(thing.clone()));
        if self.places.len() >= MOST {
            self.places.clear();
        }
        self.places.insert(place, (thing.clone(), number));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_once_and_kept() {
        let mut names = Interner::<str>::default();
        names.load([(7, "known".into())]);
        assert_eq!([names.name("known"), names.name("new"), names.name("new")], [7, 8, 8]);
        assert_eq!(names.take_fresh().iter().map(|(number, _)| *number).collect::<Vec<_>>(), [8]);
        names.renew();
        assert_eq!(names.take_fresh().len(), 2);
        names.forget();
        assert_eq!(names.name("known"), 9);
    }
}
