//! Gives copies of messages to those who record them; where nobody does, it costs the look at a number.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::recording::direction::Direction;

/// How many bytes may wait for one who records.
const MOST: usize = 64 << 20;
/// What a message weighs besides its text.
const WEIGHT: usize = 128;

/// Where copies of messages come from. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Tee(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicUsize,
    watchers: Mutex<Vec<Weak<Waiting>>>,
}

/// A message that was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    pub at: SystemTime,
    pub direction: Direction,
    /// Which connection of the server it was on, or which session of an agent.
    pub connection: u64,
    pub text: Arc<str>,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    heard: VecDeque<Heard>,
    bytes: usize,
    missed: u64,
}

/// Gets what is heard from now on.
#[derive(Debug)]
pub struct Watcher {
    tee: Tee,
    waiting: Arc<Waiting>,
}

impl Tee {
    pub fn is_watched(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    /// Gives a message to all who record; ask [`Tee::is_watched`] before it is made.
    pub fn hear(&self, direction: Direction, connection: u64, text: &str) {
        let heard = Heard { at: SystemTime::now(), direction, connection, text: text.trim_end_matches('\n').into() };
        let watchers = self.0.watchers.lock().clone();
        watchers.iter().filter_map(Weak::upgrade).for_each(|watcher| watcher.push(heard.clone()));
    }

    pub fn watch(&self) -> Watcher {
        let waiting = Arc::new(Waiting::default());
        let mut watchers = self.0.watchers.lock();
        watchers.push(Arc::downgrade(&waiting));
        self.0.count.store(watchers.len(), Ordering::Relaxed);
        Watcher { tee: self.clone(), waiting }
    }
}

impl Waiting {
    fn push(&self, heard: Heard) {
        let weight = heard.text.len() + WEIGHT;
        let mut queue = self.queue.lock();
        if queue.bytes + weight > MOST && !queue.heard.is_empty() {
            queue.missed += 1;
        } else {
            queue.bytes += weight;
            queue.heard.push_back(heard);
        }
        drop(queue);
        self.filled.notify_one();
    }
}

impl Watcher {
    /// The next message, and how many were missed before it because they came too fast. Cancel-safe.
    pub async fn next(&self) -> (u64, Heard) {
        loop {
            {
                let mut queue = self.waiting.queue.lock();
                if let Some(heard) = queue.heard.pop_front() {
                    queue.bytes -= heard.text.len() + WEIGHT;
                    return (std::mem::take(&mut queue.missed), heard);
                }
            }
            self.waiting.filled.notified().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let own = Arc::downgrade(&self.waiting);
        let mut watchers = self.tee.0.watchers.lock();
        watchers.retain(|watcher| !watcher.ptr_eq(&own));
        self.tee.0.count.store(watchers.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_records_gets_copies_and_learns_what_it_missed() {
        let tee = Tee::default();
        assert!(!tee.is_watched());
        let watcher = tee.watch();
        assert!(tee.is_watched());
        tee.hear(Direction::ToServer, 7, "{}\n");
        let (missed, heard) = watcher.next().await;
        assert_eq!((missed, heard.connection, &*heard.text), (0, 7, "{}"));
        let large = "x".repeat(MOST / 2);
        (0..4).for_each(|_| tee.hear(Direction::FromServer, 7, &large));
        assert_eq!(watcher.next().await.0, 3);
        drop(watcher);
        assert!(!tee.is_watched());
    }
}
