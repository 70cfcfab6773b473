//! The database: one row a job, table, assignment and piece, bodies as protobuf.

use std::{path::Path, time::Duration};

use prost::Message;
use ringvault_proto::{error::ErrorKind, v1};
use rusqlite::{Connection, ErrorCode, Transaction, params};

use crate::{
    error::{Error, Result},
    record::{AssignmentRecord, Change, ClusterRecord, JobRecord, Loaded, Piece, SuccessRecord, TableRecord},
};

/// Version of the tables below; a journal of a newer one is refused.
const SCHEMA_VERSION: i64 = 2;

/// How long a lock of a process that is just ending is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The file in the state directory.
const FILE: &str = "journal.sqlite";

const TABLES: &str = "
    CREATE TABLE job (job_id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE job_table (
        job_id TEXT NOT NULL, ordinal INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (job_id, ordinal)) WITHOUT ROWID;
    CREATE TABLE assignment (
        job_id TEXT NOT NULL, ordinal INTEGER NOT NULL, job_table INTEGER, body BLOB NOT NULL,
        PRIMARY KEY (job_id, ordinal)) WITHOUT ROWID;
    CREATE TABLE piece (
        job_id TEXT NOT NULL, job_table INTEGER NOT NULL, kind INTEGER NOT NULL, segment INTEGER NOT NULL,
        part INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (job_id, job_table, kind, segment, part)) WITHOUT ROWID;
";

/// What version 2 has besides.
const TABLES_OF_2: &str = "
    CREATE TABLE cluster (cluster TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE success (
        cluster TEXT NOT NULL, keyspace TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (cluster, keyspace)) WITHOUT ROWID;
";

/// An open database.
#[derive(Debug)]
pub(crate) struct Store(Connection);

impl Store {
    /// Opens or makes the database of a state directory and locks it.
    ///
    /// # Errors
    /// As [`super::Journal::open`].
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| {
            Error::invalid(format!("state directory {} can't be made: {e}; choose another", dir.display())).caused_by(e)
        })?;
        let path = dir.join(FILE);
        let connection = Connection::open(&path).map_err(|e| explain(e, &path))?;
        Self::set_up(connection).map_err(|e| match e {
            SetUp::Newer(version) => Error::invalid(format!(
                "journal {} has version {version}, this program knows {SCHEMA_VERSION}; use the newer program, or \
                 another state directory",
                path.display()
            )),
            SetUp::Sqlite(e) => explain(e, &path),
        })
    }

    /// A database that ends with this value.
    ///
    /// # Errors
    /// `Internal` where SQLite can't be started.
    pub(crate) fn in_memory() -> Result<Self> {
        let failed = |e: rusqlite::Error| Error::internal(format!("SQLite can't be started: {e}")).caused_by(e);
        let connection = Connection::open_in_memory().map_err(failed)?;
        Self::set_up(connection).map_err(|e| match e {
            SetUp::Newer(_) => Error::internal("a new journal has a version"),
            SetUp::Sqlite(e) => failed(e),
        })
    }

    fn set_up(mut connection: Connection) -> Result<Self, SetUp> {
        connection.busy_timeout(LOCK_PATIENCE)?;
        // Exclusive before WAL: the lock is then taken at the first write and held as long as the process lives.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // What is erased, as the partition key of a job that has ended, is overwritten.
        connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
        let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            return Err(SetUp::Newer(version));
        }
        if version == 0 {
            transaction.execute_batch(TABLES)?;
        }
        if version < 2 {
            transaction.execute_batch(TABLES_OF_2)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
        Ok(Self(connection))
    }

    /// All that it holds.
    ///
    /// # Errors
    /// `Corrupt` where a body can't be read.
    pub(crate) fn load(&mut self) -> Result<Loaded> {
        Ok(Loaded {
            jobs: self.bodies::<JobRecord>("SELECT body FROM job")?,
            tables: self.bodies::<TableRecord>("SELECT body FROM job_table")?,
            assignments: self.bodies::<AssignmentRecord>("SELECT body FROM assignment")?,
            pieces: self.pieces()?,
            clusters: self.bodies::<ClusterRecord>("SELECT body FROM cluster")?,
            successes: self.bodies::<SuccessRecord>("SELECT body FROM success")?,
        })
    }

    fn bodies<T: Message + Default>(&self, query: &str) -> Result<Vec<T>> {
        let mut statement = self.0.prepare(query).map_err(unreadable)?;
        let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(unreadable)?;
        rows.map(|body| T::decode(body.map_err(unreadable)?.as_slice()).map_err(damaged)).collect()
    }

    fn pieces(&self) -> Result<Vec<(String, u32, Piece)>> {
        let query = "SELECT job_id, job_table, kind, segment, body FROM piece
                     ORDER BY job_id, job_table, kind, segment, part";
        let mut statement = self.0.prepare(query).map_err(unreadable)?;
        let mut rows = statement.query([]).map_err(unreadable)?;
        let mut pieces = Vec::new();
        while let Some(row) = rows.next().map_err(unreadable)? {
            let (job, table, kind, segment): (String, u32, u8, i64) = (
                row.get(0).map_err(unreadable)?,
                row.get(1).map_err(unreadable)?,
                row.get(2).map_err(unreadable)?,
                row.get(3).map_err(unreadable)?,
            );
            let body: Vec<u8> = row.get(4).map_err(unreadable)?;
            if let Some(piece) = Piece::of_body(kind, segment.cast_unsigned(), &body).map_err(damaged)? {
                pieces.push((job, table, piece));
            }
        }
        Ok(pieces)
    }

    /// Commits changes, in their order, in one transaction.
    ///
    /// # Errors
    /// `Internal`: what was given is not kept.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<()> {
        let failed = |e: rusqlite::Error| {
            let message = format!("the journal can't be written: {e}; look at the disk of the state directory");
            Error::internal(message).caused_by(e)
        };
        let transaction = self.0.transaction().map_err(failed)?;
        for change in changes {
            apply(&transaction, change).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        if changes.iter().any(erases) {
            // The log that is written ahead still holds what was erased, until it is merged and cut.
            self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
        }
        Ok(())
    }

    /// The version that it was made with.
    #[cfg(test)]
    fn set_version(&self, version: i64) {
        self.0.pragma_update(None, "user_version", version).expect("a pragma");
    }

    /// Whether a job has any row but its own.
    #[cfg(test)]
    fn has_work(&self, job: &str) -> bool {
        let query = "SELECT 1 FROM piece WHERE job_id = ?1 UNION SELECT 1 FROM assignment WHERE job_id = ?1
                     UNION SELECT 1 FROM job_table WHERE job_id = ?1";
        rusqlite::OptionalExtension::optional(self.0.query_row(query, [job], |_| Ok(()))).expect("a query").is_some()
    }
}

