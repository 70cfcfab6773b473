//! `ringvault import`: a directory that cassandra-backup-tool wrote becomes an ordinary backup, without times. `restore`
//! goes the same way through a repository of its own.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use ringvault_archive::{
    digest::Identity,
    manifest::Manifest,
    repository::Repository,
    seed::{self, Import as Importing, Progress, SeedDirectory, Stage},
};
use ringvault_client::{ErrorKind, Failure, v1};
use ringvault_runtime::{
    clock::{Clock, SystemClock},
    entropy::Entropy,
};
use serde::Serialize;

use super::{Context, list::rows, location, state_home};
use crate::{
    again,
    arguments::repositories::Import,
    embedded,
    exit::Exit,
    interrupt::Interrupt,
    output::{
        Output,
        format::{count, percent, plural, size, to_f64},
        json::{self, Kind},
        terminal,
    },
    requests::{self, failed},
};

/// Pause between lines about progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct ImportProgress<'a> {
    keyspace: &'a str,
    table: &'a str,
    stage: &'static str,
    rows: u64,
    bytes_read: u64,
    bytes_total: u64,
    stored_bytes: u64,
}

#[derive(Serialize)]
struct Imported<'a> {
    backup_id: &'a str,
    keyspace: &'a str,
    repository: &'a str,
    tables: usize,
    rows: u64,
    stored_bytes_new: u64,
    warnings: &'a [String],
}

/// Imports one keyspace of a directory.
pub(super) async fn run(context: &Context, flags: &Import) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen(&context.tasks, "interrupted; nothing that was imported is a backup yet")?;
    let text = requests::repository(&flags.repository, false)?;
    let Some(directory) = seed_directory(context, &flags.directory).await? else {
        let path = flags.directory.display();
        let message = if flags.directory.is_dir() {
            format!("{path} was not written by cassandra-backup-tool: it holds no KEYSPACE_schema.cql")
        } else {
            format!("there is no directory {path}")
        };
        return Err(failed(Failure::new(ErrorKind::NotFound, message)));
    };
    let work = async {
        let repository = Repository::open_or_create(&location(&text)?).await.map_err(failed)?;
        import(context, &directory, flags.keyspace.as_deref(), &repository).await
    };
    let manifest = tokio::select! {
        manifest = Box::pin(work) => manifest?,
        () = interrupt.asked() => return Ok(Exit::Interrupted),
    };
    tell(context, &manifest, &text);
    Ok(Exit::Done)
}

/// The directory, if cassandra-backup-tool wrote it; nothing also where there is no directory.
pub(super) async fn seed_directory(context: &Context, path: &Path) -> anyhow::Result<Option<SeedDirectory>> {
    let path = path.to_owned();
    let found = context.tasks.spawn_blocking(move || if path.is_dir() { seed::find(&path) } else { Ok(None) }).await;
    found?.map_err(failed)
}

/// Where the repository stands through which a restore of a directory goes; the same for the same directory, so that a
/// restore that was interrupted goes on.
pub(super) fn passage(directory: &SeedDirectory) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(directory.path())?;
    let name = Identity::of(path.to_string_lossy().as_bytes()).to_string();
    Ok(state_home()?.join("imported").join(&name[..16]))
}

/// Imports one keyspace into a repository.
pub(super) async fn import(
    context: &Context,
    directory: &SeedDirectory,
    keyspace: Option<&str>,
    repository: &Repository,
) -> anyhow::Result<Manifest> {
    let (directory, name) = (directory.clone(), keyspace.map(str::to_owned));
    let read = move || {
        let seed = directory.keyspace(name.as_deref()).map_err(failed)?;
        let schema = embedded::seed_schema(&seed)?;
        anyhow::Ok((seed, schema))
    };
    let (seed, schema) = context.tasks.spawn_blocking(read).await??;
    let importing = Importing {
        schema,
        compression: v1::Compression::Unspecified,
        chunk_rows_max: 0,
        scratch: std::env::temp_dir(),
    };
    let (clock, entropy) = (SystemClock::new(), Entropy::from_os());
    let told = Mutex::new(clock.now());
    let output = context.output;
    let progress = |progress: &Progress| {
        let now = clock.now();
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.saturating_sub(*told) >= LINE_EVERY {
            *told = now;
            show(output, progress);
        }
    };
    importing.run(seed, repository, (&clock, &entropy), progress).await.map_err(failed)
}

fn show(output: Output, progress: &Progress) {
    let Progress { keyspace, table, rows, bytes_read, bytes_total, stored_bytes, .. } = progress;
    let stage = match progress.stage {
        Stage::Reading => "reading",
        Stage::Storing => "storing",
        Stage::Stored => "stored",
    };
    if output.json {
        let line = ImportProgress {
            keyspace,
            table,
            stage,
            rows: *rows,
            bytes_read: *bytes_read,
            bytes_total: *bytes_total,
            stored_bytes: *stored_bytes,
        };
        json::print(Kind::ImportProgress, &line);
        return;
    }
    let share = percent(to_f64(*bytes_read) / to_f64((*bytes_total).max(1)));
    terminal::tell(format!("{keyspace}.{table}: {stage}, {} rows, {share} of {}", count(*rows), size(*bytes_total)));
}

fn tell(context: &Context, manifest: &Manifest, repository: &str) {
    let keyspace = manifest.keyspaces.join(",");
    let stored_bytes_new = manifest.tables.iter().map(|table| table.stored_bytes_new).sum();
    let line = Imported {
        backup_id: manifest.backup_id.as_str(),
        keyspace: &keyspace,
        repository,
        tables: manifest.tables.len(),
        rows: rows(manifest),
        stored_bytes_new,
        warnings: &manifest.warnings,
    };
    context.output.answer(Kind::Imported, &line, || {
        let tables = plural(manifest.tables.len() as u64, "table");
        let mut lines = vec![
            format!("backup {} of keyspace {keyspace} was imported", manifest.backup_id),
            format!("  rows      {} in {tables}", count(rows(manifest))),
            format!("  bytes     {} stored new", size(stored_bytes_new)),
        ];
        lines.extend(manifest.warnings.iter().map(|warning| format!("  warning: {warning}")));
        lines.push("restore it with:".to_owned());
        let command = again::restore(&context.common, &keyspace, repository, manifest.backup_id.as_str());
        lines.push(format!("  {command} --hosts H1,H2"));
        lines
    });
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(Kind, String)> {
    let progress = ImportProgress {
        keyspace: "k",
        table: "t",
        stage: "reading",
        rows: 1,
        bytes_read: 1,
        bytes_total: 1,
        stored_bytes: 1,
    };
    let imported = Imported {
        backup_id: "b",
        keyspace: "k",
        repository: "/bk",
        tables: 1,
        rows: 1,
        stored_bytes_new: 1,
        warnings: &[],
    };
    vec![
        (Kind::ImportProgress, json::text(Kind::ImportProgress, &progress)),
        (Kind::Imported, json::text(Kind::Imported, &imported)),
    ]
}
