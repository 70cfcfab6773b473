//! From flags to what is asked of a coordinator: specifications, repository locations, idempotency keys.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use ringvault_archive::digest::Identity;
use ringvault_client::{
    Failure,
    v1::{self, job_spec::Work},
};
use serde_json::{Value, json};

use crate::arguments::{
    common::{Common, Connection, Lean},
    jobs::{BackedUp, Compression},
    repositories::Verify,
    restore::{Part, Rehearse, Restore},
    transforms::{Key, Pair, Replication},
    usage,
    values::{Rate, consistency_name, names},
};

/// What `backup` and `plan` ask for.
pub(crate) fn backup_spec(common: &Common, what: &BackedUp) -> anyhow::Result<v1::BackupSpec> {
    let compression = if what.gzip { Some(Compression::Gzip) } else { what.compression };
    let (rows_per_second_max, bytes_per_second_max) = Rate::limits(common.lean.rate);
    Ok(v1::BackupSpec {
        keyspaces: names(&what.keyspaces),
        tables: tables(&what.tables),
        cluster: cluster(common),
        repository: repository(&what.repository, common.fleet.coordinator.is_some())?,
        compression: compression.map_or(v1::Compression::Unspecified, v1::Compression::from).into(),
        chunk_rows_max: what.chunk_size.unwrap_or_default(),
        tables_parallel: what.parallel.unwrap_or_default(),
        shards_per_table: what.shards.unwrap_or_default(),
        limit_rows: what.limit.unwrap_or_default(),
        fetch_size: what.fetch_size.unwrap_or_default(),
        read_consistency: common.reading.read_consistency.unwrap_or_default().into(),
        values_only: what.values_only,
        pace: pace(&common.lean).into(),
        rows_per_second_max,
        bytes_per_second_max,
        patience_ms: patience_ms(&common.lean),
        idempotent: common.reading.idempotent,
        with_roles: what.with_roles,
    })
}

/// What `restore` asks for.
pub(crate) fn restore_spec(common: &Common, what: &Restore) -> anyhow::Result<v1::RestoreSpec> {
    let delay_ms = what.retry_delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1));
    let transforms = &what.transforms;
    let partition_key = transforms.partition_key.as_ref().map(partition_key).transpose()?;
    Ok(v1::RestoreSpec {
        keyspaces: names(&what.keyspaces),
        tables: tables(&what.tables),
        repository: repository(&what.repository, common.fleet.coordinator.is_some())?,
        backup_id: what.backup.clone().unwrap_or_default(),
        drop: what.drop,
        check_first: what.check_first,
        verify: !what.no_verify,
        batch_rows_max: what.batch_size.unwrap_or_default(),
        tables_parallel: what.parallel.unwrap_or_default(),
        retries: what.retries.unwrap_or_default(),
        retry_delay_ms: delay_ms.unwrap_or_default(),
        keyspace_as: transforms.place.keyspace_as.clone().unwrap_or_default(),
        table_as: map_of(&transforms.place.table_as),
        replication: replication(transforms.replication.as_ref()),
        data_center_as: map_of(&transforms.map_dc),
        if_exists: transforms.if_exists.map_or(v1::IfExists::Unspecified, v1::IfExists::from).into(),
        schema_only: transforms.schema_only,
        data_only: transforms.data_only,
        timestamps: transforms.timestamps.map_or(v1::Timestamps::Unspecified, v1::Timestamps::from).into(),
        ttl: transforms.ttl.map_or(v1::Ttl::Unspecified, v1::Ttl::from).into(),
        token_ranges: token_ranges(&transforms.part),
        partition_key,
        with_roles: transforms.with_roles,
        ..restore_of(common)
    })
}

/// What `rehearse` asks for.
pub(crate) fn rehearsal_spec(common: &Common, what: &Rehearse) -> anyhow::Result<v1::RestoreSpec> {
    Ok(v1::RestoreSpec {
        keyspaces: what.keyspace.clone().into_iter().collect(),
        tables: tables(&what.tables),
        repository: repository(&what.repository, common.fleet.coordinator.is_some())?,
        backup_id: what.backup.clone().unwrap_or_default(),
        verify: true,
        tables_parallel: what.parallel.unwrap_or_default(),
        replication: replication(what.replication.as_ref()),
        data_center_as: map_of(&what.map_dc),
        sample_per_million: what.sample.unwrap_or_default(),
        rehearsal: true,
        ..restore_of(common)
    })
}

/// What every restore takes from the common flags.
fn restore_of(common: &Common) -> v1::RestoreSpec {
    let (rows_per_second_max, bytes_per_second_max) = Rate::limits(common.lean.rate);
    v1::RestoreSpec {
        cluster: cluster(common),
        write_consistency: common.reading.write_consistency.unwrap_or_default().into(),
        read_consistency: common.reading.read_consistency.unwrap_or_default().into(),
        pace: pace(&common.lean).into(),
        rows_per_second_max,
        bytes_per_second_max,
        patience_ms: patience_ms(&common.lean),
        ..v1::RestoreSpec::default()
    }
}

