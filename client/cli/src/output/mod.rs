//! What people and programs read. Answers go to standard output, progress and notes to standard error; with `--json`
//! everything is a JSON line on standard output (client/cli/JSON.md), and errors are told on both.
//!
//! - [`format`]: numbers; [`totals`]: figures of a job; [`board`]: a job with a line for each table; [`progress`]: board,
//!   lines or JSON while a job runs; [`terminal`]: where all of it is written
//! - [`differences`]: what differs between two sides; [`cells`]: row lines taken apart
//! - [`summary`]: what a finished job comes to; [`fidelity`]: what of it is approximate; [`json`]: the form of the lines

pub(crate) mod board;
pub(crate) mod cells;
pub(crate) mod differences;
pub(crate) mod fidelity;
pub(crate) mod format;
pub(crate) mod json;
pub(crate) mod progress;
#[cfg(test)]
mod schema;
pub(crate) mod summary;
pub(crate) mod terminal;
pub(crate) mod totals;

use ringvault_client::v1::{Job, TableProgress};
use serde::Serialize;

use self::json::Kind;
use crate::exit::Told;

/// How this process tells what it has to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON lines instead of text.
    pub(crate) json: bool,
}

impl Output {
    /// Something to know that is no error.
    pub(crate) fn note(self, message: &str) {
        if self.json {
            json::print(Kind::Note, &json::Note { message });
        } else {
            terminal::tell(format!("note: {message}"));
        }
    }

    /// One record of an answer, or its text.
    pub(crate) fn answer<T: Serialize>(self, kind: Kind, record: &T, text: impl FnOnce() -> Vec<String>) {
        if self.json {
            json::print(kind, record);
        } else {
            text().iter().for_each(terminal::say);
        }
    }

    /// The error that ends the process.
    pub(crate) fn error(self, told: &Told) {
        if self.json {
            json::print(
                Kind::Error,
                &json::ErrorLine { kind: told.kind, message: &told.message, exit_code: told.exit as u8 },
            );
        }
        terminal::tell(format!("error: {}", told.message));
    }
}

/// A table's name as people read it: with its keyspace where the job has several.
pub(crate) fn table_name(job: &Job, table: &TableProgress) -> String {
    let keyspace = |table: &TableProgress| table.table.as_ref().map(|name| name.keyspace.clone()).unwrap_or_default();
    let own = keyspace(table);
    let name = table.table.as_ref().map_or("", |name| &name.table);
    if job.tables.iter().all(|other| keyspace(other) == own) { name.to_owned() } else { format!("{own}.{name}") }
}
