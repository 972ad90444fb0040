//! Text that nobody can guess.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Text that nobody can guess.
///
/// # Panics
/// If the system gives no random numbers: better no login, and no state, than one that can be guessed.
#[allow(clippy::expect_used, reason = "nothing that the world sends leads here, and to go on would open a hole")]
pub fn random_text() -> String {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).expect("random numbers from the system");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
