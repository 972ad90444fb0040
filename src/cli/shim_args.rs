//! The shim's command line, read without clap: agents start shims by the dozen, and clap's tables would be a third of
//! what each keeps resident. Whatever is not plainly a `connect` is left to clap, which says what is wrong with it.

use std::env;
use std::path::PathBuf;

use crate::paths::Named;

/// A plain `connect`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ShimArgs {
    pub(crate) server: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) profile: Option<String>,
    config: Option<PathBuf>,
    socket: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl ShimArgs {
    /// Reads the process's own command line.
    pub(crate) fn from_process() -> Option<Self> {
        let words = env::args_os().skip(1).map(|word| word.into_string().ok()).collect::<Option<Vec<_>>>()?;
        Self::read(words.into_iter())
    }

    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let (mut args, mut connect) = (Self::default(), false);
        while let Some(word) = words.next() {
            let (flag, value) = word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
            if !flag.starts_with('-') {
                match (connect, &args.server) {
                    (false, _) if word == "connect" => connect = true,
                    (true, None) => args.server = Some(word),
                    (false, _) | (true, Some(_)) => return None,
                }
                continue;
            }
            let slot = match flag {
                "--config" => &mut args.config,
                "--socket" => &mut args.socket,
                "--state-dir" => &mut args.state,
                "--client" | "--profile" if connect => {
                    let slot = if flag == "--client" { &mut args.client } else { &mut args.profile };
                    let name = value.map(str::to_owned).or_else(|| words.next())?;
                    slot.replace(name).is_none().then_some(())?;
                    continue;
                }
                _ => return None,
            };
            let place = value.map(PathBuf::from).or_else(|| words.next().map(PathBuf::from))?;
            slot.replace(place).is_none().then_some(())?;
        }
        (connect && (args.server.is_none() || args.profile.is_none())).then_some(args)
    }

    pub(crate) fn places(&self) -> Named {
        let or_variable =
            |place: &Option<PathBuf>, variable| place.clone().or_else(|| env::var_os(variable).map(PathBuf::from));
        Named {
            config: or_variable(&self.config, "TRUNKLINE_CONFIG"),
            socket: or_variable(&self.socket, "TRUNKLINE_SOCKET"),
            state: or_variable(&self.state, "TRUNKLINE_STATE_DIR"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Args, Command};

    type Words = [Option<String>; 3];

    fn by_clap(words: &[&str]) -> Option<(Words, Named)> {
        let args = Args::try_parse_from(std::iter::once(&"trunkline").chain(words)).ok()?;
        let places = args.places();
        let Command::Connect { server, client, profile } = args.command else { return None };
        (!args.json).then_some(([server, client, profile], places))
    }

    #[test]
    fn it_reads_what_clap_reads() {
        for line in [
            "connect",
            "connect time",
            "--config /c connect time --client me",
            "connect --client=me --socket=/s time --state-dir /d",
            "connect --profile work",
            "connect --profile=work --client me",
            "connect time --profile work",
            "connect a b",
            "connect --client",
            "connect --client a --client b",
            "--client me connect",
            "connect --help",
            "connect --json",
            "status",
            "",
        ] {
            let words: Vec<_> = line.split_whitespace().collect();
            let own = ShimArgs::read(words.iter().map(|word| (*word).to_owned()));
            let own = own.map(|args| ([args.server.clone(), args.client.clone(), args.profile.clone()], args.places()));
            assert_eq!(own, by_clap(&words), "{line}");
        }
    }
}
