//! What the page shows, and what each key does to it. Pure.
#![allow(clippy::wildcard_enum_match_arm, reason = "a terminal has more keys than mean something here")]

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::cli::figures::age;
use crate::cli::watch::steps::{Action, CallKey, Over, Step};
use crate::control::{ServerStatus, SessionStatus, Status};
use crate::record::{CallShape, subject_shown};
use crate::shown;

/// How many calls and lines are kept.
pub(super) const CALLS: usize = 500;
const LINES: usize = 1_000;

/// Which list the keys move in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Servers,
    Agents,
    Calls,
}

/// The page.
#[derive(Debug)]
pub(super) struct Page {
    pub status: Status,
    pub calls: VecDeque<CallShape>,
    pub lines: VecDeque<String>,
    pub pane: Pane,
    pub over: Over,
    /// What was typed to filter by, and whether it is being typed.
    pub filter: String,
    pub typing: bool,
    /// Which row is chosen in each list.
    chosen: [usize; 3],
    /// How far what is over the lists is scrolled, from its end or its beginning.
    pub scrolled: usize,
    pub message: Option<String>,
}

impl Page {
    pub(super) fn new(status: Status) -> Self {
        Self {
            status,
            calls: VecDeque::new(),
            lines: VecDeque::new(),
            pane: Pane::Servers,
            over: Over::Nothing,
            filter: String::new(),
            typing: false,
            chosen: [0; 3],
            scrolled: 0,
            message: None,
        }
    }

    pub(super) fn update(&mut self, status: Status) {
        self.status = status;
    }

    /// Adds a call that has ended: the newest stands first.
    pub(super) fn add(&mut self, call: CallShape) {
        let shown = self.shown_calls().len();
        self.calls.push_front(call);
        // Who looks at one call goes on looking at it.
        if self.pane == Pane::Calls && self.chosen[2] > 0 && self.shown_calls().len() > shown {
            self.chosen[2] = (self.chosen[2] + 1).min(CALLS - 1);
        }
        self.calls.truncate(CALLS);
    }

