//! Gives the others their turn while something large is read: on one thread, whoever reads on has it.

use tokio::task::yield_now;

/// After how many bytes the others have their turn.
const SLICE: usize = 512 * 1024;

/// How much was read since the others had their turn.
#[derive(Debug, Default)]
pub struct Turn(usize);

impl Turn {
    /// Counts what was read, and lets the others go first where it was much. Cancel-safe.
    pub async fn count(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 >= SLICE {
            self.0 = 0;
            yield_now().await;
        }
    }
}
