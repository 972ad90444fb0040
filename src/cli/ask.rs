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

/// Which of several a person wants; `None` for the way back, which Escape is too.
pub(super) fn choose(question: &str, choices: &[&str]) -> anyhow::Result<Option<usize>> {
    let chosen = Select::with_theme(&*theme()).with_prompt(question).items(choices).default(0).interact_opt();
    chosen.context("cannot ask at the terminal")
}

/// Some of several, all of which are chosen at first; `None` for the way back.
pub(super) fn choose_some(question: &str, choices: &[&str]) -> anyhow::Result<Option<Vec<usize>>> {
    let all = choices.iter().map(|choice| (*choice, true));
    let chosen = MultiSelect::with_theme(&*theme()).with_prompt(question).items_checked(all).interact_opt();
    chosen.context("cannot ask at the terminal")
}

/// With colours where a person wants them.
fn theme() -> Box<dyn Theme> {
    if console::colors_enabled_stderr() { Box::new(ColorfulTheme::default()) } else { Box::new(SimpleTheme) }
}