enum SetUp {
    Newer(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for SetUp {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Whether a change takes a partition key away, which is a value of the database.
fn erases(change: &Change) -> bool {
    let Change::PutJob(record) = change else { return false };
    let work = record.spec.as_ref().and_then(|spec| spec.work.as_ref());
    record.finished_unix_ms != 0
        && matches!(work, Some(v1::job_spec::Work::Restore(spec)) if spec.partition_key.is_some())
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| {
        transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map(drop)
    };
    match change {
        Change::PutJob(record) => {
            run("INSERT OR REPLACE INTO job VALUES (?, ?)", params![record.job_id, record.encode_to_vec()])
        }
        Change::PutTable(record) => run(
            "INSERT OR REPLACE INTO job_table VALUES (?, ?, ?)",
            params![record.job_id, record.ordinal, record.encode_to_vec()],
        ),
        Change::PutAssignment(record) => run(
            "INSERT OR REPLACE INTO assignment VALUES (?, ?, ?, ?)",
            params![record.job_id, record.ordinal, record.table, record.encode_to_vec()],
        ),
        // Not OR REPLACE: a piece is recorded once, and a second one is a defect that must not be covered up.
        Change::PutPiece { job_id, table, piece } => {
            let (kind, segment, part) = piece.place();
            run(
                "INSERT INTO piece VALUES (?, ?, ?, ?, ?, ?)",
                params![job_id, table, kind, segment.cast_signed(), part, piece.body()],
            )
        }
        Change::DeleteAssignment { job_id, ordinal } => {
            run("DELETE FROM assignment WHERE job_id = ? AND ordinal = ?", params![job_id, ordinal])
        }
        Change::DeleteTable { job_id, table } => {
            run("DELETE FROM piece WHERE job_id = ? AND job_table = ?", params![job_id, table])?;
            run("DELETE FROM assignment WHERE job_id = ? AND job_table = ?", params![job_id, table])?;
            run("DELETE FROM job_table WHERE job_id = ? AND ordinal = ?", params![job_id, table])
        }
        Change::DeleteWork(job_id) => delete_work(&run, job_id),
        Change::DeleteJob(job_id) => {
            delete_work(&run, job_id)?;
            run("DELETE FROM job WHERE job_id = ?", params![job_id])
        }
        Change::PutCluster(record) => {
            run("INSERT OR REPLACE INTO cluster VALUES (?, ?)", params![record.cluster, record.encode_to_vec()])
        }
        Change::PutSuccess(record) => run(
            "INSERT OR REPLACE INTO success VALUES (?, ?, ?)",
            params![record.cluster, record.keyspace, record.encode_to_vec()],
        ),
    }
}

fn delete_work(
    run: &impl Fn(&str, &[&dyn rusqlite::ToSql]) -> rusqlite::Result<()>,
    job_id: &str,
) -> rusqlite::Result<()> {
    run("DELETE FROM piece WHERE job_id = ?", params![job_id])?;
    run("DELETE FROM assignment WHERE job_id = ?", params![job_id])?;
    run("DELETE FROM job_table WHERE job_id = ?", params![job_id])
}

fn explain(error: rusqlite::Error, path: &Path) -> Error {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::new(
            ErrorKind::Conflict,
            format!("journal {path} is in use by another ringvault process; wait for it, end it, or use another state directory"),
        ),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Error::new(
            ErrorKind::Corrupt,
            format!("journal {path} is damaged; move it away to start without it (backups don't need it)"),
        ),
        _ => Error::invalid(format!("journal {path} can't be opened: {error}; choose another state directory")),
    }
    .caused_by(error)
}

fn unreadable(error: rusqlite::Error) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the journal can't be read: {error}; move it away to start without it"))
        .caused_by(error)
}

fn damaged(error: prost::DecodeError) -> Error {
    Error::new(ErrorKind::Corrupt, "a row of the journal can't be read; move the journal away to start without it")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use ringvault_proto::v1;

    use super::*;

    fn job(id: &str) -> Change {
        Change::PutJob(Box::new(JobRecord { job_id: id.into(), ..JobRecord::default() }))
    }

    fn piece(job: &str, table: u32, segment: u64, part: u32) -> Change {
        let chunk = v1::Chunk { segment, part, rows: 7, ..v1::Chunk::default() };
        Change::PutPiece { job_id: job.into(), table, piece: Piece::Stored(chunk) }
    }

    fn assignment(job: &str, ordinal: u32, table: Option<u32>) -> Change {
        let job_id = job.to_owned();
        Change::PutAssignment(AssignmentRecord { job_id, ordinal, table, ..AssignmentRecord::default() })
    }

    #[test]
    fn what_was_committed_is_there_after_a_restart_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = Store::open(dir.path()).expect("open");
        let changes = [job("j"), piece("j", 0, 5, 1), piece("j", 0, 5, 0), assignment("j", 3, Some(0))];
        store.commit(&changes).expect("commit");
        drop(store);
        let loaded = Store::open(dir.path()).expect("again").load().expect("load");
        assert_eq!((loaded.jobs.len(), loaded.assignments.len()), (1, 1));
        let parts: Vec<u32> = loaded.pieces.iter().map(|(_, _, piece)| piece.place().2).collect();
        assert_eq!(parts, [0, 1]);
    }

