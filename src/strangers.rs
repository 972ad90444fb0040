//! Connections that have shown nothing yet: few places, a short time, and the oldest goes when another one comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long one may show nothing.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The places for them at one door. Clones share them.
#[derive(Debug, Clone)]
pub struct Strangers {
    all: Arc<Mutex<VecDeque<CancellationToken>>>,
    most: usize,
}

/// One of them; dropped or known, its place is free. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Stranger(Arc<Place>);

#[derive(Debug)]
struct Place {
    strangers: Strangers,
    /// Cancelled when another one needs its place.
    dismissed: CancellationToken,
    /// Cancelled when it has shown who it is.
    known: CancellationToken,
    until: Instant,
}

impl Strangers {
    pub fn new(most: usize) -> Self {
        Self { all: Arc::default(), most }
    }

    /// Gives a place to one who has just come; where all are taken, the one who came first goes.
    pub fn admit(&self) -> Stranger {
        let dismissed = CancellationToken::new();
        let mut all = self.all.lock();
        all.push_back(dismissed.clone());
        if all.len() > self.most
            && let Some(oldest) = all.pop_front()
        {
            oldest.cancel();
        }
        drop(all);
        let (known, until) = (CancellationToken::new(), Instant::now() + PATIENCE);
        Stranger(Arc::new(Place { strangers: self.clone(), dismissed, known, until }))
    }
}

impl Stranger {
    /// It has shown who it is: it may stay.
    pub fn is_known(&self) {
        if !self.0.known.is_cancelled() {
            self.0.known.cancel();
            self.0.leave();
        }
    }

    /// Waits until it must go, which one that is known need not.
    pub async fn must_go(&self) {
        let Place { dismissed, known, until, .. } = &*self.0;
        tokio::select! {
            biased;
            () = known.cancelled() => std::future::pending().await,
            () = dismissed.cancelled() => {}
            () = sleep_until(*until) => {}
        }
    }
}

impl Place {
    fn leave(&self) {
        self.strangers.all.lock().retain(|other| other != &self.dismissed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_and_who_is_known_stays() {
        let strangers = Strangers::new(2);
        let (first, second) = (strangers.admit(), strangers.admit());
        first.is_known();
        let third = strangers.admit();
        assert_eq!(second.must_go().now_or_never(), None, "there is a place for two");
        let fourth = strangers.admit();
        assert_eq!(second.must_go().now_or_never(), Some(()), "the oldest of those that are not known");
        drop(third);
        strangers.admit();
        assert_eq!(fourth.must_go().now_or_never(), None);
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(fourth.must_go().now_or_never(), Some(()), "it has shown nothing");
        assert_eq!(first.must_go().now_or_never(), None);
    }
}
