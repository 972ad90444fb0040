//! On what terms an instance starts.

use std::path::PathBuf;

use crate::era::{ClientProfile, Era};

/// What to say to a server that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speak {
    /// The eras to try on the same process, in this order.
    pub eras: Vec<Era>,
    /// What to promise in `initialize`.
    pub profile: ClientProfile,
}

/// On what terms an instance starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub speak: Speak,
    /// The folder that its agents work in.
    pub project: Option<PathBuf>,
    /// Who to say that we are, raw, if it serves one agent only; otherwise trunkline.
    pub client_info: Option<String>,
    /// Nobody waits for it.
    pub background: bool,
}
