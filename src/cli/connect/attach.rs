//! The first words on a connection: what this shim wants of the daemon.

use std::io::{self, Read, Write};

use serde::Deserialize;

use crate::envelope::{Envelope, quoted};
use crate::same_folder;

/// The longest answer to `daemon.attach`.
const MAX_REPLY: usize = 64 * 1024;

/// What to attach to, and as whom; said again to every daemon.
pub(crate) struct Attach(String);

/// Why the daemon did not take the connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    #[error("the daemon does not answer: {0}")]
    Gone(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
}

impl Attach {
    pub(crate) fn new(server: Option<String>, profile: Option<String>, client: Option<String>) -> Self {
        let folder = std::env::current_dir().ok();
        let identity = folder.as_deref().and_then(same_folder::identity);
        let cwd = folder.map(|folder| folder.display().to_string());
        let client = client.or_else(parent_name);
        let host = same_folder::host();
        let named = [
            ("server", server),
            ("profile", profile),
            ("cwd", cwd),
            ("folder", identity),
            ("host", host),
            ("client", client),
        ];
        let params: Vec<_> =
            named.into_iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", quoted(&value?)))).collect();
        let params = params.join(",");
        Self(format!(r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{{params}}}}}"#))
    }

    /// Attaches.
    pub(super) fn send(&self, from_daemon: &mut impl Read, to_daemon: &mut impl Write) -> Result<(), AttachError> {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        to_daemon.write_all(format!("{}\n", self.0).as_bytes())?;
        let mut reply = Vec::new();
        let mut byte = [0];
        // Byte by byte: what follows the line is not ours.
        while !reply.ends_with(b"\n") && reply.len() < MAX_REPLY {
            from_daemon.read_exact(&mut byte)?;
            reply.push(byte[0]);
        }
        let refused =
            |error: &dyn std::fmt::Display| AttachError::Refused(format!("its answer cannot be read: {error}"));
        let reply = Envelope::parse(&reply).map_err(|error| refused(&error))?;
        match reply.error.map(serde_json::from_str) {
            None => Ok(()),
            Some(Ok(Refusal { message })) => Err(AttachError::Refused(message)),
            Some(Err(error)) => Err(refused(&error)),
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
