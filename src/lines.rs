//! The last lines of a log, and those who follow it: bounded on both sides, and a follower learns what it missed.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;

/// Longest line kept, in bytes; the rest of a longer one is cut.
const MAX_LINE: usize = 4 * 1024;
/// How far a follower may fall behind before it misses lines.
const FOLLOW: usize = 256;

/// Whether the one of this number, of many that are alike, is worth a line: the first, the tenth, the hundredth …
pub fn is_told(number: u64) -> bool {
    number > 0 && 10_u64.pow(number.ilog10()) == number
}

/// A bounded log. Clones share it.
#[derive(Debug, Clone)]
pub struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<VecDeque<Arc<str>>>,
    most: usize,
    live: broadcast::Sender<Arc<str>>,
}

impl Lines {
    /// Keeps the last `most` lines.
    pub fn new(most: usize) -> Self {
        let (live, _) = broadcast::channel(FOLLOW);
        Self(Arc::new(Shared { kept: Mutex::default(), most, live }))
    }

    pub fn push(&self, line: &str) {
        let mut end = line.len().min(MAX_LINE);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let line: Arc<str> = line[..end].into();
        let mut kept = self.0.kept.lock();
        if kept.len() == self.0.most {
            kept.pop_front();
        }
        kept.push_back(line.clone());
        // Sent under the lock, so that a follower sees each line once: in the tail or live. No follower is no error.
        drop(self.0.live.send(line));
    }

    /// The last `most` lines, oldest first.
    pub fn tail(&self, most: usize) -> Vec<Arc<str>> {
        let kept = self.0.kept.lock();
        kept.iter().skip(kept.len().saturating_sub(most)).cloned().collect()
    }

    /// The last `most` lines, and every one from then on.
    pub fn follow(&self, most: usize) -> (Vec<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        let kept = self.0.kept.lock();
        (kept.iter().skip(kept.len().saturating_sub(most)).cloned().collect(), self.0.live.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_lines_go_and_long_ones_are_cut() {
        let lines = Lines::new(2);
        for line in ["a", "b", &"ü".repeat(MAX_LINE)] {
            lines.push(line);
        }
        let kept = lines.tail(9);
        assert_eq!(kept.len(), 2);
        assert_eq!(&*kept[0], "b");
        assert_eq!(kept[1].len(), MAX_LINE);
        assert_eq!(lines.tail(1).len(), 1);
    }
}