    pub(super) fn add_line(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    pub(super) fn say(&mut self, message: String) {
        self.message = Some(message);
    }

    fn passes(&self, words: &[&str]) -> bool {
        let filter = self.filter.to_lowercase();
        filter.is_empty() || words.iter().any(|word| word.to_lowercase().contains(&filter))
    }

    pub(super) fn servers(&self) -> Vec<&ServerStatus> {
        self.status.servers.iter().filter(|server| self.passes(&[&server.name, &server.state])).collect()
    }

    pub(super) fn agents(&self) -> Vec<&SessionStatus> {
        let passes = |agent: &&SessionStatus| {
            let of = |text: &Option<String>| text.clone().unwrap_or_default();
            self.passes(&[&of(&agent.name), &of(&agent.server), &of(&agent.cwd)])
        };
        self.status.sessions.iter().filter(passes).collect()
    }

    pub(super) fn shown_calls(&self) -> Vec<&CallShape> {
        let passes = |call: &&CallShape| {
            let agent = call.agent.name.as_deref().unwrap_or_default();
            let subject = call.subject.as_deref().unwrap_or_default();
            self.passes(&[agent, &call.server, &call.method, subject, &call.outcome])
        };
        self.calls.iter().filter(passes).collect()
    }

    fn count(&self, pane: Pane) -> usize {
        match pane {
            Pane::Servers => self.servers().len(),
            Pane::Agents => self.agents().len(),
            Pane::Calls => self.shown_calls().len(),
        }
    }

    /// Which row of a list is chosen.
    pub(super) fn chosen(&self, pane: Pane) -> usize {
        self.chosen[pane as usize].min(self.count(pane).saturating_sub(1))
    }

    /// The server that keys mean: the one that is chosen, or the one of the call that is.
    pub(super) fn server(&self) -> Option<String> {
        match self.pane {
            Pane::Servers => self.servers().get(self.chosen(Pane::Servers)).map(|server| server.name.clone()),
            Pane::Calls => self.shown_calls().get(self.chosen(Pane::Calls)).map(|call| call.server.clone()),
            Pane::Agents => None,
        }
    }

    /// What is wrong with the server that is chosen, if anything is.
    pub(super) fn trouble(&self) -> Option<(&str, &str)> {
        let server = *self.servers().get(self.chosen(Pane::Servers)).filter(|_| self.pane == Pane::Servers)?;
        let error = server.last_error.as_deref().filter(|_| server.state != "ready")?;
        Some((&server.name, error))
    }

    /// The calls that servers are at for a second or longer, in words.
    pub(super) fn under_way(&self) -> Vec<String> {
        let servers = self.status.servers.iter();
        let calls = servers.flat_map(|server| {
            let calls = server.instances.iter().flat_map(|instance| &instance.calls);
            calls.filter(|call| call.age > 0).map(move |call| {
                let what = subject_shown(&call.method, call.subject.as_deref());
                format!("{what} at {} for {}", shown::line(&server.name), age(call.age))
            })
        });
        calls.collect()
    }

    /// The call that is looked at.
    pub(super) fn call(&self, key: &CallKey) -> Option<&CallShape> {
        self.calls.iter().find(|call| key_of(call) == *key)
    }

    fn go(&mut self, rows: isize) {
        if self.over != Over::Nothing {
            self.scrolled = self.scrolled.saturating_add_signed(-rows);
            return;
        }
        let last = self.count(self.pane).saturating_sub(1);
        let chosen = self.chosen(self.pane);
        self.chosen[self.pane as usize] = chosen.saturating_add_signed(rows).min(last);
    }

    /// Does what a key says.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Action::Quit;
        }
        if self.typing {
            return self.type_filter(key.code);
        }
        self.message = None;
        match (&self.over, key.code) {
            (Over::Confirm(step, server), KeyCode::Char('y') | KeyCode::Enter) => {
                let action = Action::Do(*step, server.clone());
                self.over = Over::Nothing;
                return action;
            }
            (Over::Confirm(..), _) => self.over = Over::Nothing,
            (Over::Nothing, KeyCode::Char('q')) => return Action::Quit,
            (Over::Log(_), KeyCode::Esc | KeyCode::Char('q') | KeyCode::Enter) => {
                self.leave();
                self.lines.clear();
                return Action::Unfollow;
            }
            (Over::Nothing, KeyCode::Esc) => self.filter.clear(),
            (_, KeyCode::Esc | KeyCode::Char('q') | KeyCode::Enter) if self.over != Over::Nothing => self.leave(),
            (_, KeyCode::Down | KeyCode::Char('j')) => self.go(1),
            (_, KeyCode::Up | KeyCode::Char('k')) => self.go(-1),
            (_, KeyCode::PageDown) => self.go(10),
            (_, KeyCode::PageUp) => self.go(-10),
            (_, KeyCode::Home | KeyCode::Char('g')) => self.go(isize::MIN / 2),
            (_, KeyCode::End | KeyCode::Char('G')) => self.go(isize::MAX / 2),
            (Over::Nothing, code) => return self.choose(code),
            (Over::Help | Over::Call(_) | Over::Log(_), _) => {}
        }
        Action::Nothing
    }

    fn leave(&mut self) {
        self.over = Over::Nothing;
        self.scrolled = 0;
    }

    /// Keys of the lists.
    fn choose(&mut self, code: KeyCode) -> Action {
        match code {
            KeyCode::Tab | KeyCode::Right => {
                self.pane = match self.pane {
                    Pane::Servers => Pane::Agents,
                    Pane::Agents => Pane::Calls,
                    Pane::Calls => Pane::Servers,
                }
            }
            KeyCode::BackTab | KeyCode::Left => {
                self.pane = match self.pane {
                    Pane::Servers => Pane::Calls,
                    Pane::Agents => Pane::Servers,
                    Pane::Calls => Pane::Agents,
                }
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('?' | 'h') => self.over = Over::Help,
            KeyCode::Enter => return self.open(),
            KeyCode::Char('e') => return self.open_log(),
            KeyCode::Char('r') => self.ask(|_| Step::Restart),
            KeyCode::Char('s') => {
                self.ask(|server| if server.state == "stopped" { Step::Start } else { Step::Stop });
            }
            KeyCode::Char('l') => self.ask(|_| Step::Login),
            KeyCode::Char('u') => return Action::Refresh,
            _ => {}
        }
        Action::Nothing
    }

    fn open(&mut self) -> Action {
        match self.pane {
            Pane::Servers => return self.open_log(),
            Pane::Calls => {
                let call = self.shown_calls().get(self.chosen(Pane::Calls)).map(|call| key_of(call));
                if let Some(key) = call {
                    self.over = Over::Call(Box::new(key));
                }
            }
            // What it did is what one wants to know of it.
            Pane::Agents => {
                let name = self.agents().get(self.chosen(Pane::Agents)).and_then(|agent| agent.name.clone());
                if let Some(name) = name {
                    self.filter = name;
                    self.pane = Pane::Calls;
                }
            }
        }
        Action::Nothing
    }

    fn open_log(&mut self) -> Action {
        let Some(server) = self.server() else { return Action::Nothing };
        self.lines.clear();
        self.scrolled = 0;
        self.over = Over::Log(server.clone());
        Action::Follow(server)
    }

    fn ask(&mut self, step: impl Fn(&ServerStatus) -> Step) {
        let name = self.server();
        let found = self.status.servers.iter().find(|server| Some(&server.name) == name.as_ref());
        if let Some(server) = found {
            self.over = Over::Confirm(step(server), server.name.clone());
        }
    }

    fn type_filter(&mut self, code: KeyCode) -> Action {
        match code {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            _ => {}
        }
        Action::Nothing
    }
}

