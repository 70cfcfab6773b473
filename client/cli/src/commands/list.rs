//! `ringvault list`

use std::time::Duration;

use ringvault_archive::{manifest::Manifest, repository::BackupSummary};
use serde::Serialize;

use super::Context;
use crate::{
    arguments::repositories::List,
    exit::Exit,
    output::{
        format::{count, moment, size, span, table},
        json::{self, Kind},
        terminal,
    },
    requests::failed,
};

#[derive(Serialize)]
struct BackupLine<'a> {
    backup_id: &'a str,
    keyspaces: &'a [String],
    started_unix_ms: u64,
    finished_unix_ms: u64,
    partial: bool,
    complete: bool,
    tables: usize,
    rows: u64,
    encoded_bytes: u64,
    stored_bytes: u64,
    stored_bytes_new: u64,
    error: Option<String>,
}

/// Lists the backups of a repository, oldest first.
pub(super) async fn run(context: &Context, flags: &List) -> anyhow::Result<Exit> {
    let repository = super::open_repository(&flags.repository).await?;
    let backups = repository.backups().await.map_err(failed)?;
    let wanted = |backup: &&BackupSummary| match (&flags.keyspace, &backup.manifest) {
        (Some(keyspace), Ok(manifest)) => manifest.keyspaces.contains(keyspace),
        _ => true,
    };
    let backups: Vec<&BackupSummary> = backups.iter().filter(wanted).collect();
    if context.output.json {
        backups.iter().for_each(|backup| json::print(Kind::BackupListed, &line(backup)));
    } else {
        text(&backups).iter().for_each(terminal::say);
    }
    // A backup that can't be read is damage, and a script that counts backups must hear of it.
    let damaged = backups.iter().any(|backup| backup.manifest.is_err());
    Ok(if damaged { Exit::Mismatch } else { Exit::Done })
}

fn line(backup: &BackupSummary) -> BackupLine<'_> {
    let manifest = backup.manifest.as_ref().ok();
    let sum = |of: fn(&Manifest) -> u64| manifest.map_or(0, of);
    BackupLine {
        backup_id: backup.id.as_str(),
        keyspaces: manifest.map_or(&[], |manifest| &manifest.keyspaces),
        started_unix_ms: sum(|manifest| manifest.started_unix_ms),
        finished_unix_ms: sum(|manifest| manifest.finished_unix_ms),
        partial: manifest.is_some_and(Manifest::is_partial),
        complete: manifest.is_some_and(Manifest::is_complete),
        tables: manifest.map_or(0, |manifest| manifest.tables.len()),
        rows: sum(rows),
        encoded_bytes: sum(|manifest| manifest.tables.iter().map(|table| table.encoded_bytes).sum()),
        stored_bytes: sum(stored),
        stored_bytes_new: sum(|manifest| manifest.tables.iter().map(|table| table.stored_bytes_new).sum()),
        error: backup.manifest.as_ref().err().map(ToString::to_string),
    }
}

fn text(backups: &[&BackupSummary]) -> Vec<String> {
    if backups.is_empty() {
        return vec!["no backups".to_owned()];
    }
    let rows: Vec<Vec<String>> = backups
        .iter()
        .map(|backup| match &backup.manifest {
            Ok(manifest) => readable(backup, manifest),
            Err(error) => vec![backup.id.to_string(), format!("damaged: {error}")],
        })
        .collect();
    let headers = ["backup", "keyspace", "started", ">took", ">tables", ">rows", ">size", ">new", "holds"];
    // A damaged one has few and long cells, which must not widen the columns.
    let (good, damaged): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.len() > 2);
    let mut lines = table(&headers, &good);
    lines.extend(damaged.into_iter().map(|row| row.join("  ")));
    lines
}

fn readable(backup: &BackupSummary, manifest: &Manifest) -> Vec<String> {
    let took = manifest.finished_unix_ms.saturating_sub(manifest.started_unix_ms);
    vec![
        backup.id.to_string(),
        manifest.keyspaces.join(","),
        moment(manifest.started_unix_ms),
        span(Duration::from_millis(took)),
        count(manifest.tables.len() as u64),
        count(rows(manifest)),
        size(stored(manifest)),
        size(manifest.tables.iter().map(|table| table.stored_bytes_new).sum()),
        holds(manifest).to_owned(),
    ]
}

/// How much of its keyspace a backup holds, in a word.
pub(super) fn holds(manifest: &Manifest) -> &'static str {
    if manifest.is_partial() {
        "partial (--limit)"
    } else if manifest.is_complete() {
        "all"
    } else {
        "some tables"
    }
}

pub(super) fn rows(manifest: &Manifest) -> u64 {
    manifest.tables.iter().map(|table| table.sums.rows).sum()
}

fn stored(manifest: &Manifest) -> u64 {
    manifest.tables.iter().map(|table| table.stored_bytes).sum()
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(Kind, String)> {
    let line = BackupLine {
        backup_id: "b",
        keyspaces: &[],
        started_unix_ms: 1,
        finished_unix_ms: 1,
        partial: false,
        complete: true,
        tables: 1,
        rows: 1,
        encoded_bytes: 1,
        stored_bytes: 1,
        stored_bytes_new: 1,
        error: None,
    };
    vec![(Kind::BackupListed, json::text(Kind::BackupListed, &line))]
}
