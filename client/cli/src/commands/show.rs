//! `ringvault show`

use std::time::Duration;

use ringvault_archive::{
    manifest::{Cluster, Manifest, TableEntry},
    repository::Repository,
};
use ringvault_client::{ErrorKind, Failure};
use serde::Serialize;

use super::{
    Context,
    list::{holds, rows},
};
use crate::{
    arguments::{repositories::Show, values::consistency_name},
    exit::Exit,
    output::{
        fidelity::{self, Fidelity, FidelityLine},
        format::{count, moment, plural, size, span, table},
        json::Kind,
    },
    requests::failed,
};

#[derive(Serialize)]
struct BackupRecord<'a> {
    backup_id: &'a str,
    keyspaces: &'a [String],
    started_unix_ms: u64,
    finished_unix_ms: u64,
    cluster_name: &'a str,
    server_version: &'a str,
    data_centers: &'a [String],
    read_consistency: &'a str,
    values_only: bool,
    limit_rows: u64,
    tables_chosen: &'a [String],
    partial: bool,
    complete: bool,
    ringvault_version: &'a str,
    schema_object: &'a str,
    warnings: &'a [String],
    tables: Vec<TableRecord<'a>>,
}

#[derive(Serialize)]
struct TableRecord<'a> {
    keyspace: &'a str,
    table: &'a str,
    rows: u64,
    chunks: u64,
    segments: u64,
    encoded_bytes: u64,
    stored_bytes: u64,
    stored_bytes_new: u64,
    key_only_rows: u64,
    estimated_cells: u64,
    #[serde(flatten)]
    fidelity: FidelityLine<'a>,
}

/// Shows one backup.
pub(super) async fn run(context: &Context, flags: &Show) -> anyhow::Result<Exit> {
    let repository = super::open_repository(&flags.repository).await?;
    let manifest = match &flags.id {
        Some(id) => repository.manifest(&super::backup_id(id)?).await.map_err(failed)?,
        None => newest(&repository).await?,
    };
    context.output.answer(Kind::BackupShown, &record(&manifest), || text(&manifest, &flags.repository));
    Ok(Exit::Done)
}

async fn newest(repository: &Repository) -> anyhow::Result<Manifest> {
    let newest = repository.backups().await.map_err(failed)?.pop();
    match newest {
        Some(backup) => backup.manifest.map_err(failed),
        None => {
            let message = format!("{} holds no backup", repository.location());
            Err(failed(Failure::new(ErrorKind::NotFound, message)))
        }
    }
}

fn record(manifest: &Manifest) -> BackupRecord<'_> {
    BackupRecord {
        backup_id: manifest.backup_id.as_str(),
        keyspaces: &manifest.keyspaces,
        started_unix_ms: manifest.started_unix_ms,
        finished_unix_ms: manifest.finished_unix_ms,
        cluster_name: &manifest.cluster.name,
        server_version: &manifest.cluster.server_version,
        data_centers: &manifest.cluster.data_centers,
        read_consistency: consistency_name(manifest.options.read_consistency),
        values_only: manifest.options.values_only,
        limit_rows: manifest.options.limit_rows,
        tables_chosen: &manifest.options.tables_chosen,
        partial: manifest.is_partial(),
        complete: manifest.is_complete(),
        ringvault_version: &manifest.ringvault_version,
        schema_object: &manifest.schema.object,
        warnings: &manifest.warnings,
        tables: manifest.tables.iter().map(table_record).collect(),
    }
}

fn table_record(entry: &TableEntry) -> TableRecord<'_> {
    TableRecord {
        keyspace: &entry.keyspace,
        table: &entry.table,
        rows: entry.sums.rows,
        chunks: entry.chunks,
        segments: entry.grid.segments(),
        encoded_bytes: entry.encoded_bytes,
        stored_bytes: entry.stored_bytes,
        stored_bytes_new: entry.stored_bytes_new,
        key_only_rows: entry.facts.key_only_rows,
        estimated_cells: entry.facts.estimated_cells,
        fidelity: fidelity_of(entry).line(),
    }
}

