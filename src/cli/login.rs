//! `login` and `logout`.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cli::done::{Done, Trouble, complain, out};
use crate::control::{Client, DaemonClient};

/// How long the end of a login may take to be heard of.
const MOMENT: Duration = Duration::from_millis(500);

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
    writeln!(out(), "{}", begun.url)?;
    io::stdout().flush()?;
    let mut pasted = match browser {
        Browser::Open => {
            // The URL came from the authorization server's metadata: only a web page is opened, and by no shell.
            if let Err(error) = webbrowser::open(&begun.url) {
                complain(&format!("no browser could be opened ({error}): open the page yourself"));
            }
            complain("waiting for the login …");
            None
        }
        Browser::None => {
            complain(&format!(
                "then paste the address that the browser ends at ({}…), also if it shows an error there:",
                begun.redirect_uri
            ));
            Some(read_lines())
        }
    };
    let done = client.login_complete(server.to_owned(), None);
    tokio::pin!(done);
    let warning = loop {
        let line = OptionFuture::from(pasted.as_mut().map(mpsc::Receiver::recv));
        tokio::select! {
            // The browser reached the daemon by itself.
            result = &mut done => break result?,
            Some(line) = line => {
                let Some(line) = line else {
                    complain("nothing more can be pasted: waiting for the browser to come back by itself");
                    pasted = None;
                    continue;
                };
                let error = match client.login_complete(server.to_owned(), Some(line)).await {
                    Ok(warning) => break warning,
                    Err(error) => error,
                };
                // If that was the end of the login, it says why; a wrong address is not.
                if let Ok(ended) = timeout(MOMENT, &mut done).await {
                    break ended?;
                }
                let error = Trouble::from(error);
                complain(&format!("{error}; paste the whole address that the browser ended at:"));
            }
        }
    };
    if let Some(warning) = warning {
        complain(&format!("mind this: {warning}"));
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

/// The lines that are not empty, read beside everything else.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let all = io::stdin().lock().lines().map_while(Result::ok);
        for line in all.filter(|line| !line.trim().is_empty()) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