/// What `verify --against-cluster` asks for.
pub(crate) fn verify_spec(common: &Common, what: &Verify) -> anyhow::Result<v1::VerifySpec> {
    let (rows_per_second_max, bytes_per_second_max) = Rate::limits(common.lean.rate);
    let compared = &what.compared;
    Ok(v1::VerifySpec {
        keyspaces: tables(&compared.keyspace),
        tables: tables(&compared.tables),
        cluster: cluster(common),
        repository: repository(&what.repository, common.fleet.coordinator.is_some())?,
        backup_id: what.ids.first().cloned().unwrap_or_default(),
        read_consistency: common.reading.read_consistency.unwrap_or_default().into(),
        tables_parallel: what.parallel.unwrap_or_default(),
        pace: pace(&common.lean).into(),
        rows_per_second_max,
        bytes_per_second_max,
        patience_ms: patience_ms(&common.lean),
        keyspace_as: compared.place.keyspace_as.clone().unwrap_or_default(),
        table_as: map_of(&compared.place.table_as),
        token_ranges: token_ranges(&compared.part),
        values_only: compared.values_only,
    })
}

/// The partition key of a flag.
pub(crate) fn partition_key(key: &Key) -> anyhow::Result<v1::PartitionKey> {
    Ok(v1::PartitionKey { cells: key.cells().map_err(usage)? })
}

fn map_of(pairs: &[Pair]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.old.clone(), pair.new.clone())).collect()
}

fn replication(given: Option<&Replication>) -> BTreeMap<String, String> {
    given.map(|replication| replication.0.clone()).unwrap_or_default()
}

/// Ranges of tokens in order, each once.
pub(crate) fn token_ranges(part: &Part) -> Vec<v1::TokenSpan> {
    let mut ranges = part.token_range.clone();
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    ranges.dedup();
    ranges
}

/// The profile's name of a fleet; else a name made of the contact points, so that a job that goes on later can't meet
/// another cluster under the same name.
fn cluster(common: &Common) -> String {
    match &common.fleet.coordinator {
        Some(_) => common.fleet.cluster.clone().unwrap_or_default(),
        None => embedded_cluster(&common.connection),
    }
}

