//! A fault of trunkline itself (a panic) ends what it happened in, with an error, and nothing else.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// How much of a fault's own words the log gets, in bytes.
const LONGEST: usize = 200;
/// What is said to whom it happened.
pub const SAID: &str = "a fault in trunkline: please report what its log says of it";

/// That something ended by a fault, which is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{SAID}")]
pub struct Fault;

/// Does `work`, which is left as it is where it panics.
pub async fn contained<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    // What it held is dropped, and what it shares is under locks that do not stay closed.
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| Fault)
}

/// Writes faults to the log, with the place in the source.
pub fn log_all() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, message = words(info.payload()), "a fault in trunkline");
    }));
}

fn words(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
    // It may quote what others wrote.
    &text[..text.floor_char_boundary(LONGEST)]
}

/// Panics where a test wants that: at a message with the word in `TRUNKLINE_TEST_FAULT`. In a release it does nothing.
pub fn provoked_by(message: &str) {
    #[cfg(debug_assertions)]
    {
        static WORD: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        let word = WORD.get_or_init(|| std::env::var("TRUNKLINE_TEST_FAULT").ok());
        assert!(!word.as_ref().is_some_and(|word| message.contains(word)), "provoked by a test");
    }
    #[cfg(not(debug_assertions))]
    let _ = message;
}
