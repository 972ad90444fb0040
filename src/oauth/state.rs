//! What is known of a login at this moment, for those who ask: the token to use, or why there is none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::credentials::{Credential, Tokens};
use crate::oauth::bearer::Bearer;
use crate::oauth::login::Login;

/// A token is refreshed when less than this is left of it, or less than this part of its life.
const EARLY: (Duration, u32) = (Duration::from_secs(60), 4);

/// The longest life of a token that is counted: some write the largest number that there is.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What everybody may look at.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Whether the records have been looked at.
    pub loaded: bool,
    pub held: Option<Held>,
    /// Why a person, or the client, must log in first.
    pub need: Option<Arc<str>>,
    /// What went wrong without making the login useless.
    pub trouble: Option<Arc<str>>,
    pub issuer: Option<Arc<str>>,
    pub scopes: Arc<[String]>,
    /// The login that was begun last, and how many were done.
    pub login: Option<Arc<Login>>,
    pub logins: u64,
}

/// A token, and how long it holds by a clock that nobody sets.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub bearer: Bearer,
    pub expires: Option<Instant>,
    early: Option<Instant>,
    /// There is a refresh token.
    renewable: bool,
}

/// A login, for `status`. It says what there is, and never what it is.
#[derive(Debug, Clone)]
pub struct LoginState {
    pub server: String,
    pub account: String,
    pub url: String,
    pub issuer: Option<String>,
    pub scopes: Vec<String>,
    /// How long the token holds; none if that is not known.
    pub expires_in: Option<Duration>,
    pub has_token: bool,
    /// Why a login is needed, if one is.
    pub need: Option<String>,
    pub trouble: Option<String>,
}

impl Held {
    /// A token that was just given, or read: `spread` is a random number from 0 to 1.
    pub(super) fn new(tokens: &Tokens, now: Instant, wall: u64, spread: f64) -> Self {
        let left = tokens.expires_at.map(|expires| Duration::from_secs(expires.saturating_sub(wall)).min(LONGEST));
        let margin = |left: Duration| (left / EARLY.1).min(EARLY.0).mul_f64(0.5 + spread.clamp(0.0, 1.0) / 2.0);
        Self {
            bearer: Bearer::new(tokens),
            expires: left.map(|left| now + left),
            early: left.map(|left| now + left.saturating_sub(margin(left))),
            renewable: tokens.refresh.is_some(),
        }
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it may have ended, nobody having said when it does, and another one can be had.
    pub(super) fn can_run_out_unnoticed(&self, now: Instant) -> bool {
        self.renewable && (self.expires.is_none() || !self.is_fresh(now))
    }

    /// Whether it is time to have the next one made ready.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.early.is_some_and(|early| now >= early)
    }
}

impl State {
    /// With a login, as it is now.
    pub(super) fn describe(&mut self, credential: Option<&Credential>) {
        self.issuer = credential.map(|credential| credential.endpoints.issuer.as_str().into());
        self.scopes = credential.map(|credential| credential.scopes.clone()).unwrap_or_default().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(life: Option<u64>, spread: f64, now: Instant) -> Held {
        let tokens =
            Tokens { access: "t".into(), refresh: None, expires_at: life.map(|life| 1_000 + life), generation: 1 };
        Held::new(&tokens, now, 1_000, spread)
    }

    #[test]
    fn tokens_are_renewed_before_they_end() {
        let now = Instant::now();
        let after = |seconds: f64| now + Duration::from_secs_f64(seconds);
        for (life, spread, due, ends) in [(3600, 0.0, 3570.0, 3600.0), (3600, 1.0, 3540.0, 3600.0), (4, 1.0, 3.0, 4.0)]
        {
            let held = held(Some(life), spread, now);
            assert!(!held.is_due(after(due - 0.1)) && held.is_due(after(due)), "{life}");
            assert!(held.is_fresh(after(ends - 0.1)) && !held.is_fresh(after(ends)), "{life}");
        }
        let endless = held(None, 0.5, now);
        assert!(endless.is_fresh(after(1e6)) && !endless.is_due(after(1e6)));
        assert!(held(Some(u64::MAX - 1_000), 0.5, now).is_fresh(after(1e6)));
        // Read when it had ended already.
        assert!(!held(Some(0), 0.5, now).is_fresh(now));
    }
}
