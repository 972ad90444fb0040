//! The file of the record, for those who read it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params_from_iter};
use url::Url;
use wildmatch::WildMatch;

use crate::method::Method;
use crate::record::block::{self, Entry};
use crate::record::call::{FIRST_FAILURE, Outcome};
use crate::record::query::{BadMoment, Query, moment};
use crate::record::shape::{AskedShape, CallShape, Caller, micros, milliseconds, rfc3339, tokens};
use crate::record::stats::{By, Stats};
use crate::record::store::VERSION;
use crate::record::timeline::{Point, Timeline};

/// How many calls are given where nobody says.
const LIMIT: usize = 50;

/// By server, minutes since 1970 with their calls and failures.
pub type ByServer = HashMap<String, Vec<(u64, u64, u64)>>;

/// Why the record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("no call is recorded yet: {0} is not there")]
    Missing(PathBuf),
    #[error("{path} cannot be read as a record of calls: {error}")]
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error("{path} is of another version of trunkline")]
    Foreign { path: PathBuf },
    #[error(transparent)]
    Moment(#[from] BadMoment),
}

/// A record that is open to be read.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Whether calls stand in the log beside the file.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Opens a file, and tells its version.
fn opened(path: &Path, more: OpenFlags) -> rusqlite::Result<(Connection, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((connection, version))
}

/// Names and agents by their numbers.
type Names = HashMap<u32, String>;
type Agents = HashMap<u32, Caller>;

/// Which calls fit, by the numbers of the file.
#[derive(Debug)]
struct Wanted {
    server: Option<HashSet<u32>>,
    subject: Option<HashSet<u32>>,
    agent: Option<HashSet<u32>>,
    /// A session, in place of an agent.
    session: Option<u64>,
    since: i64,
    until: i64,
    failed: bool,
    slow: u64,
    after: i64,
    id: Option<i64>,
}

impl Wanted {
    fn of(query: &Query, names: &Names, agents: &Agents) -> Result<Self, BadMoment> {
        let now = SystemTime::now();
        let moment = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
        let named = |pattern: &Option<String>| {
            let pattern = WildMatch::new(pattern.as_deref()?);
            Some(names.iter().filter(|(_, text)| pattern.matches(text)).map(|(number, _)| *number).collect())
        };
        let number: Option<u64> = query.agent.as_deref().and_then(|agent| agent.parse().ok());
        let agent = query.agent.as_deref().map(|agent| {
            let pattern = WildMatch::new(&agent.to_lowercase());
            let is = |caller: &Caller| match number {
                Some(number) => caller.pid.map(u64::from) == Some(number),
                None => caller.name.as_ref().is_some_and(|name| pattern.matches(&name.to_lowercase())),
            };
            agents.iter().filter(|(_, caller)| is(caller)).map(|(number, _)| *number).collect()
        });
        Ok(Self {
            server: named(&query.server),
            subject: named(&query.tool),
            agent,
            session: number,
            since: moment(&query.since)?.map_or(i64::MIN, micros),
            until: moment(&query.until)?.map_or(i64::MAX, micros),
            failed: query.failed,
            slow: query.slow_ms.unwrap_or_default().saturating_mul(1000),
            after: query.after.unwrap_or(i64::MIN),
            id: query.id,
        })
    }

    /// The blocks in which calls can be that fit.
    fn blocks(&self) -> String {
        let Self { since, until, .. } = self;
        let mut all = vec![format!("last >= {since} AND first <= {until}")];
        all.extend(self.failed.then(|| "failed > 0".to_owned()));
        all.extend(self.id.map(|id| format!("id <= {id} AND id + count > {id}")));
        if self.after > i64::MIN {
            all.push(format!("id + count > {} + 1", self.after));
        }
        all.join(" AND ")
    }

    fn fits(&self, id: i64, entry: &Entry) -> bool {
        let is_of =
            |wanted: &Option<HashSet<u32>>, number: u32| wanted.as_ref().is_none_or(|all| all.contains(&number));
        let by_session = self.session == Some(entry.session);
        is_of(&self.server, entry.server)
            && is_of(&self.subject, entry.subject)
            && (by_session || is_of(&self.agent, entry.agent))
            && (self.since..self.until).contains(&entry.at)
            && (!self.failed || entry.outcome >= FIRST_FAILURE)
            && entry.took >= self.slow
            && id > self.after
            && self.id.is_none_or(|wanted| wanted == id)
    }
}

