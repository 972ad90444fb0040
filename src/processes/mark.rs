//! By what all is recognised that a server has started.
//!
//! A process inherits its mark twice: as a variable of its environment, and as a limit on its resources. A program may clear its
//! environment, leave its group and its session, and lose its parent; the limit stays, unless the program makes it smaller.

use std::fmt;
use std::str::FromStr;

/// The variable that has the mark.
pub const VARIABLE: &str = "TRUNKLINE_DAEMON";

/// Bits of the limit: the highest one says that it is a mark, because nobody means a limit of 146,000 years.
const IS_MARK: u64 = 1 << 62;
const PID: u32 = 22;
const STARTED: u32 = 20;
const PROCESS: u32 = 20;

/// Which daemon: its pid, and the last bits of when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaemonMark {
    pid: u32,
    started: u64,
}

/// Which process of which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub daemon: DaemonMark,
    process: u64,
}

impl DaemonMark {
    pub fn new(pid: u32, started: u64) -> Self {
        Self { pid, started: started & low(STARTED) }
    }

    pub fn pid(self) -> u32 {
        self.pid
    }

    /// A mark for its process of this number.
    pub fn process(self, number: u64) -> Mark {
        Mark { daemon: self, process: number & low(PROCESS) }
    }
}

impl Mark {
    /// It as a limit on the time that a process may take for itself alone (`RLIMIT_RTTIME`), in microseconds.
    pub fn limit(self) -> u64 {
        let Self { daemon: DaemonMark { pid, started }, process } = self;
        IS_MARK | u64::from(pid) << (STARTED + PROCESS) | started << PROCESS | process
    }

    /// The mark that a limit is, if it is one.
    pub fn of_limit(limit: u64) -> Option<Self> {
        let pid = u32::try_from((limit ^ IS_MARK) >> (STARTED + PROCESS)).ok().filter(|pid| *pid < 1 << PID)?;
        let daemon = DaemonMark { pid, started: limit >> PROCESS & low(STARTED) };
        Some(Self { daemon, process: limit & low(PROCESS) })
    }
}

fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

impl fmt::Display for DaemonMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.daemon, self.process)
    }
}

/// A text is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not of the form PID-START")]
pub struct NoMark;

impl FromStr for DaemonMark {
    type Err = NoMark;

    fn from_str(text: &str) -> Result<Self, NoMark> {
        let (pid, started) = text.split_once('-').ok_or(NoMark)?;
        Ok(Self::new(pid.parse().map_err(|_| NoMark)?, started.parse().map_err(|_| NoMark)?))
    }
}

impl FromStr for Mark {
    type Err = NoMark;

    fn from_str(text: &str) -> Result<Self, NoMark> {
        let (daemon, process) = text.rsplit_once('.').ok_or(NoMark)?;
        Ok(daemon.parse::<DaemonMark>()?.process(process.parse().map_err(|_| NoMark)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_as_a_text_and_as_a_limit() {
        for (text, same) in [
            ("1-2.3", "1-2.3"),
            ("4194303-1048575.1048575", "4194303-1048575.1048575"),
            // What has no room is left out, in the text as in the limit.
            ("7-1048577.1048578", "7-1.2"),
        ] {
            let mark: Mark = text.parse().expect("a mark");
            assert_eq!(mark.to_string(), same);
            assert_eq!(Mark::of_limit(mark.limit()), Some(mark));
            assert!(mark.limit() > IS_MARK && mark.limit() < 1 << 63);
        }
        for text in ["", "1", "1-2", "-.", "a-b.c", "1-2.3.4", "99999999999-1.1"] {
            assert_eq!(text.parse::<Mark>(), Err(NoMark), "{text}");
        }
        for limit in [0, 200_000, IS_MARK - 1, 1 << 63, u64::MAX] {
            assert_eq!(Mark::of_limit(limit), None, "{limit}");
        }
    }
}
