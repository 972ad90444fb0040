//! Logins at authorization servers (MCP `basic/authorization`, OAuth 2.1): once for all agents, and refreshed by one owner.
//!
//! A [`Keeper`] owns one login: it alone has the tokens, refreshes them, begins logins and ends them.

mod assertion;
mod bearer;
mod callback;
mod client;
mod command;
mod discovery;
mod foreign;
mod grant;
mod guard;
mod keeper;
mod keepers;
mod login;
mod pinned;
mod renew;
mod shared;
mod state;
mod target;
mod task;
mod token;
mod wall_clock;

pub use bearer::{Bearer, Challenge, NoToken};
pub use callback::Outcome;
pub use command::Afresh;
pub use keeper::Keeper;
pub use keepers::Keepers;
pub use login::Login;
pub use state::LoginState;