/// How a job of this process names its cluster.
pub(crate) fn embedded_cluster(connection: &Connection) -> String {
    let mut hosts: Vec<&str> = connection.hosts.iter().map(|host| host.trim()).filter(|h| !h.is_empty()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let port = connection.port.map(|port| format!(" port {port}")).unwrap_or_default();
    format!("{}{port}", hosts.join(","))
}

/// Patterns of names, sorted, each once.
fn tables(given: &[String]) -> Vec<String> {
    names(&given.join(",")).into_iter().filter(|name| !name.is_empty()).collect()
}

fn pace(lean: &Lean) -> v1::Pace {
    lean.pace.map_or(v1::Pace::Unspecified, v1::Pace::from)
}

fn patience_ms(lean: &Lean) -> u64 {
    lean.patience.map_or(0, |patience| u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// Where a repository is. From here a relative directory means one below the current directory; a coordinator has
/// another current directory, so there a relative path is refused and a bare word names a profile.
pub(crate) fn repository(text: &str, by_coordinator: bool) -> anyhow::Result<String> {
    if text.trim().is_empty() {
        return Err(usage("REPOSITORY is empty; give a directory or s3://BUCKET/PREFIX").into());
    }
    if let Some((scheme, _)) = text.split_once("://") {
        return match scheme {
            "s3" => Ok(text.trim_end_matches('/').to_owned()),
            _ => Err(usage(format!("{scheme}:// is no repository; give a directory or s3://BUCKET/PREFIX")).into()),
        };
    }
    if !by_coordinator {
        let path = std::path::absolute(text).context("the current directory is gone")?;
        return utf8(&path);
    }
    if Path::new(text).is_absolute() {
        return utf8(Path::new(text));
    }
    if text.contains('/') || text.starts_with('.') {
        return Err(usage(format!(
            "{text} is relative to the directory you are in, which the coordinator and its workers don't know; give an \
             absolute directory that they all mount, s3://BUCKET/PREFIX, or the name of a repository profile"
        ))
        .into());
    }
    Ok(text.to_owned())
}

fn utf8(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().ok_or_else(|| usage(format!("{} is not UTF-8; choose another name", path.display())))?;
    Ok(if text.len() > 1 { text.trim_end_matches('/').to_owned() } else { text.to_owned() })
}

/// What a job is asked for, as 64 hex digits: equal for commands that ask for the same result, however fast or in how
/// many pieces. A job goes on under the same key.
pub(crate) fn key(spec: &v1::JobSpec) -> String {
    let asked: Value = match &spec.work {
        Some(Work::Backup(spec)) => json!({
            "backup": spec.keyspaces, "tables": spec.tables, "cluster": spec.cluster, "repository": spec.repository,
            "compression": spec.compression().as_str_name(), "chunk_rows_max": spec.chunk_rows_max,
            "limit_rows": spec.limit_rows, "values_only": spec.values_only, "with_roles": spec.with_roles,
            "read_consistency": consistency_name(spec.read_consistency()),
        }),
        Some(Work::Restore(spec)) => restore_asked(spec),
        Some(Work::Verify(spec)) => json!({
            "verify": spec.keyspaces, "tables": spec.tables, "cluster": spec.cluster, "repository": spec.repository,
            "backup": spec.backup_id, "keyspace_as": spec.keyspace_as, "table_as": spec.table_as,
            "token_ranges": spans(&spec.token_ranges), "values_only": spec.values_only,
            "read_consistency": consistency_name(spec.read_consistency()),
        }),
        None => Value::Null,
    };
    Identity::of(asked.to_string().as_bytes()).to_string()
}

fn restore_asked(spec: &v1::RestoreSpec) -> Value {
    // What is not said and what is said as it is anyway ask for the same.
    let if_exists = match spec.if_exists() {
        v1::IfExists::Unspecified => v1::IfExists::Fail,
        said => said,
    };
    let timestamps = match spec.timestamps() {
        v1::Timestamps::Unspecified => v1::Timestamps::Original,
        said => said,
    };
    let ttl = match spec.ttl() {
        v1::Ttl::Unspecified => v1::Ttl::OriginalExpiry,
        said => said,
    };
    json!({
        "restore": spec.keyspaces, "tables": spec.tables, "cluster": spec.cluster, "repository": spec.repository,
        "backup": spec.backup_id, "drop": spec.drop, "check_first": spec.check_first, "verify": spec.verify,
        "write_consistency": consistency_name(spec.write_consistency()),
        "read_consistency": consistency_name(spec.read_consistency()),
        "keyspace_as": spec.keyspace_as, "table_as": spec.table_as,
        "replication": spec.replication, "data_center_as": spec.data_center_as,
        "if_exists": if_exists.as_str_name(), "schema_only": spec.schema_only, "data_only": spec.data_only,
        "timestamps": timestamps.as_str_name(), "ttl": ttl.as_str_name(),
        "token_ranges": spans(&spec.token_ranges),
        "partition_key": spec.partition_key.as_ref().map(|key| &key.cells),
        "with_roles": spec.with_roles,
        "sample_per_million": spec.sample_per_million, "rehearsal": spec.rehearsal,
    })
}

fn spans(ranges: &[v1::TokenSpan]) -> Vec<[i64; 2]> {
    ranges.iter().map(|range| [range.start, range.end]).collect()
}

/// What a job is about, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject<'a> {
    /// `backup`, `restore`, `rehearse` or `verify`.
    pub(crate) work: &'static str,
    /// As they were asked for, comma-separated; empty: all of the backup.
    pub(crate) keyspaces: String,
    /// Where it is written under another name.
    pub(crate) keyspace_as: &'a str,
    pub(crate) repository: &'a str,
    pub(crate) cluster: &'a str,
    /// Of a rehearsal: how many of a million segments; 0: all.
    pub(crate) sample_per_million: u32,
}

impl<'a> Subject<'a> {
    /// What `job` is about.
    pub(crate) fn of(job: &'a v1::Job) -> Self {
        let of = |work, keyspaces: &[String], repository: &'a str, cluster: &'a str| Self {
            work,
            keyspaces: keyspaces.join(","),
            repository,
            cluster,
            ..Self::default()
        };
        match job.spec.as_ref().and_then(|spec| spec.work.as_ref()) {
            Some(Work::Backup(spec)) => of("backup", &spec.keyspaces, &spec.repository, &spec.cluster),
            Some(Work::Restore(spec)) => Self {
                keyspace_as: &spec.keyspace_as,
                sample_per_million: spec.sample_per_million,
                ..of(
                    if spec.rehearsal { "rehearse" } else { "restore" },
                    &spec.keyspaces,
                    &spec.repository,
                    &spec.cluster,
                )
            },
            Some(Work::Verify(spec)) => Self {
                keyspace_as: &spec.keyspace_as,
                ..of("verify", &spec.keyspaces, &spec.repository, &spec.cluster)
            },
            None => Self { work: "job", ..Self::default() },
        }
    }

    /// `keyspace shop`, `keyspaces shop,user_*`, or `all keyspaces of the backup`.
    pub(crate) fn what(&self) -> String {
        match self.keyspaces.as_str() {
            "" => "all keyspaces of the backup".to_owned(),
            several if several.contains([',', '*', '?', '!']) => format!("keyspaces {several}"),
            one => format!("keyspace {one}"),
        }
    }
}

/// A failure of another room, as an error of this one.
pub(crate) fn failed(failure: impl Into<Failure>) -> anyhow::Error {
    anyhow::Error::new(failure.into())
}

#[cfg(test)]
mod tests;
