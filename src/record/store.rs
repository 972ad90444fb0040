//! The file of the record, for the one who writes it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode, Row, Transaction, params};

use crate::agent::Agent;
use crate::files::create_private;
use crate::record::block;
use crate::record::limits::Limits;
use crate::record::ring::{Batch, Known};
use crate::record::shape::{micros, micros_of};

/// The version of what is in the file.
pub(super) const VERSION: i64 = 1;
/// How many names are read back; the others are found by their number all the same.
const READ_BACK: usize = 4096;
/// From how many names and agents on those are dropped that no call is of.
const MANY: i64 = 20_000;
/// How often it is looked for calls that are too old.
const LOOK: Duration = Duration::from_secs(60);
/// Which part of a record that is too large is dropped at once: one of so many.
const PART: i64 = 16;
/// How large the log of what was written may stay, in bytes.
const LOG: u32 = 4 << 20;

/// Calls stand in blocks, as `record::block` writes them; the first of a block has the block's number.
const TABLES: &str = "
CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE agents (id INTEGER PRIMARY KEY, name TEXT, pid INTEGER, folder TEXT, host TEXT);
CREATE TABLE blocks (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, failed INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, -- microseconds since 1970
  calls BLOB NOT NULL);
CREATE INDEX failed ON blocks (id) WHERE failed > 0;
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

