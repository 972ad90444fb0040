//! The file of the record, for the one who writes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use rustc_hash::FxHashMap;

use crate::agent::Agent;
use crate::files::create_private;
use crate::record::call::{Call, FIRST_FAILURE};
use crate::record::limits::Limits;
use crate::record::shape::{micros, micros_of};

/// The version of what is in the file.
pub(super) const VERSION: i64 = 1;
/// How many names and agents are remembered with their numbers.
const REMEMBERED: usize = 4096;
/// How often it is looked for calls that are too old.
const LOOK: Duration = Duration::from_secs(60);
/// Which part of a record that is too large is dropped at once: one of so many.
const PART: i64 = 16;
/// From how many names and agents on those are dropped that no call is of.
const MANY_NAMES: i64 = 20_000;
/// How large the log of what was written may stay, in bytes.
const LOG: u32 = 4 << 20;

const TABLES: &str = "
CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE agents (id INTEGER PRIMARY KEY, name TEXT, pid INTEGER, folder TEXT, host TEXT);
CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL, -- when it began, microseconds since 1970
  agent INTEGER NOT NULL, session INTEGER NOT NULL,
  server INTEGER NOT NULL, pid INTEGER,
  method INTEGER NOT NULL, subject INTEGER,
  took INTEGER NOT NULL, first INTEGER, -- microseconds
  sent INTEGER NOT NULL, received INTEGER NOT NULL, progress INTEGER NOT NULL,
  outcome INTEGER NOT NULL, code INTEGER
);
CREATE TABLE questions (call INTEGER NOT NULL, method INTEGER NOT NULL, took INTEGER, ended TEXT);
CREATE INDEX questions_of ON questions (call);
CREATE TABLE payloads (call INTEGER PRIMARY KEY, arguments TEXT, result TEXT);
";

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("{path}: {error}")]
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("{path} is of another version of trunkline")]
    Foreign { path: PathBuf },
}

impl StoreError {
    /// Whether the file is none that can be gone on with.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::Sqlite { error, .. } => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            }
            Self::Foreign { .. } => true,
            Self::Io { .. } => false,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    names: FxHashMap<Box<str>, i64>,
    agents: FxHashMap<Arc<Agent>, i64>,
    next: i64,
    looked: Option<Instant>,
    #[cfg(unix)]
    inode: u64,
}

impl Store {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let of_io = |error| StoreError::Io { path: path.to_owned(), error };
        let of_sqlite = |error| StoreError::Sqlite { path: path.to_owned(), error };
        create_private(path.parent().unwrap_or(Path::new("."))).map_err(of_io)?;
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(of_io)?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().map_err(of_io)?);
        drop(file);
        let connection = Connection::open(path).map_err(of_sqlite)?;
        let version = prepare(&connection).map_err(of_sqlite)?;
        if version != VERSION {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        let next = "SELECT coalesce(max(id), 0) + 1 FROM calls";
        let next = connection.query_row(next, [], |row| row.get(0)).map_err(of_sqlite)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            names: FxHashMap::default(),
            agents: FxHashMap::default(),
            next,
            looked: None,
            #[cfg(unix)]
            inode,
        })
    }

    /// Moves a file that is none away, with what SQLite keeps beside it; returns where it is now.
    pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
        let kept = path.with_extension("db.broken");
        for end in ["", "-wal", "-shm"] {
            let beside = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
            match std::fs::rename(beside(path), beside(&kept)) {
                Err(error) if end.is_empty() => return Err(StoreError::Io { path: path.to_owned(), error }),
                // It has none of these.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(kept)
    }

    /// Whether the file is still the one that is found under its name.
    #[cfg(unix)]
    pub(super) fn is_in_place(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).is_ok_and(|found| found.ino() == self.inode)
    }

    #[cfg(windows)]
    pub(super) fn is_in_place(&self, path: &Path) -> bool {
        path.exists()
    }

    /// Writes calls, in one step, and keeps to the limits.
    pub(super) fn write(&mut self, calls: &[Call], limits: Limits) -> Result<(), StoreError> {
        self.write_all(calls)
            .and_then(|()| self.keep_to(limits))
            .map_err(|error| StoreError::Sqlite { path: self.path.clone(), error })
    }

    fn write_all(&mut self, calls: &[Call]) -> rusqlite::Result<()> {
        let Self { connection, names, agents, next, .. } = self;
        if names.len() + agents.len() > REMEMBERED {
            names.clear();
            agents.clear();
        }
        let (known_names, known_agents, before) = (names.len(), agents.len(), *next);
        let transaction = connection.transaction()?;
        let mut tables = Tables { connection: &transaction, names, agents };
        let written = tables.write(calls, next).and_then(|()| transaction.commit());
        if written.is_err() {
            // The numbers that were given are in no file.
            *next = before;
            if names.len() != known_names || agents.len() != known_agents {
                names.clear();
                agents.clear();
            }
        }
        written
    }

    /// Drops the oldest calls where there are too many, or they are too old.
    fn keep_to(&mut self, limits: Limits) -> rusqlite::Result<()> {
        let pragma = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
        if u64::try_from(used).unwrap_or_default() > limits.size {
            let drop = "SELECT min(id) + max((max(id) - min(id)) / ?1, 1) FROM calls";
            let first: Option<i64> = self.connection.query_row(drop, [PART], |row| row.get(0))?;
            if let Some(first) = first {
                self.forget_before(first)?;
            }
        }
        if self.looked.is_none_or(|looked| looked.elapsed() > LOOK) {
            self.looked = Some(Instant::now());
            let oldest = limits.keep.and_then(|keep| SystemTime::now().checked_sub(keep)).map(micros);
            let first = match oldest {
                Some(oldest) => {
                    let first = "SELECT id FROM calls WHERE at >= ?1 ORDER BY id LIMIT 1";
                    self.connection.query_row(first, [oldest], |row| row.get(0)).optional()?
                }
                None => None,
            };
            if let Some(first) = first {
                self.forget_before(first)?;
            }
        }
        Ok(())
    }

    fn forget_before(&mut self, first: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let gone = transaction.execute("DELETE FROM calls WHERE id < ?1", [first])?;
        if gone > 0 {
            transaction.execute("DELETE FROM questions WHERE call < ?1", [first])?;
            transaction.execute("DELETE FROM payloads WHERE call < ?1", [first])?;
            let count = "SELECT (SELECT count(*) FROM names) + (SELECT count(*) FROM agents)";
            if transaction.query_row(count, [], |row| row.get::<_, i64>(0))? > MANY_NAMES {
                // What no call names any more.
                transaction.execute("DELETE FROM agents WHERE id NOT IN (SELECT agent FROM calls)", [])?;
                transaction.execute(
                    "DELETE FROM names WHERE id NOT IN (SELECT server FROM calls UNION SELECT method FROM calls
                     UNION SELECT subject FROM calls WHERE subject IS NOT NULL UNION SELECT method FROM questions)",
                    [],
                )?;
                self.names.clear();
                self.agents.clear();
            }
        }
        transaction.commit()
    }
}

