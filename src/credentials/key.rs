//! A key to the records, and where it is kept.

use secrecy::SecretSlice;
use serde::{Deserialize, Serialize};

/// Where a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Keyring,
    File,
}

/// 32 bytes.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub bytes: SecretSlice<u8>,
    pub place: Place,
}