/// Which end of the record is looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Oldest,
    Newest,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        if !path.exists() {
            return Err(ReadError::Missing(path.to_owned()));
        }
        let opened = match opened(path, OpenFlags::empty()) {
            // SQLite wants a file beside it, and can make none in a folder that cannot be written. All of it is in this one where
            // no log is beside it.
            Err(error) if is_unwritable(&error) && !has_log(path) => match Url::from_file_path(path) {
                Ok(url) => opened(Path::new(&format!("{url}?immutable=1")), OpenFlags::SQLITE_OPEN_URI),
                Err(()) => Err(error),
            },
            opened => opened,
        };
        let (connection, version) = opened.map_err(|error| ReadError::Sqlite { path: path.to_owned(), error })?;
        match version {
            VERSION => Ok(Self { path: path.to_owned(), connection }),
            // It is being made.
            0 => Err(ReadError::Missing(path.to_owned())),
            _ => Err(ReadError::Foreign { path: path.to_owned() }),
        }
    }

    fn failed(&self, error: rusqlite::Error) -> ReadError {
        ReadError::Sqlite { path: self.path.clone(), error }
    }

    /// The calls that are asked for, the oldest first.
    pub fn calls(&self, query: &Query) -> Result<Vec<CallShape>, ReadError> {
        let (names, agents) = self.names()?;
        let wanted = Wanted::of(query, &names, &agents)?;
        let limit = query.limit.unwrap_or(LIMIT);
        // What follows a number is wanted from there on, everything else up to now.
        let from = if query.after.is_some() { From::Oldest } else { From::Newest };
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.visit(&wanted, from, |id, entry| {
            found.push(shape(id, entry, &names, &agents));
            found.len() < limit
        })?;
        if from == From::Newest {
            found.reverse();
        }
        if query.id.is_some() {
            for call in &mut found {
                self.complete(call).map_err(|error| self.failed(error))?;
            }
        }
        Ok(found)
    }

    fn names(&self) -> Result<(Names, Agents), ReadError> {
        let name = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let agent = |row: &Row<'_>| {
            let caller = Caller { name: row.get(1)?, pid: row.get(2)?, folder: row.get(3)?, host: row.get(4)? };
            Ok((row.get(0)?, caller))
        };
        let names = self.rows("SELECT id, text FROM names", Vec::new(), name);
        let agents = self.rows("SELECT id, name, pid, folder, host FROM agents", Vec::new(), agent);
        let of_sqlite = |error| self.failed(error);
        Ok((names.map_err(of_sqlite)?.into_iter().collect(), agents.map_err(of_sqlite)?.into_iter().collect()))
    }

    /// Shows calls that fit to `see`, until it has seen enough.
    fn visit(&self, wanted: &Wanted, from: From, mut see: impl FnMut(i64, &Entry) -> bool) -> Result<(), ReadError> {
        let order = if from == From::Oldest { "ASC" } else { "DESC" };
        let sql = format!("SELECT id, calls FROM blocks WHERE {} ORDER BY id {order}", wanted.blocks());
        let mut look = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let first: i64 = row.get(0)?;
                let entries = block::Reader::new(row.get_ref(1)?.as_blob().unwrap_or_default());
                let fitting = (first..).zip(entries).filter(|(id, entry)| wanted.fits(*id, entry));
                let goes_on = match from {
                    From::Oldest => fitting.into_iter().all(|(id, entry)| see(id, &entry)),
                    From::Newest => {
                        let all: Vec<_> = fitting.collect();
                        all.iter().rev().all(|(id, entry)| see(*id, entry))
                    }
                };
                if !goes_on {
                    return Ok(());
                }
            }
            Ok(())
        };
        look().map_err(|error| self.failed(error))
    }

    /// Adds what stands in tables of its own.
    fn complete(&self, call: &mut CallShape) -> rusqlite::Result<()> {
        let id = || vec![Value::Integer(call.id.unwrap_or_default())];
        let asked = |row: &Row<'_>| {
            let took: Option<i64> = row.get(1)?;
            Ok(AskedShape {
                method: row.get(0)?,
                took_ms: took.map(|took| milliseconds(took.cast_unsigned())),
                ended: row.get(2)?,
            })
        };
        let sql = "SELECT text, took, ended FROM questions JOIN names ON names.id = method WHERE call = ?";
        let all = self.rows(sql, id(), asked)?;
        let payload = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let payloads = self.rows("SELECT arguments, result FROM payloads WHERE call = ?", id(), payload)?;
        call.asked = all;
        if let Some((arguments, result)) = payloads.into_iter().next() {
            (call.arguments, call.result) = (arguments, result);
        }
        Ok(())
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| read(row))?;
        rows.collect()
    }

    /// The calls that are asked for, counted and measured by what each line is about.
    pub fn stats(&self, query: &Query, by: By) -> Result<Stats, ReadError> {
        let (names, agents) = self.names()?;
        let mut stats = Stats::new(by);
        self.visit(&Wanted::of(query, &names, &agents)?, From::Oldest, |_, entry| {
            stats.add(entry);
            true
        })?;
        stats.finish(&names, &agents);
        Ok(stats)
    }

    /// The calls that are asked for, minute by minute from `since` on.
    pub fn timeline(&self, query: &Query) -> Result<Vec<Point>, ReadError> {
        let now = SystemTime::now();
        let from = query.since.as_deref().map(|text| moment(text, now)).transpose()?.unwrap_or(now);
        let (names, agents) = self.names()?;
        let mut timeline = Timeline::default();
        self.visit(&Wanted::of(query, &names, &agents)?, From::Oldest, |_, entry| {
            timeline.add(entry.at, entry.took, entry.outcome >= FIRST_FAILURE);
            true
        })?;
        Ok(timeline.points(micros(from), micros(now)))
    }

    /// The tools that were ever called, by server and name.
    pub fn called(&self) -> Result<HashSet<(String, String)>, ReadError> {
        let (names, agents) = self.names()?;
        let call = names.iter().find(|(_, text)| *text == Method::CallTool.name()).map(|(number, _)| *number);
        let mut called = HashSet::new();
        self.visit(&Wanted::of(&Query::default(), &names, &agents)?, From::Oldest, |_, entry| {
            if Some(entry.method) == call {
                called.insert((entry.server, entry.subject));
            }
            true
        })?;
        let name = |number: u32| names.get(&number).cloned().unwrap_or_default();
        Ok(called.into_iter().map(|(server, tool)| (name(server), name(tool))).collect())
    }

    /// The calls of the last hour.
    pub fn last_hour(&self) -> Result<ByServer, ReadError> {
        let (names, agents) = self.names()?;
        let query = Query { since: Some("1h".to_owned()), ..Query::default() };
        let mut minutes: BTreeMap<(u32, u64), (u64, u64)> = BTreeMap::new();
        self.visit(&Wanted::of(&query, &names, &agents)?, From::Oldest, |_, entry| {
            let minute = entry.at.cast_unsigned() / 60_000_000;
            let (calls, failures) = minutes.entry((entry.server, minute)).or_default();
            *calls += 1;
            *failures += u64::from(entry.outcome >= FIRST_FAILURE);
            true
        })?;
        let mut all = ByServer::new();
        for ((server, minute), (calls, failures)) in minutes {
            let name = names.get(&server).cloned().unwrap_or_default();
            all.entry(name).or_default().push((minute, calls, failures));
        }
        Ok(all)
    }

    /// When the first call was recorded that is still kept, in RFC 3339.
    pub fn begins(&self) -> Result<Option<String>, ReadError> {
        let sql = "SELECT first FROM blocks ORDER BY id LIMIT 1";
        let first = self.rows(sql, Vec::new(), |row| Ok(rfc3339(row.get(0)?))).map_err(|error| self.failed(error))?;
        Ok(first.into_iter().next())
    }
}

fn shape(id: i64, entry: &Entry, names: &Names, agents: &Agents) -> CallShape {
    let name = |number: u32| names.get(&number).cloned();
    let outcome = Outcome::of(entry.outcome, entry.code);
    CallShape {
        id: Some(id),
        at: rfc3339(entry.at),
        agent: agents.get(&entry.agent).cloned().unwrap_or_default(),
        session: entry.session,
        server: name(entry.server).unwrap_or_default(),
        pid: Some(entry.pid).filter(|pid| *pid > 0),
        method: name(entry.method).unwrap_or_default(),
        subject: name(entry.subject),
        took_ms: milliseconds(entry.took),
        first_ms: entry.first.map(milliseconds),
        sent: entry.sent.into(),
        received: entry.received.into(),
        tokens: tokens(entry.received.into()),
        progress: entry.progress,
        outcome: outcome.name().to_owned(),
        code: outcome.code(),
        failed: outcome.is_failure(),
        asked: Vec::new(),
        arguments: None,
        result: None,
    }
}
