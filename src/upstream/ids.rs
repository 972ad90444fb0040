//! The ids of what goes to a server, and the spellings in which they come back.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The whole number that an id is, in whatever spelling: as text, with a fraction of nothing, with an exponent.
pub(super) fn respelled(raw: &str) -> Option<u64> {
    let text = crate::envelope::text(raw);
    let text = text.as_deref().unwrap_or(raw).trim();
    if let Ok(id) = text.parse() {
        return Some(id);
    }
    // Larger ones are not told apart in this form.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number: f64 =
        text.parse().ok().filter(|number: &f64| (0.0..EXACT).contains(number) && number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

/// Ids for everything that goes to one server, `rmcp`'s requests and the agents' alike. Nobody can tell where they begin, so
/// that an agent knows no id of another's call; they fit into 32 bits, which is all that some servers keep of one.
#[derive(Debug, Clone)]
pub(super) struct Ids(Arc<Issued>);

#[derive(Debug)]
struct Issued {
    first: u64,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        // Seeded by the system; `fastrand` shows its numbers elsewhere.
        let random = RandomState::new().build_hasher().finish();
        let first = (random >> 34).max(1);
        Self(Arc::new(Issued { first, next: AtomicU64::new(first) }))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The next one, which is never 0.
    pub(super) fn peek(&self) -> u64 {
        self.0.next.load(Ordering::Relaxed)
    }

    /// Whether this one was issued.
    pub(super) fn holds(&self, id: u64) -> bool {
        (self.0.first..self.peek()).contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::respelled;

    #[test]
    fn an_id_is_known_in_any_spelling() {
        for (raw, id) in [
            ("7", Some(7)),
            ("\"7\"", Some(7)),
            ("\" 7 \"", Some(7)),
            ("7.0", Some(7)),
            ("7e0", Some(7)),
            ("70E-1", Some(7)),
            ("\"7.0\"", Some(7)),
            ("7.5", None),
            ("-7", None),
            ("null", None),
            ("\"\"", None),
            ("\"seven\"", None),
            ("1e400", None),
            ("9007199254740993.0", None),
            ("\"inf\"", None),
        ] {
            assert_eq!(respelled(raw), id, "{raw}");
        }
    }
}
