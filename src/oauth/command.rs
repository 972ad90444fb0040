//! What a keeper asks the task of its login to do.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::credentials::Credential;
use crate::oauth::bearer::{Bearer, Challenge, NoToken};
use crate::oauth::login::Login;

pub(super) type Reply<T> = oneshot::Sender<T>;

/// What a keeper is asked to do.
pub(super) enum Command {
    Token(Reply<Result<Option<Bearer>, NoToken>>),
    Challenged {
        sent: Option<u64>,
        challenge: Challenge,
        reply: Reply<Result<Bearer, NoToken>>,
    },
    /// The token ends soon.
    Renew,
    Login {
        afresh: Afresh,
        reply: Reply<Result<Arc<Login>, String>>,
    },
    TakeOver {
        credential: Box<Credential>,
        reply: Reply<Result<(), String>>,
    },
    Logout(Reply<Result<bool, String>>),
    Reconsider,
    /// The configuration says something else of it.
    Retarget,
}

/// Whether a login that is under way will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afresh {
    Join,
    Begin,
}
