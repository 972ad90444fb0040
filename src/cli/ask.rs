//! Questions to the person at the terminal, one at a time, each with a default.

use std::io::{self, IsTerminal};

use anyhow::Context;
use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use dialoguer::{Confirm, MultiSelect, Select};

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// The person, at the terminal.
    Ask,
    /// `--yes` said so beforehand.
    Yes,
    /// Nobody: what needs a word is not done.
    Nobody,
}

impl Consent {
    pub(super) fn of(yes: bool) -> Self {
        match (yes, io::stdin().is_terminal() && io::stderr().is_terminal()) {
            (true, _) => Self::Yes,
            (false, true) => Self::Ask,
            (false, false) => Self::Nobody,
        }
    }

    /// Whether the person agrees; `default` is what Enter means.
    pub(super) fn agrees(self, question: &str, default: bool) -> anyhow::Result<bool> {
        match self {
            Self::Yes => Ok(true),
            Self::Nobody => Ok(false),
            Self::Ask => Confirm::with_theme(&*theme())
                .with_prompt(question)
                .default(default)
                .interact()
                .context("cannot ask at the terminal"),
        }
    }
}

/// What a person says to a question of several steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    Back,
}

/// One of two answers, or the way back.
pub(super) fn two(question: &str, yes: &str, no: &str) -> anyhow::Result<Answer> {
    Ok(match choose(question, &[yes, no, "back"])? {
        Some(0) => Answer::Yes,
        Some(1) => Answer::No,
        Some(_) | None => Answer::Back,
    })
}

/// All of several things, or some of them, or none.
pub(super) fn several<T: Clone>(
    question: &str,
    none: &str,
    all: &[T],
    title: impl Fn(&T) -> &str,
) -> anyhow::Result<(Answer, Vec<T>)> {
    if all.len() == 1 {
        let answer = two(question, "yes", none)?;
        return Ok((answer, if answer == Answer::Yes { all.to_vec() } else { Vec::new() }));
    }
    loop {
        match choose(question, &["yes, all of them", "some of them", none, "back"])? {
            Some(0) => return Ok((Answer::Yes, all.to_vec())),
            Some(1) => {
                let titles: Vec<_> = all.iter().map(&title).collect();
                // The way back of this question is the one before it.
                if let Some(chosen) = choose_some("Which? Space chooses, Enter goes on, Esc goes back", &titles)? {
                    let chosen: Vec<_> = chosen.into_iter().filter_map(|at| all.get(at).cloned()).collect();
                    return Ok((if chosen.is_empty() { Answer::No } else { Answer::Yes }, chosen));
                }
            }
            Some(2) => return Ok((Answer::No, Vec::new())),
            Some(_) | None => return Ok((Answer::Back, Vec::new())),
        }
    }
}

/// Which of several a person wants; `None` for the way back, which Escape is too.
fn choose(question: &str, choices: &[&str]) -> anyhow::Result<Option<usize>> {
    let chosen = Select::with_theme(&*theme()).with_prompt(question).items(choices).default(0).interact_opt();
    chosen.context("cannot ask at the terminal")
}

/// Some of several, all of which are chosen at first; `None` for the way back.
fn choose_some(question: &str, choices: &[&str]) -> anyhow::Result<Option<Vec<usize>>> {
    let all = choices.iter().map(|choice| (*choice, true));
    let chosen = MultiSelect::with_theme(&*theme()).with_prompt(question).items_checked(all).interact_opt();
    chosen.context("cannot ask at the terminal")
}

/// With colours where a person wants them.
fn theme() -> Box<dyn Theme> {
    if console::colors_enabled_stderr() { Box::new(ColorfulTheme::default()) } else { Box::new(SimpleTheme) }
}
