//! What a key can lead to: something over the lists, or something to be done.

/// What is over the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    Nothing,
    Help,
    /// All of one call.
    Call(Box<CallKey>),
    /// A server's standard error.
    Log(String),
    /// A step that is to be confirmed.
    Confirm(Step, String),
}

/// By what a call is found again.
pub(super) type CallKey = (String, u64, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Start,
    Stop,
    Restart,
    Login,
}

impl Step {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Start => "starting",
            Self::Stop => "stopping",
            Self::Restart => "restarting",
            Self::Login => "beginning the login at",
        }
    }

    pub(super) fn question(self, server: &str) -> String {
        match self {
            Self::Start => format!("Start `{server}`?"),
            Self::Stop => format!("Stop `{server}` and keep it stopped?"),
            Self::Restart => format!("Restart `{server}`? Its calls fail."),
            Self::Login => format!("Log in at `{server}`?"),
        }
    }
}

/// What is to be done for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Quit,
    Refresh,
    Follow(String),
    Unfollow,
    Do(Step, String),
}
