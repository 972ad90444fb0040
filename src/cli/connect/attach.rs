//! The first words on a connection: what this shim wants of the daemon.

use std::io::{Read, Write};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::envelope::{Envelope, quoted};

/// The longest answer to `daemon.attach`.
const MAX_REPLY: usize = 64 * 1024;

/// What to attach to, and as whom; said again to every daemon.
pub(crate) struct Attach(String);

impl Attach {
    pub(crate) fn new(server: Option<String>, profile: Option<String>, client: Option<String>) -> Self {
        let cwd = std::env::current_dir().ok().map(|folder| folder.display().to_string());
        let client = client.or_else(parent_name);
        let named = [("server", server), ("profile", profile), ("cwd", cwd), ("client", client)];
        let params: Vec<_> =
            named.into_iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", quoted(&value?)))).collect();
        let params = params.join(",");
        Self(format!(r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{{params}}}}}"#))
    }

    /// Attaches.
    pub(super) fn send(&self, from_daemon: &mut impl Read, to_daemon: &mut impl Write) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        to_daemon.write_all(format!("{}\n", self.0).as_bytes()).context("the daemon does not take the connection")?;
        let mut reply = Vec::new();
        let mut byte = [0];
        // Byte by byte: what follows the line is not ours.
        while !reply.ends_with(b"\n") {
            let length = from_daemon.read(&mut byte).context("the daemon does not answer")?;
            if length == 0 || reply.len() > MAX_REPLY {
                bail!("the daemon closed the connection: is it of another version?");
            }
            reply.push(byte[0]);
        }
        let reply = Envelope::parse(&reply).context("the daemon's answer cannot be read")?;
        match reply.error.map(serde_json::from_str) {
            None => Ok(()),
            Some(Ok(Refusal { message })) => bail!("{message}"),
            Some(Err(error)) => Err(error).context("the daemon's refusal cannot be read"),
        }
    }
}

/// The name of the program that started this one, where the system tells it.
fn parent_name() -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let parent = std::os::unix::process::parent_id();
        let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }
    #[cfg(not(target_os = "linux"))]
    None
}