    #[test]
    fn a_second_process_is_told_that_the_journal_is_in_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let _held = Store::open(dir.path()).expect("open");
        let error = Store::open(dir.path()).expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("in use by another"), "{error}");
    }

    #[test]
    fn a_journal_of_a_newer_version_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        Store::open(dir.path()).expect("open").set_version(99);
        let error = Store::open(dir.path()).expect_err("newer");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("version 99"), "{error}");
    }

    #[test]
    fn a_journal_of_an_older_version_is_taken_up_with_what_it_holds() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = Store::open(dir.path()).expect("open");
        store.commit(&[job("j")]).expect("commit");
        store.0.execute_batch("DROP TABLE cluster; DROP TABLE success;").expect("as version 1 had it");
        store.set_version(1);
        drop(store);
        let mut store = Store::open(dir.path()).expect("open");
        let limits = ClusterRecord { cluster: "prod".into(), ..ClusterRecord::default() };
        let success = SuccessRecord { cluster: "prod".into(), keyspace: "shop".into(), finished_unix_ms: 7 };
        for _ in 0..2 {
            store.commit(&[Change::PutCluster(limits.clone()), Change::PutSuccess(success.clone())]).expect("commit");
        }
        let loaded = store.load().expect("load");
        assert_eq!((loaded.jobs.len(), loaded.clusters, loaded.successes), (1, vec![limits], vec![success]));
    }

    #[test]
    fn a_file_that_is_no_journal_is_told_as_such() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), vec![b'x'; 8192]).expect("write");
        assert_eq!(Store::open(dir.path()).expect_err("damaged").kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_piece_can_t_be_recorded_twice_and_a_failed_commit_keeps_nothing() {
        let mut store = Store::in_memory().expect("open");
        store.commit(&[piece("j", 0, 1, 0)]).expect("once");
        assert!(store.commit(&[job("k"), piece("j", 0, 1, 0)]).is_err());
        assert!(store.load().expect("load").jobs.is_empty());
    }

    #[test]
    fn the_work_of_a_table_and_of_a_job_can_be_deleted() {
        let mut store = Store::in_memory().expect("open");
        let changes = [
            job("j"),
            piece("j", 0, 1, 0),
            piece("j", 1, 1, 0),
            assignment("j", 0, Some(0)),
            assignment("j", 1, Some(1)),
            assignment("j", 2, None),
        ];
        store.commit(&changes).expect("commit");
        store.commit(&[Change::DeleteTable { job_id: "j".into(), table: 0 }]).expect("delete");
        let loaded = store.load().expect("load");
        assert_eq!((loaded.pieces.len(), loaded.assignments.len()), (1, 2));
        store.commit(&[Change::DeleteWork("j".into())]).expect("delete");
        assert!(!store.has_work("j"));
        assert_eq!(store.load().expect("load").jobs.len(), 1);
        store.commit(&[Change::DeleteJob("j".into())]).expect("delete");
        assert_eq!(store.load().expect("load"), Loaded::default());
    }
}
