//! Indexes, then the manifest: the last write makes the backup exist.

use std::collections::BTreeSet;

use ringvault_archive::{
    digest::Identity,
    index::TableIndex,
    manifest::{Cluster, Manifest, Options, TableEntry},
    repository::Repository,
};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    ids::BackupId,
    v1::{self, Compression, Consistency},
};
use ringvault_runtime::tasks::Tasks;

use crate::core::event::Publication;

/// Writes a backup's indexes and its manifest. Cancelled, the backup does not exist yet.
pub(super) async fn publish(repository: &Repository, tasks: &Tasks, publication: Publication) -> Result<(), Failure> {
    let Publication { backup_id, spec, started_unix_ms, finished_unix_ms, cluster, captured, tables, warnings } =
        publication;
    let id: BackupId = backup_id.parse().map_err(|e| Failure::new(ErrorKind::Internal, format!("{e}")))?;
    let identity = Identity::from_slice(&captured.schema_identity)?;
    let schema = repository.find_schema(&id, identity, captured.schema_bytes).await?;
    let mut entries = Vec::with_capacity(tables.len());
    for (table, grid, chunks) in tables {
        entries.push(write_table(repository, tasks, &id, table, grid, spec.values_only, chunks).await?);
    }
    entries.sort_by(|a, b| (&a.keyspace, &a.table).cmp(&(&b.keyspace, &b.table)));
    let data_centers: BTreeSet<String> = cluster.nodes.into_iter().map(|node| node.data_center).collect();
    let manifest = Manifest {
        ringvault_version: env!("CARGO_PKG_VERSION").to_owned(),
        backup_id: id,
        keyspaces: cluster.keyspaces,
        started_unix_ms,
        finished_unix_ms,
        cluster: Cluster {
            name: cluster.cluster_name,
            server_version: cluster.server_version,
            data_centers: data_centers.into_iter().collect(),
        },
        options: options(&spec),
        schema,
        tables: entries,
        warnings,
    };
    Ok(repository.write_manifest(&manifest).await?)
}

async fn write_table(
    repository: &Repository,
    tasks: &Tasks,
    id: &BackupId,
    table: v1::InspectedTable,
    grid: Grid,
    values_only: bool,
    chunks: Vec<v1::Chunk>,
) -> Result<TableEntry, Failure> {
    let stored_bytes_new = chunks.iter().filter(|chunk| !chunk.reused).map(|chunk| chunk.stored_bytes).sum();
    let name = table.table.clone().unwrap_or_default();
    let build = tasks.spawn_blocking(move || TableIndex::new(table, grid, values_only, chunks));
    let index = build.await.map_err(|_| {
        Failure::new(ErrorKind::Internal, format!("building the index of {} ended early", name.table))
    })??;
    let object = repository.write_index(id, &index).await?;
    Ok(index.entry(object, stored_bytes_new))
}

fn options(spec: &v1::BackupSpec) -> Options {
    Options {
        read_consistency: match spec.read_consistency() {
            Consistency::Unspecified => Consistency::LocalQuorum,
            named => named,
        },
        compression: match spec.compression() {
            Compression::Unspecified => Compression::Zstd,
            named => named,
        },
        values_only: spec.values_only,
        limit_rows: spec.limit_rows,
        chunk_rows_max: spec.chunk_rows_max,
        keyspaces_chosen: spec.keyspaces.clone(),
        tables_chosen: spec.tables.clone(),
        with_roles: spec.with_roles,
    }
}