fn key_of(call: &CallShape) -> CallKey {
    (call.at.clone(), call.session, call.server.clone())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A page of a daemon with two servers, an agent and some calls.
    pub(in crate::cli::watch) fn page() -> Page {
        let server = |name: &str, state: &str| {
            serde_json::json!({ "name": name, "state": state, "era": "legacy", "share": "auto", "instances": [],
                "starts": 1, "last_error": null, "hidden": [], "denied": [], "ambiguous_request": null, "calls": 3, "failures": 1, "since": 70 })
        };
        let session = serde_json::json!({ "session": 4, "name": "codex", "server": null, "profile": null, "cwd": "/w",
            "project": null, "pid": 9, "era": "legacy", "age": 7, "in_flight": 0 });
        let status = serde_json::json!({ "version": "0", "pid": 1, "uptime": 5, "socket": "/s", "config": "/c", "problems": [],
            "memory": { "used": 0, "saved": 0 }, "credentials": { "key": null, "notice": null, "logins": [] },
            "servers": [server("time", "ready"), server("notes\u{1b}[2J", "stopped")], "sessions": [session] });
        let mut page = Page::new(serde_json::from_value(status).expect("a status"));
        for number in 0..3 {
            let call = serde_json::json!({ "at": format!("2026-01-01T00:00:0{number}Z"), "agent": { "name": "codex" }, "session": 4,
                "server": "time", "method": "tools/call", "subject": format!("tool{number}\u{202e}"), "took_ms": 1.5, "sent": 1,
                "received": 2, "tokens": 1, "progress": 0, "outcome": "result", "failed": false });
            page.add(serde_json::from_value(call).expect("a call"));
        }
        page
    }

    fn press(page: &mut Page, keys: &str) -> Action {
        let code = |letter| match letter {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            letter => KeyCode::Char(letter),
        };
        keys.chars().map(|letter| page.on_key(KeyEvent::from(code(letter)))).last().unwrap_or(Action::Nothing)
    }

    #[test]
    fn what_keys_do() {
        let time = || "time".to_owned();
        let stopped = || "notes\u{1b}[2J".to_owned();
        for (keys, action, over) in [
            ("q", Action::Quit, Over::Nothing),
            ("\n", Action::Follow(time()), Over::Log(time())),
            ("e\u{1b}", Action::Unfollow, Over::Nothing),
            ("r", Action::Nothing, Over::Confirm(Step::Restart, time())),
            ("ry", Action::Do(Step::Restart, time()), Over::Nothing),
            ("rn", Action::Nothing, Over::Nothing),
            ("↓s", Action::Nothing, Over::Confirm(Step::Start, stopped())),
            ("ss", Action::Nothing, Over::Nothing),
            ("?q", Action::Nothing, Over::Nothing),
            ("?qq", Action::Quit, Over::Nothing),
            ("\t\t\n", Action::Nothing, Over::Call(Box::new(("2026-01-01T00:00:02Z".to_owned(), 4, time())))),
            ("\t\tr", Action::Nothing, Over::Confirm(Step::Restart, time())),
        ] {
            let mut page = page();
            assert_eq!((press(&mut page, keys), &page.over), (action, &over), "{keys:?}");
        }
    }

    #[test]
    fn what_is_typed_filters_every_list() {
        let mut page = page();
        press(&mut page, "/tool1");
        assert_eq!((page.servers().len(), page.shown_calls().len()), (0, 1));
        assert_eq!(press(&mut page, "\nq"), Action::Quit);
        press(&mut page, "\u{1b}");
        assert_eq!((page.servers().len(), page.agents().len(), page.shown_calls().len()), (2, 1, 3));
        press(&mut page, "\t\n");
        assert_eq!((page.pane, page.filter.as_str()), (Pane::Calls, "codex"));
    }

    #[test]
    fn who_looks_at_a_call_goes_on_looking_at_it() {
        let mut page = page();
        press(&mut page, "\t\t↓/codex\n");
        for (agent, chosen) in [("codex", 2), ("another", 2), ("codex", 3)] {
            let mut call = page.calls[0].clone();
            call.agent.name = Some(agent.to_owned());
            page.add(call);
            assert_eq!(page.chosen(Pane::Calls), chosen, "{agent}");
        }
    }
}
