//! `watch`: servers, agents and calls in the terminal, as they are and as they end.
//!
//! Nothing is drawn but where something has changed: by an event of the daemon, a key, or the size of the terminal.

mod draw;
mod page;
mod steps;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::cli::done::{Done, Trouble};
use crate::cli::watch::page::Page;
use crate::cli::watch::steps::{Action, Step};
use crate::control::{Client, DaemonClient, LogLine};
use crate::record::CallShape;

/// How long news gather before the state is asked for again.
const GATHER: Duration = Duration::from_millis(250);
/// How often the state is asked for where nothing is heard: memory and ages change all the same.
const REFRESH: Duration = Duration::from_secs(3);
/// How many lines of a server's standard error are shown first.
const LINES: usize = 200;
/// How many keys may wait.
const KEYS: usize = 64;

type Subscription = jsonrpsee::core::client::Subscription<Box<RawValue>>;

/// Shows the page until the person leaves it.
pub(super) async fn run(client: &Client) -> Done {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(anyhow!("`watch` needs a terminal: `trunkline status` and `trunkline calls -f` print lines").into());
    }
    let mut page = Page::new(client.status().await?);
    let none = || None::<String>;
    let last = client.calls(none(), none(), none(), none(), none(), None, None, None, None, Some(page::CALLS)).await;
    // Where none can be read, those that end from now on are shown all the same.
    last.unwrap_or_default().into_iter().for_each(|call| page.add(call));
    let terminal = ratatui::try_init().context("cannot take the terminal over")?;
    let done = watch(client, &mut page, terminal).await;
    ratatui::restore();
    done.map(|()| ExitCode::SUCCESS)
}

async fn watch(client: &Client, page: &mut Page, mut terminal: DefaultTerminal) -> Result<(), Trouble> {
    let mut keys = keys();
    let mut events: Subscription = client.subscribe_events().await?;
    let mut calls: Subscription = client.subscribe_calls().await?;
    let mut logs: Option<Subscription> = None;
    let mut due = Instant::now() + REFRESH;
    loop {
        terminal.draw(|frame| draw::draw(frame, page))?;
        let action = tokio::select! {
            key = keys.recv() => match key {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => page.on_key(key),
                Some(_) => Action::Nothing,
                None => return Ok(()),
            },
            event = events.next() => {
                ended(event)?;
                due = due.min(Instant::now() + GATHER);
                Action::Nothing
            }
            call = calls.next() => {
                let call = ended(call)?;
                if let Ok(call) = serde_json::from_str::<CallShape>(call.get()) {
                    page.add(call);
                }
                due = due.min(Instant::now() + 4 * GATHER);
                // What has come meanwhile is drawn with it.
                while let Ok(Some(Ok(more))) = tokio::time::timeout(Duration::ZERO, calls.next()).await {
                    serde_json::from_str(more.get()).into_iter().for_each(|call| page.add(call));
                }
                Action::Nothing
            }
            line = next_of(&mut logs) => {
                if let Ok(LogLine { line }) = serde_json::from_str(ended(line)?.get()) {
                    page.add_line(line);
                }
                while let Some(open) = &mut logs
                    && let Ok(Some(Ok(more))) = tokio::time::timeout(Duration::ZERO, open.next()).await
                {
                    serde_json::from_str(more.get()).into_iter().for_each(|LogLine { line }| page.add_line(line));
                }
                Action::Nothing
            }
            () = sleep_until(due) => Action::Refresh,
        };
        match action {
            Action::Nothing => {}
            Action::Quit => return Ok(()),
            Action::Refresh => {
                page.update(client.status().await?);
                due = Instant::now() + REFRESH;
            }
            Action::Follow(server) => logs = Some(client.subscribe_logs(Some(server), Some(LINES)).await?),
            Action::Unfollow => logs = None,
            Action::Do(step, server) => {
                page.say(format!("{} `{server}` …", step.verb()));
                terminal.draw(|frame| draw::draw(frame, page))?;
                let said = carry_out(client, step, &server).await;
                page.say(said);
                due = Instant::now();
            }
        }
    }
}

/// The next line of a log, if one is followed.
async fn next_of(logs: &mut Option<Subscription>) -> Option<Result<Box<RawValue>, serde_json::Error>> {
    match logs {
        Some(logs) => logs.next().await,
        None => std::future::pending().await,
    }
}

fn ended(message: Option<Result<Box<RawValue>, serde_json::Error>>) -> Result<Box<RawValue>, Trouble> {
    message.transpose().map_err(anyhow::Error::from)?.ok_or_else(|| Trouble::Daemon("the daemon has ended".to_owned()))
}

/// Does what a key asked for; says what came of it.
async fn carry_out(client: &Client, step: Step, server: &str) -> String {
    let name = server.to_owned();
    let done = match step {
        Step::Start => client.start(name).await.map(|()| format!("`{server}` started")),
        Step::Stop => client.stop(name).await.map(|()| format!("`{server}` stopped")),
        Step::Restart => client.restart(name).await.map(|()| format!("`{server}` restarted")),
        Step::Login => client.login(name, Some(true)).await.map(|login| {
            let opened = webbrowser::open(&login.url).is_ok();
            if opened { format!("log in at {} in the browser", login.url) } else { format!("open {}", login.url) }
        }),
    };
    done.unwrap_or_else(|error| Trouble::from(error).to_string())
}

/// Keys, and changes of the terminal's size; the thread ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}
