//! How many files and connections this process may have open: as many as the system lets it, and its servers as many as before.

use std::io;

#[cfg(unix)]
use std::sync::OnceLock;

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for servers, files and logins, beside the connections of agents.
const RESERVE: u64 = 1024;
/// More agents than this one daemon never has.
const MOST: u64 = 16 << 10;

#[cfg(unix)]
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one.
#[cfg(unix)]
pub fn raise() -> io::Result<()> {
    let before = getrlimit(Resource::Nofile);
    if BEFORE.set(before).is_ok() && before.current != before.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum })?;
    }
    Ok(())
}

/// Gives a new process what this one had before; to be called in it. Two system calls at most, without allocation or locks.
#[cfg(unix)]
pub fn put_back() -> io::Result<()> {
    match BEFORE.get() {
        // Some programs go through all that they may have.
        Some(before) => Ok(setrlimit(Resource::Nofile, *before)?),
        None => Ok(()),
    }
}

/// How many connections of agents there may be.
#[cfg(unix)]
pub fn for_agents() -> usize {
    of_limit(getrlimit(Resource::Nofile).current)
}

#[cfg(not(unix))]
pub fn raise() -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
pub fn for_agents() -> usize {
    of_limit(None)
}

/// The part of a limit that agents may use; half of a small one.
fn of_limit(limit: Option<u64>) -> usize {
    let part = limit.map_or(MOST, |limit| limit.saturating_sub(RESERVE).max(limit / 2).min(MOST));
    usize::try_from(part).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn something_is_kept_for_the_rest() {
        for (limit, agents) in
            [(Some(256), 128), (Some(1024), 512), (Some(4096), 3072), (Some(1 << 20), 16_384), (None, 16_384)]
        {
            assert_eq!(super::of_limit(limit), agents, "{limit:?}");
        }
    }
}