fn fidelity_of(entry: &TableEntry) -> Fidelity<'_> {
    Fidelity::counted(&entry.approximations, entry.facts.key_only_rows, entry.facts.estimated_cells)
}

/// A table's name as people read it: with its keyspace where there are several.
fn name_of(manifest: &Manifest, entry: &TableEntry) -> String {
    if manifest.keyspaces.len() > 1 { format!("{}.{}", entry.keyspace, entry.table) } else { entry.table.clone() }
}

/// Where a backup came from, as far as that is known: an imported one has no cluster.
fn cluster_text(cluster: &Cluster) -> String {
    let mut parts = vec![cluster.name.clone()];
    if !cluster.server_version.is_empty() {
        parts.push(format!("version {}", cluster.server_version));
    }
    if !cluster.data_centers.is_empty() {
        parts.push(format!("data centres {}", cluster.data_centers.join(", ")));
    }
    parts.join(", ")
}

fn text(manifest: &Manifest, repository: &str) -> Vec<String> {
    let took = manifest.finished_unix_ms.saturating_sub(manifest.started_unix_ms);
    let cluster = &manifest.cluster;
    let consistency = consistency_name(manifest.options.read_consistency);
    let mut lines = vec![
        format!("backup    {} of {}", manifest.backup_id, manifest.keyspaces.join(", ")),
        format!("cluster   {}", cluster_text(cluster)),
        format!("started   {}", moment(manifest.started_unix_ms)),
        format!("finished  {} ({})", moment(manifest.finished_unix_ms), span(Duration::from_millis(took))),
        format!(
            "holds     {}, {} in {}",
            holds(manifest),
            plural(rows(manifest), "row"),
            plural(manifest.tables.len() as u64, "table")
        ),
        format!(
            "times     {}",
            if manifest.options.values_only { "left out (--values-only)" } else { "writetimes and expiries" }
        ),
        format!(
            "read at   {consistency}: each row as it was read at some moment between started and finished. Not a point in \
             time: a write during the run may be in or out"
        ),
        format!("schema    {}", manifest.schema.object),
    ];
    lines.extend(manifest.warnings.iter().map(|warning| format!("warning   {warning}")));
    lines.push(String::new());
    let cells = |entry: &TableEntry| {
        vec![
            name_of(manifest, entry),
            count(entry.sums.rows),
            size(entry.encoded_bytes),
            size(entry.stored_bytes),
            size(entry.stored_bytes_new),
            count(entry.chunks),
            count(entry.grid.segments()),
        ]
    };
    let headers = ["table", ">rows", ">encoded", ">stored", ">new", ">chunks", ">segments"];
    lines.extend(table(&headers, &manifest.tables.iter().map(cells).collect::<Vec<_>>()));
    lines.push(String::new());
    lines.extend(fidelity::report(manifest.tables.iter().map(|entry| (name_of(manifest, entry), fidelity_of(entry)))));
    lines.push(String::new());
    lines.push(format!("check it with: ringvault verify {repository} {} --read-data", manifest.backup_id));
    lines
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(Kind, String)> {
    let approximations = [ringvault_client::v1::Approximation::default()];
    let table = TableRecord {
        keyspace: "k",
        table: "t",
        rows: 1,
        chunks: 1,
        segments: 1,
        encoded_bytes: 1,
        stored_bytes: 1,
        stored_bytes_new: 1,
        key_only_rows: 0,
        estimated_cells: 0,
        fidelity: Fidelity::expected(&approximations).line(),
    };
    let record = BackupRecord {
        backup_id: "b",
        keyspaces: &[],
        started_unix_ms: 1,
        finished_unix_ms: 1,
        cluster_name: "c",
        server_version: "5",
        data_centers: &[],
        read_consistency: "ONE",
        values_only: false,
        limit_rows: 0,
        tables_chosen: &[],
        partial: false,
        complete: true,
        ringvault_version: "0",
        schema_object: "s",
        warnings: &[],
        tables: vec![table],
    };
    vec![(Kind::BackupShown, crate::output::json::text(Kind::BackupShown, &record))]
}
