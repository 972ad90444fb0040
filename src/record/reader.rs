//! The file of the record, for those who read it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use crate::record::call::{FIRST_FAILURE, Outcome};
use crate::record::query::{BadMoment, Query, moment};
use crate::record::shape::{AskedShape, CallShape, Caller, micros, milliseconds, rfc3339, tokens};
use crate::record::stats::{By, Line, Stats};
use crate::record::store::VERSION;
use crate::record::timeline::{Point, Timeline};

/// How many calls are given where nobody says.
const LIMIT: usize = 50;

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

/// The conditions of a query, with the values in their places.
#[derive(Debug, Default)]
struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, text: &str, values: impl IntoIterator<Item = Value>) {
        self.texts.push(text.to_owned());
        self.values.extend(values);
    }

    fn of(query: &Query) -> Result<Self, BadMoment> {
        let mut all = Self::default();
        let now = SystemTime::now();
        let text = |text: &String| Value::Text(text.clone());
        if let Some(server) = &query.server {
            all.add("server IN (SELECT id FROM names WHERE text GLOB ?)", [text(server)]);
        }
        if let Some(tool) = &query.tool {
            all.add("subject IN (SELECT id FROM names WHERE text GLOB ?)", [text(tool)]);
        }
        if let Some(agent) = &query.agent {
            match agent.parse::<i64>() {
                Ok(number) => all.add(
                    "(session = ? OR agent IN (SELECT id FROM agents WHERE pid = ?))",
                    [Value::Integer(number), Value::Integer(number)],
                ),
                Err(_) => all.add(
                    "agent IN (SELECT id FROM agents WHERE lower(name) GLOB ?)",
                    [Value::Text(agent.to_lowercase())],
                ),
            }
        }
        if let Some(since) = &query.since {
            all.add("at >= ?", [Value::Integer(micros(moment(since, now)?))]);
        }
        if let Some(until) = &query.until {
            all.add("at < ?", [Value::Integer(micros(moment(until, now)?))]);
        }
        if query.failed {
            all.add(&format!("outcome >= {FIRST_FAILURE}"), []);
        }
        if let Some(slow) = query.slow_ms {
            all.add("took >= ?", [Value::Integer(i64::try_from(slow.saturating_mul(1000)).unwrap_or(i64::MAX))]);
        }
        if let Some(after) = query.after {
            all.add("calls.id > ?", [Value::Integer(after)]);
        }
        if let Some(id) = query.id {
            all.add("calls.id = ?", [Value::Integer(id)]);
        }
        Ok(all)
    }

    fn clause(&self) -> String {
        if self.texts.is_empty() { String::new() } else { format!("WHERE {}", self.texts.join(" AND ")) }
    }
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        if !path.exists() {
            return Err(ReadError::Missing(path.to_owned()));
        }
        let of_sqlite = |error| ReadError::Sqlite { path: path.to_owned(), error };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(of_sqlite)?;
        connection.busy_timeout(Duration::from_secs(2)).map_err(of_sqlite)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(of_sqlite)?;
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
        let conditions = Conditions::of(query)?;
        let limit = query.limit.unwrap_or(LIMIT);
        // What follows a number is wanted from there on, everything else up to now.
        let order = if query.after.is_some() { "ASC" } else { "DESC" };
        let sql = format!(
            "SELECT calls.id, at, agents.name, agents.pid, folder, host, session, servers.text, calls.pid, methods.text,
               subjects.text, took, first, sent, received, progress, outcome, code
             FROM (SELECT * FROM calls {} ORDER BY id {order} LIMIT {limit}) calls
             LEFT JOIN agents ON agents.id = agent LEFT JOIN names servers ON servers.id = server
             LEFT JOIN names methods ON methods.id = method LEFT JOIN names subjects ON subjects.id = subject
             ORDER BY calls.id",
            conditions.clause()
        );
        let mut calls = self.rows(&sql, conditions.values, call_of).map_err(|error| self.failed(error))?;
        if query.id.is_some() {
            for call in &mut calls {
                self.complete(call).map_err(|error| self.failed(error))?;
            }
        }
        Ok(calls)
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
        let conditions = Conditions::of(query)?;
        let names = self.rows("SELECT id, text FROM names", Vec::new(), |row| Ok((row.get(0)?, row.get(1)?)));
        let names = names.map_err(|error| self.failed(error))?.into_iter().collect();
        let agents = self.rows("SELECT id, name FROM agents", Vec::new(), |row| Ok((row.get(0)?, row.get(1)?)));
        let agents = agents.map_err(|error| self.failed(error))?.into_iter().collect();
        let sql = format!(
            "SELECT server, method, subject, agent, took, sent, received, outcome FROM calls {}",
            conditions.clause()
        );
        let mut stats = Stats::new(by);
        let add = |statement: &mut rusqlite::Statement<'_>| -> rusqlite::Result<()> {
            let mut rows = statement.query(params_from_iter(conditions.values))?;
            while let Some(row) = rows.next()? {
                stats.add(&Line {
                    server: row.get(0)?,
                    method: row.get(1)?,
                    subject: row.get(2)?,
                    agent: row.get(3)?,
                    took: row.get::<_, i64>(4)?.cast_unsigned(),
                    sent: row.get::<_, i64>(5)?.cast_unsigned(),
                    received: row.get::<_, i64>(6)?.cast_unsigned(),
                    failed: row.get::<_, i64>(7)? >= FIRST_FAILURE,
                });
            }
            Ok(())
        };
        self.connection
            .prepare(&sql)
            .and_then(|mut statement| add(&mut statement))
            .map_err(|error| self.failed(error))?;
        stats.finish(&names, &agents);
        Ok(stats)
    }

    /// The calls that are asked for, minute by minute from `since` on.
    pub fn timeline(&self, query: &Query) -> Result<Vec<Point>, ReadError> {
        let conditions = Conditions::of(query)?;
        let now = SystemTime::now();
        let from = query.since.as_deref().map(|text| moment(text, now)).transpose()?.unwrap_or(now);
        let sql = format!("SELECT at, took, outcome FROM calls {}", conditions.clause());
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(2)?));
        let rows = self.rows(&sql, conditions.values, read).map_err(|error| self.failed(error))?;
        let mut timeline = Timeline::default();
        rows.into_iter().for_each(|(at, took, outcome)| timeline.add(at, took, outcome >= FIRST_FAILURE));
        Ok(timeline.points(micros(from), micros(now)))
    }

    /// How many tools were ever called, by server and name.
    pub fn called(&self) -> Result<Vec<(String, String)>, ReadError> {
        let sql = "SELECT DISTINCT servers.text, subjects.text FROM calls JOIN names servers ON servers.id = server
             JOIN names subjects ON subjects.id = subject JOIN names methods ON methods.id = method
             WHERE methods.text = 'tools/call'";
        self.rows(sql, Vec::new(), |row| Ok((row.get(0)?, row.get(1)?))).map_err(|error| self.failed(error))
    }

    /// When the first call was recorded that is still kept, in RFC 3339.
    pub fn begins(&self) -> Result<Option<String>, ReadError> {
        let sql = "SELECT at FROM calls ORDER BY id LIMIT 1";
        let first = self.rows(sql, Vec::new(), |row| Ok(rfc3339(row.get(0)?))).map_err(|error| self.failed(error))?;
        Ok(first.into_iter().next())
    }
}

fn call_of(row: &Row<'_>) -> rusqlite::Result<CallShape> {
    let unsigned = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let outcome = Outcome::of(row.get(16)?, row.get(17)?);
    let first: Option<i64> = row.get(12)?;
    Ok(CallShape {
        id: row.get(0)?,
        at: rfc3339(row.get(1)?),
        agent: Caller { name: row.get(2)?, pid: row.get(3)?, folder: row.get(4)?, host: row.get(5)? },
        session: unsigned(6)?,
        server: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
        pid: row.get(8)?,
        method: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
        subject: row.get(10)?,
        took_ms: milliseconds(unsigned(11)?),
        first_ms: first.map(|first| milliseconds(first.cast_unsigned())),
        sent: unsigned(13)?,
        received: unsigned(14)?,
        tokens: tokens(unsigned(14)?),
        progress: row.get(15)?,
        outcome: outcome.name().to_owned(),
        code: outcome.code(),
        failed: outcome.is_failure(),
        asked: Vec::new(),
        arguments: None,
        result: None,
    })
}