/// Makes the tables where there are none; returns the version of the file.
fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -512)?;
    connection.pragma_update(None, "journal_size_limit", LOG)?;
    let version = || connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if version()? == 0 {
        connection.execute_batch(&format!(
            "BEGIN; {TABLES} CREATE INDEX failed ON calls (id) WHERE outcome >= {FIRST_FAILURE}; PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    version()
}

/// The tables, in the course of one step.
struct Tables<'s> {
    connection: &'s Connection,
    names: &'s mut FxHashMap<Box<str>, i64>,
    agents: &'s mut FxHashMap<Arc<Agent>, i64>,
}

impl Tables<'_> {
    fn write(&mut self, calls: &[Call], next: &mut i64) -> rusqlite::Result<()> {
        let connection = self.connection;
        let mut insert =
            connection.prepare("INSERT INTO calls VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)")?;
        for call in calls {
            let begun = &call.begun;
            let id = *next;
            let subject = begun.subject.as_deref().map(|subject| self.name(subject)).transpose()?;
            insert.execute(params![
                id,
                micros(call.at),
                self.agent(&begun.agent)?,
                begun.session.cast_signed(),
                self.name(call.server.as_str())?,
                call.pid,
                self.name(&begun.method)?,
                subject,
                micros_of(call.took).cast_signed(),
                call.first.map(|first| micros_of(first).cast_signed()),
                begun.sent,
                call.received,
                begun.progress,
                call.outcome.number(),
                call.outcome.code(),
            ])?;
            for asked in &begun.asked {
                let (took, ended) = asked.ended.clone().unzip();
                let took = took.map(|took| micros_of(took).cast_signed());
                connection.execute(
                    "INSERT INTO questions VALUES (?1, ?2, ?3, ?4)",
                    params![id, self.name(&asked.method)?, took, ended.as_deref()],
                )?;
            }
            if begun.arguments.is_some() || call.result.is_some() {
                connection.execute(
                    "INSERT INTO payloads VALUES (?1, ?2, ?3)",
                    params![id, begun.arguments.as_deref(), call.result.as_deref()],
                )?;
            }
            *next += 1;
        }
        Ok(())
    }

    fn name(&mut self, text: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.names.get(text) {
            return Ok(*id);
        }
        self.connection.execute("INSERT OR IGNORE INTO names (text) VALUES (?1)", [text])?;
        let id = self.connection.query_row("SELECT id FROM names WHERE text = ?1", [text], |row| row.get(0))?;
        self.names.insert(text.into(), id);
        Ok(id)
    }

    fn agent(&mut self, agent: &Arc<Agent>) -> rusqlite::Result<i64> {
        if let Some(id) = self.agents.get(agent) {
            return Ok(*id);
        }
        let values = params![agent.name, agent.pid, agent.cwd, agent.host];
        let known = "SELECT id FROM agents WHERE name IS ?1 AND pid IS ?2 AND folder IS ?3 AND host IS ?4";
        let known = self.connection.query_row(known, values, |row| row.get(0)).optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                let insert = "INSERT INTO agents (name, pid, folder, host) VALUES (?1, ?2, ?3, ?4)";
                self.connection.execute(insert, values)?;
                self.connection.last_insert_rowid()
            }
        };
        self.agents.insert(agent.clone(), id);
        Ok(id)
    }
}
