//! What an agent is asked, and how its answers find their way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{oneshot, watch};

use super::Session;
use crate::hub::line::Line;
use crate::hub::rounds::Round;
use crate::names::ServerName;

/// A request that waits for this agent's answer.
#[derive(Debug)]
pub enum Question {
    /// A server's.
    Server {
        line: Arc<Line>,
        /// The server's own id, raw.
        id: Box<str>,
        /// The server's own progress token, raw.
        token: Option<Box<str>>,
    },
    /// The hub's own `roots/list`.
    Roots,
    /// A modern server's, one of those that were asked together.
    Round { round: Arc<Round>, index: usize },
    /// Whether the person wants to log in, which the hub asks itself.
    Login(oneshot::Sender<Accepted>),
}

/// What a person says to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    Yes,
    No,
}

impl Question {
    /// Tells who asked that there will be no answer.
    pub fn refuse(&self, reason: &str) {
        match self {
            Self::Server { line, id, .. } => line.refuse(id, reason),
            Self::Round { .. } | Self::Roots | Self::Login(_) => {}
        }
    }
}

/// Ids of questions: unlike those of any daemon before this one, because an agent that outlives its daemon may still
/// answer the old one. They stay below 2^53, which is as far as JavaScript counts.
fn next_question() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let first = (seconds & 0xffff_ffff) << 20;
    NEXT.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed).ok();
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Session {
    /// Notes a request and returns the id under which the agent is asked.
    pub fn ask(&self, question: Question) -> u64 {
        let id = next_question();
        self.state.lock().questions.insert(id, question);
        id
    }

    /// Takes the question that `id`, raw, answers.
    pub fn take_question(&self, id: &str) -> Option<Question> {
        self.state.lock().questions.remove(&id.parse().ok()?)
    }

    /// Drops every question of a line that closed.
    pub fn drop_questions(&self, line: &Line) {
        let of_line = |question: &Question| match question {
            Question::Server { line: asker, .. } => std::ptr::eq(&**asker, line),
            Question::Round { .. } | Question::Roots | Question::Login(_) => false,
        };
        self.state.lock().questions.retain(|_, question| !of_line(question));
    }

    /// Takes all questions: the agent will not answer them.
    pub fn take_questions(&self) -> Vec<Question> {
        std::mem::take(&mut self.state.lock().questions).into_values().collect()
    }

    /// The line whose open question carries this progress token.
    pub fn line_of_token(&self, token: &str) -> Option<Arc<Line>> {
        let state = self.state.lock();
        state.questions.values().find_map(|question| match question {
            Question::Server { line, token: Some(own), .. } if **own == *token => Some(line.clone()),
            Question::Server { .. } | Question::Round { .. } | Question::Roots | Question::Login(_) => None,
        })
    }

    pub fn note_round(&self, id: &str, round: &Arc<Round>) {
        self.state.lock().rounds.insert(id.into(), round.clone());
    }

    /// Forgets what a request waits for, if it still waits for this.
    pub fn forget_round(&self, id: &str, round: &Arc<Round>) -> bool {
        let mut state = self.state.lock();
        let same = state.rounds.get(id).is_some_and(|own| Arc::ptr_eq(own, round));
        same && state.rounds.remove(id).is_some()
    }

    /// Ends every request that waits for answers of the agent.
    pub fn end_rounds(&self) {
        let all: Vec<_> = self.state.lock().rounds.values().cloned().collect();
        for round in all {
            round.end();
        }
    }

    /// What the request `id`, raw, waits for.
    pub fn round(&self, id: &str) -> Option<Arc<Round>> {
        self.state.lock().rounds.get(id).cloned()
    }

    /// Takes the questions of a round that are not answered: under which ids they were asked.
    pub fn take_round(&self, round: &Arc<Round>) -> Vec<u64> {
        let mut state = self.state.lock();
        let of_round =
            |question: &Question| matches!(question, Question::Round { round: own, .. } if Arc::ptr_eq(own, round));
        state.questions.extract_if(|_, question| of_round(question)).map(|(id, _)| id).collect()
    }

    /// How the question for a server's login ends; the sender is for the one who asks, if nobody does yet.
    pub fn login_asked(
        &self,
        server: &ServerName,
    ) -> (watch::Receiver<Option<Accepted>>, Option<watch::Sender<Option<Accepted>>>) {
        let mut state = self.state.lock();
        if let Some(open) =
            state.logins.get(server).filter(|open| open.borrow().is_none() && open.has_changed().is_ok())
        {
            return (open.clone(), None);
        }
        let (sender, receiver) = watch::channel(None);
        state.logins.insert(server.clone(), receiver.clone());
        (receiver, Some(sender))
    }

    /// Whether the agent has not answered this question yet.
    pub fn is_asked(&self, id: u64) -> bool {
        self.state.lock().questions.contains_key(&id)
    }
}
