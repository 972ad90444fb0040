//! What an agent is asked, and how its answers find their way back.

use tokio::sync::watch;

use crate::envelope::{quoted, reply, text};
use crate::hub::ids::InstanceId;
use crate::hub::session::Session;
use crate::hub::session::open_request::{Accepted, OpenRequest, next_question};
use crate::method::Method;
use crate::names::ServerName;
use crate::wire::To;

impl Session {
    /// Notes a request and returns the id under which the agent is asked.
    pub fn ask(&self, question: OpenRequest) -> u64 {
        let id = next_question();
        self.state.lock().questions.insert(id, question);
        id
    }

    /// Takes the question that `id`, raw, answers.
    pub fn take_open_request(&self, id: &str) -> Option<OpenRequest> {
        self.state.lock().questions.remove(&id.parse().ok()?)
    }

    /// Takes back what the agent was asked under this id, if it has not answered: nobody waits for that any more.
    pub(in crate::hub) fn take_back(&self, id: u64, reason: &str) {
        if self.take_open_request(&id.to_string()).is_some() {
            let params = format!(r#"{{"requestId":{id},"reason":{}}}"#, quoted(reason));
            self.tell(To::Agent, &reply::notification(Method::Cancelled, &params));
        }
    }

    /// Takes all questions: the agent will not answer them.
    pub fn take_open_requests(&self) -> Vec<OpenRequest> {
        std::mem::take(&mut self.state.lock().questions).into_values().collect()
    }

    /// The instance whose open question the agent tells progress of, and that server's own token, raw. Towards the agent, the
    /// question's id is its token: those of two servers may be the same.
    pub(in crate::hub) fn asker_of_token(&self, token: &str) -> Option<(InstanceId, Box<str>)> {
        let id = token.parse().ok().or_else(|| text(token)?.parse().ok())?;
        match self.state.lock().questions.get(&id)? {
            OpenRequest::Server { instance, token, .. } => Some((*instance, token.clone()?)),
            OpenRequest::InputRound { .. } | OpenRequest::Roots | OpenRequest::Login(_) => None,
        }
    }

    /// Takes the questions of a round that are not answered: under which ids they were asked.
    pub(in crate::hub) fn take_round(&self, number: u64) -> Vec<u64> {
        let mut state = self.state.lock();
        let of_round =
            |question: &OpenRequest| matches!(question, OpenRequest::InputRound { round, .. } if *round == number);
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
