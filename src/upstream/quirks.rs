//! What a server does that the specification forbids, and that is put up with: told once, in its log and in `status`.

use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::lines::is_told;
use crate::shown::printable;

/// How many are kept of a server.
const MOST: usize = 32;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quirk {
    NotUtf8,
    ByteOrderMark,
    NotANumber,
    Batch,
    SeveralOnALine,
    TextBeside,
    /// Lines that are no messages; the first of them.
    Noise(String),
    /// Of an answer: the id as the server spells it.
    IdSpelling(String),
    /// Of an answer: an id that nobody asked under.
    StrangeId(String),
    /// An answer that is to nothing, or could be to several requests, and is dropped; its first bytes.
    Dropped(String),
    /// An answer that cannot be read, and why.
    Unreadable(String),
    /// A message that readers do not agree about, and why.
    Ambiguous(String),
    /// A member of its handshake that has another shape.
    HandshakeShape(String),
    Undeclared(&'static str),
    /// A cursor came back; the method.
    Circling(&'static str),
    /// A list that cannot be read, or a page of it: the method, and why.
    List(&'static str, String),
    /// A list is larger than what is kept; the method.
    LongList(&'static str),
    /// Announcements of changes that come faster than they are passed on.
    Storm,
    AcceptedWithBody,
    AnswerElsewhere,
    /// A session was lost, which was said in this way.
    SessionLoss(String),
    /// A token that had run out was refused in this way.
    ExpiredToken(String),
}

impl Quirk {
    /// Whether something that the server wrote goes nowhere.
    fn loses(&self) -> bool {
        matches!(self, Self::Dropped(_) | Self::Unreadable(_) | Self::Ambiguous(_))
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("it sends bytes that are not UTF-8: each becomes U+FFFD"),
            Self::ByteOrderMark => f.write_str("it puts a byte-order mark before its messages: it is skipped"),
            Self::NotANumber => f.write_str("it writes NaN or Infinity, which JSON does not have: each becomes null"),
            Self::Batch => f.write_str("it sends batches: each message in them is taken by itself"),
            Self::SeveralOnALine => f.write_str("it writes several messages on one line: each is taken by itself"),
            Self::TextBeside => f.write_str("it writes text on the lines of its messages: the text is kept in its log"),
            Self::Noise(line) => write!(f, "it writes what is no message, which is kept in its log; the first: {line}"),
            Self::IdSpelling(id) => {
                write!(f, "it answers under {id}, which is another spelling of the id that it was asked under")
            }
            Self::StrangeId(id) => write!(f, "it answers under the id {id}, under which nobody asked"),
            Self::Dropped(answer) => {
                write!(
                    f,
                    "it sends answers that are to nothing, or to it is not known what, and they are dropped; the first: {answer}"
                )
            }
            Self::Unreadable(reason) => write!(f, "an answer of it could not be read: {reason}"),
            Self::Ambiguous(why) => write!(f, "it sends what readers do not agree about, which is dropped: {why}"),
            Self::HandshakeShape(what) => write!(f, "in its handshake, {what}"),
            Self::Undeclared(what) => write!(f, "it does not declare that it has {what}, and has some all the same"),
            Self::Circling(method) => {
                write!(f, "its pages of `{method}` name a page that was there before: the list ends with it")
            }
            Self::List(method, why) => write!(f, "its answer to `{method}` cannot be used: {why}"),
            Self::LongList(method) => write!(
                f,
                "what it answers to `{method}` altogether is more than is kept (max_frame): it is asked each time, and the all-servers view is without"
            ),
            Self::Storm => {
                f.write_str("it announces changes of its lists all the time: agents hear of one each second at most")
            }
            Self::AcceptedWithBody => f.write_str("it answers with the status 202, which stands for no answer"),
            Self::AnswerElsewhere => {
                f.write_str("it answers on the stream of what belongs to no request, which the specification forbids")
            }
            Self::SessionLoss(how) => write!(f, "it says that a session is lost by {how}, and not by 404"),
            Self::ExpiredToken(how) => write!(f, "it refuses a token that has run out with {how}, and not with 401"),
        }
    }
}

/// All that a server has shown of them. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Quirks(Arc<Mutex<Vec<Told>>>);

/// Of what kind it was, how it was said, and how often there was one of its kind.
#[derive(Debug)]
struct Told {
    kind: Discriminant<Quirk>,
    text: String,
    count: u64,
}

impl Told {
    fn shown(&self) -> String {
        match self.count {
            1 => self.text.clone(),
            count => format!("{} ({count} times)", self.text),
        }
    }
}

impl Quirks {
    /// Notes one; tells how to say it if it is the first of its kind, or where something is lost the tenth, the hundredth …
    pub fn note(&self, quirk: &Quirk) -> Option<String> {
        let mut all = self.0.lock();
        let kind = discriminant(quirk);
        // A handshake may have several, and so may lists.
        let repeats =
            matches!(quirk, Quirk::HandshakeShape(_) | Quirk::Undeclared(_) | Quirk::List(..) | Quirk::LongList(_));
        let text = printable(&quirk.to_string());
        if let Some(told) = all.iter_mut().find(|told| told.kind == kind && (!repeats || told.text == text)) {
            told.count += 1;
            return (quirk.loses() && is_told(told.count)).then(|| told.shown());
        }
        if all.len() == MOST {
            return None;
        }
        all.push(Told { kind, text: text.clone(), count: 1 });
        Some(text)
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().iter().map(Told::shown).collect()
    }
}
