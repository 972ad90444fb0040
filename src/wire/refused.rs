//! Why something is not taken to wait.

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As much waits as may.
    Full,
    /// As much waits in the whole daemon as may, and nobody holds more of it.
    OverBudget,
    Closed,
}