/// Whether all names are in the file that were written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Stay,
    Dropped,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    /// The number of the next call.
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
        let next = "SELECT coalesce(max(id + count), 1) FROM blocks";
        let next = connection.query_row(next, [], |row| row.get(0)).map_err(of_sqlite)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            next,
            looked: None,
            #[cfg(unix)]
            inode,
        })
    }

    /// The numbers that were given, the last ones.
    pub(super) fn known(&self) -> Result<Known, StoreError> {
        let name = |row: &Row<'_>| Ok((row.get(0)?, Arc::from(row.get::<_, String>(1)?)));
        let agent = |row: &Row<'_>| {
            let agent = Agent { name: row.get(1)?, pid: row.get(2)?, cwd: row.get(3)?, host: row.get(4)? };
            Ok((row.get(0)?, Arc::new(agent)))
        };
        let names = format!("SELECT id, text FROM names ORDER BY id DESC LIMIT {READ_BACK}");
        let agents = format!("SELECT id, name, pid, folder, host FROM agents ORDER BY id DESC LIMIT {READ_BACK}");
        let read = || -> rusqlite::Result<Known> {
            let names = self.connection.prepare(&names)?.query_map([], name)?.collect::<rusqlite::Result<_>>()?;
            let agents = self.connection.prepare(&agents)?.query_map([], agent)?.collect::<rusqlite::Result<_>>()?;
            Ok(Known { names, agents })
        };
        read().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), error }
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

    /// Writes calls, in one step, and keeps to the limits. Where names were dropped that no call is of any more, those that are
    /// still used must be written once more.
    pub(super) fn write(&mut self, batch: &mut Batch, limits: Limits) -> Result<Names, StoreError> {
        let written = self.write_all(batch).and_then(|()| self.keep_to(limits));
        written.map_err(|error| self.failed(error))
    }

    fn write_all(&mut self, batch: &mut Batch) -> rusqlite::Result<()> {
        let first = self.next;
        let transaction = self.connection.transaction()?;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (count, failed) = (number(batch.count), number(batch.failed));
        transaction.execute(
            "INSERT INTO blocks VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![first, count, failed, batch.span.0, batch.span.1, batch.bytes],
        )?;
        write_names(&transaction, batch)?;
        write_more(&transaction, batch, first)?;
        transaction.commit()?;
        batch.names.clear();
        batch.agents.clear();
        self.next += count;
        Ok(())
    }

    /// Drops the oldest calls where there are too many, or they are too old.
    fn keep_to(&mut self, limits: Limits) -> rusqlite::Result<Names> {
        let pragma = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
        if u64::try_from(used).unwrap_or_default() > limits.size {
            let first = "SELECT min(id) + max((max(id) - min(id)) / ?1, 1) FROM blocks";
            let first: Option<i64> = self.connection.query_row(first, [PART], |row| row.get(0))?;
            if let Some(first) = first {
                self.forget_before(first)?;
                return self.drop_names();
            }
        }
        if self.looked.is_none_or(|looked| looked.elapsed() > LOOK) {
            self.looked = Some(Instant::now());
            let oldest = limits.keep.and_then(|keep| SystemTime::now().checked_sub(keep)).map(micros);
            if let Some(oldest) = oldest {
                let first = "SELECT coalesce(max(id) + 1, 0) FROM blocks WHERE last < ?1";
                let first = self.connection.query_row(first, [oldest], |row| row.get(0))?;
                self.forget_before(first)?;
                return self.drop_names();
            }
        }
        Ok(Names::Stay)
    }

    /// Drops what no call is of, if that has become much.
    fn drop_names(&mut self) -> rusqlite::Result<Names> {
        let count = "SELECT (SELECT count(*) FROM names) + (SELECT count(*) FROM agents)";
        if self.connection.query_row(count, [], |row| row.get::<_, i64>(0))? <= MANY {
            return Ok(Names::Stay);
        }
        let (mut names, mut agents) = (HashSet::new(), HashSet::new());
        let transaction = self.connection.transaction()?;
        {
            let mut blocks = transaction.prepare("SELECT calls FROM blocks")?;
            let mut rows = blocks.query([])?;
            while let Some(row) = rows.next()? {
                for entry in block::Reader::new(row.get_ref(0)?.as_blob().unwrap_or_default()) {
                    names.extend([entry.server, entry.method, entry.subject]);
                    agents.insert(entry.agent);
                }
            }
            let mut asked = transaction.prepare("SELECT DISTINCT method FROM questions")?;
            names.extend(asked.query_map([], |row| row.get::<_, u32>(0))?.filter_map(Result::ok));
        }
        for (table, used) in [("names", names), ("agents", agents)] {
            let mut all = transaction.prepare(&format!("SELECT id FROM {table}"))?;
            let all = all.query_map([], |row| row.get::<_, u32>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut delete = transaction.prepare(&format!("DELETE FROM {table} WHERE id = ?1"))?;
            for number in all.iter().filter(|number| !used.contains(number)) {
                delete.execute([number])?;
            }
        }
        transaction.commit()?;
        Ok(Names::Dropped)
    }

    fn forget_before(&mut self, first: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        if transaction.execute("DELETE FROM blocks WHERE id < ?1", [first])? > 0 {
            transaction.execute("DELETE FROM questions WHERE call < ?1", [first])?;
            transaction.execute("DELETE FROM payloads WHERE call < ?1", [first])?;
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
        connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    }
    version()
}

fn write_names(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for (number, text) in &batch.names {
        transaction.execute("INSERT OR REPLACE INTO names VALUES (?1, ?2)", params![number, &**text])?;
    }
    for (number, agent) in &batch.agents {
        transaction.execute(
            "INSERT OR REPLACE INTO agents VALUES (?1, ?2, ?3, ?4, ?5)",
            params![number, agent.name, agent.pid, agent.cwd, agent.host],
        )?;
    }
    Ok(())
}

fn write_more(transaction: &Transaction<'_>, batch: &Batch, first: i64) -> rusqlite::Result<()> {
    for more in &batch.more {
        let call = first + i64::try_from(more.index).unwrap_or_default();
        for (method, asked) in &more.asked {
            let (took, ended) = asked.ended.clone().unzip();
            transaction.execute(
                "INSERT INTO questions VALUES (?1, ?2, ?3, ?4)",
                params![call, method, took.map(|took| micros_of(took).cast_signed()), ended.as_deref()],
            )?;
        }
        if more.arguments.is_some() || more.result.is_some() {
            transaction.execute(
                "INSERT INTO payloads VALUES (?1, ?2, ?3)",
                params![call, more.arguments.as_deref(), more.result.as_deref()],
            )?;
        }
    }
    Ok(())
}
