//! Performs what the core wants done in repositories. Each action may be repeated: a second try finds what the first
//! one wrote.
//!
//! Deliberately absent: any decision about a job, retries (the core decides them), chunks (workers write those).

mod publish;

use std::{collections::BTreeMap, sync::Arc};

use ringvault_archive::{
    check::{ReadData, check_tables},
    manifest::{Manifest, TableEntry},
    names::probe_object,
    repository::{Location, Repository},
};
use ringvault_proto::{
    error::{ErrorKind, Failure, Verdict},
    ids::{BackupId, JobId},
    pattern::Patterns,
};
use ringvault_runtime::{entropy::Entropy, tasks::Tasks};

use crate::{
    choice::{Choice, Place, choose},
    core::event::{Action, LoadedBackup, Outcome, ParentIndex},
    name::TableKey,
    settings::Settings,
    spec,
};

/// Opens repositories and acts in them.
#[derive(Clone, Debug)]
pub(crate) struct Repositories {
    pub(crate) settings: Arc<Settings>,
    pub(crate) entropy: Entropy,
    pub(crate) tasks: Tasks,
}

impl Repositories {
    /// Performs one action. Cancelled, it is done in part, and may be done again.
    ///
    /// # Errors
    /// As the archive's; they name the repository and the object.
    pub(crate) async fn act(&self, job: &str, repository: &str, action: Action) -> Result<Outcome, Failure> {
        let job: JobId = job.parse().map_err(|e| Failure::new(ErrorKind::Internal, format!("{e}")))?;
        let location = spec::location(repository, &self.settings)?;
        match action {
            Action::Open { create } => self.open(&job, &location, create).await,
            Action::LoadParents { cluster_name, tables, values_only } => {
                let repository = match Repository::open(&location).await.map_err(Failure::from) {
                    Err(failure) if failure.kind == ErrorKind::NotFound => return Ok(Outcome::Parents(Vec::new())),
                    other => other?,
                };
                parents(&repository, &cluster_name, &tables, values_only).await.map(Outcome::Parents)
            }
            Action::LoadBackup { backup_id, keyspaces, tables } => {
                let repository = Repository::open(&location).await?;
                let backup = load_backup(&repository, &self.tasks, &backup_id, &keyspaces, &tables).await?;
                Ok(Outcome::Backup(Box::new(backup)))
            }
            Action::Publish(publication) => {
                let repository = Repository::open(&location).await?;
                publish::publish(&repository, &self.tasks, *publication).await?;
                Ok(Outcome::Published)
            }
            Action::DeleteProbe => {
                Repository::open(&location).await?.delete_probe(&job).await?;
                Ok(Outcome::Published)
            }
        }
    }

    async fn open(&self, job: &JobId, location: &Location, create: bool) -> Result<Outcome, Failure> {
        let repository =
            if create { Repository::open_or_create(location).await? } else { Repository::open(location).await? };
        let nonce = self.entropy.uuid().to_string();
        repository.write_probe(job, &nonce).await?;
        Ok(Outcome::Opened { nonce, object: probe_object(job) })
    }
}

/// The newest index of each table among whole backups of the cluster; of those made in the same way, if there is one.
/// What can't be read is no parent: a parent only saves work.
async fn parents(
    repository: &Repository,
    cluster_name: &str,
    tables: &[TableKey],
    values_only: bool,
) -> Result<Vec<ParentIndex>, Failure> {
    let backups = repository.backups().await?;
    let manifests: Vec<Manifest> = backups.into_iter().rev().filter_map(|backup| backup.manifest.ok()).collect();
    let mut found: BTreeMap<&TableKey, ParentIndex> = BTreeMap::new();
    for table in tables {
        let fits = |manifest: &&Manifest| {
            !manifest.is_partial()
                && manifest.cluster.name == cluster_name
                && manifest.table(&table.keyspace, &table.table).is_some()
        };
        let same = manifests.iter().filter(fits).filter(|manifest| manifest.options.values_only == values_only);
        let other = manifests.iter().filter(fits).filter(|manifest| manifest.options.values_only != values_only);
        let Some(manifest) = same.chain(other).next() else { continue };
        match repository.index_of(manifest, &table.keyspace, &table.table).await {
            Ok(index) => {
                found.insert(table, ParentIndex { backup_id: manifest.backup_id.to_string(), index });
            }
            Err(e) if e.kind().verdict() == Verdict::Retry => return Err(e.into()),
            Err(e) => tracing::warn!(backup = %manifest.backup_id, %table, "no parent: {e}"),
        }
    }
    Ok(found.into_values().collect())
}

/// Reads a backup and checks that every object of it is there with its length.
async fn load_backup(
    repository: &Repository,
    tasks: &Tasks,
    backup_id: &str,
    keyspaces: &[String],
    tables: &[String],
) -> Result<LoadedBackup, Failure> {
    let manifest = if backup_id.is_empty() {
        let patterns =
            Patterns::of_keyspaces(keyspaces).map_err(|e| Failure::new(ErrorKind::Invalid, e.to_string()))?;
        repository.newest(&patterns).await?
    } else {
        let id: BackupId = backup_id.parse().map_err(|e| Failure::new(ErrorKind::Invalid, format!("{e}")))?;
        repository.manifest(&id).await?
    };
    let chosen = chosen(&manifest, keyspaces, tables)?;
    check_objects(repository, tasks, &manifest, &chosen.tables).await?;
    let mut indexes = Vec::with_capacity(chosen.tables.len());
    for table in &chosen.tables {
        indexes.push(repository.index_of(&manifest, &table.keyspace, &table.table).await?);
    }
    Ok(LoadedBackup {
        backup_id: manifest.backup_id.to_string(),
        started_unix_ms: manifest.started_unix_ms,
        cluster_name: manifest.cluster.name.clone(),
        server_version: manifest.cluster.server_version.clone(),
        partial: manifest.is_partial(),
        keyspaces: chosen.keyspaces,
        all_tables: manifest.options.tables_chosen.is_empty(),
        tables: indexes,
    })
}

/// Checks on a blocking thread: comparing a million names with a listing is no work for the async ones.
async fn check_objects(
    repository: &Repository,
    tasks: &Tasks,
    manifest: &Manifest,
    tables: &[TableKey],
) -> Result<(), Failure> {
    let tables: Vec<(String, String)> = tables.iter().map(|key| (key.keyspace.clone(), key.table.clone())).collect();
    let (repository, manifest) = (repository.clone(), manifest.clone());
    let runtime = tokio::runtime::Handle::current();
    let check = tasks.spawn_blocking(move || {
        runtime.block_on(async { check_tables(&repository, &manifest, &tables, ReadData::No, &mut |_| ()).await })
    });
    let report =
        check.await.map_err(|_| Failure::new(ErrorKind::Internal, "checking the backup's objects ended early"))??;
    Ok(report.into_result()?)
}

/// What of a backup is meant.
fn chosen(manifest: &Manifest, keyspaces: &[String], tables: &[String]) -> Result<Choice, Failure> {
    let key = |entry: &TableEntry| TableKey { keyspace: entry.keyspace.clone(), table: entry.table.clone() };
    let held: Vec<TableKey> = manifest.tables.iter().map(key).collect();
    let place = Place {
        name: format!("backup {}", manifest.backup_id),
        keyspaces: &manifest.keyspaces,
        tables: &held,
        is_all: true,
    };
    choose(keyspaces, tables, &place)
}
