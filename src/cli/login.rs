//! `login` and `logout`.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Done, complain};
use crate::control::{Client, DaemonClient};

/// Who opens the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Browser {
    Open,
    /// The person, on any machine; the address that it ends at is pasted.
    None,
}

pub(super) async fn run(client: &Client, server: &str, browser: Browser) -> Done {
    complain(&format!("asking `{server}` where to log in …"));
    let begun = client.login(server.to_owned(), None).await?;
    complain("open this page to log in:");
    writeln!(io::stdout(), "{}", begun.url)?;
    io::stdout().flush()?;
    let pasted = match browser {
        Browser::Open => {
            // The URL came from the authorization server's metadata: only a web page is opened, and by no shell.
            if let Err(error) = webbrowser::open(&begun.url) {
                complain(&format!("no browser could be opened ({error}): open the page yourself"));
            }
            None
        }
        Browser::None => {
            complain(&format!(
                "then paste the address that the browser ends at ({}…), also if it shows an error there:",
                begun.redirect_uri
            ));
            Some(read_line())
        }
    };
    complain("waiting for the login …");
    let done = client.login_complete(server.to_owned(), None);
    tokio::pin!(done);
    let line = async {
        match pasted {
            Some(line) => line.await.ok(),
            None => None,
        }
    };
    tokio::select! {
        // The browser reached the daemon by itself.
        result = &mut done => result?,
        // Where nothing will be pasted, only that is left.
        Some(line) = line => client.login_complete(server.to_owned(), Some(line)).await?,
    }
    finished(server)
}

/// Takes over the login that Codex keeps.
pub(super) async fn take_over_from_codex(client: &Client, server: &str) -> Done {
    let own = std::env::var_os("CODEX_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = own.or_else(|| Some(std::env::home_dir()?.join(".codex")));
    let home = home.ok_or_else(|| anyhow::anyhow!("no home folder: set CODEX_HOME to Codex's"))?;
    client.login_from_codex(server.to_owned(), std::path::absolute(home)?).await?;
    complain(
        "Codex still has this login too: if it refreshes it, this one ends. Have it use `trunkline connect` instead",
    );
    finished(server)
}

fn finished(server: &str) -> Done {
    complain(&format!("logged in at `{server}`; agents that are running can use it now"));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn end(client: &Client, server: &str) -> Done {
    let was = client.logout(server.to_owned()).await?;
    complain(&match was {
        true => format!("logged out of `{server}`"),
        false => format!("there was no login at `{server}`"),
    });
    Ok(ExitCode::SUCCESS)
}

/// The next line that is not empty, read beside everything else.
fn read_line() -> tokio::sync::oneshot::Receiver<String> {
    let (sender, line) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let lines = io::stdin().lock().lines();
        if let Some(line) = lines.map_while(Result::ok).find(|line| !line.trim().is_empty()) {
            // Who waited has what it wanted.
            drop(sender.send(line));
        }
    });
    line
}
