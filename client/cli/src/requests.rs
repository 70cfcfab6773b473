//! From flags to what is asked of a coordinator: specifications, repository locations, idempotency keys.

use std::path::Path;

use anyhow::Context;
use ringvault_archive::digest::Identity;
use ringvault_client::{Failure, v1};
use serde_json::{Value, json};

use crate::arguments::{
    common::{Common, Connection, Lean},
    jobs::{BackedUp, Compression, Restore},
    usage,
    values::{Rate, consistency_name},
};

/// What `backup` and `plan` ask for.
pub(crate) fn backup_spec(common: &Common, what: &BackedUp) -> anyhow::Result<v1::BackupSpec> {
    let compression = if what.gzip { Some(Compression::Gzip) } else { what.compression };
    let (rows_per_second_max, bytes_per_second_max) = Rate::limits(common.lean.rate);
    Ok(v1::BackupSpec {
        keyspace: name(&what.keyspace, "KEYSPACE")?,
        tables: tables(&what.tables)?,
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
    })
}

/// What `restore` asks for.
pub(crate) fn restore_spec(common: &Common, what: &Restore) -> anyhow::Result<v1::RestoreSpec> {
    let (rows_per_second_max, bytes_per_second_max) = Rate::limits(common.lean.rate);
    let delay_ms = what.retry_delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1));
    Ok(v1::RestoreSpec {
        keyspace: name(&what.keyspace, "KEYSPACE")?,
        tables: tables(&what.tables)?,
        cluster: cluster(common),
        repository: repository(&what.repository, common.fleet.coordinator.is_some())?,
        backup_id: what.backup.clone().unwrap_or_default(),
        drop: what.drop,
        check_first: what.check_first,
        verify: !what.no_verify,
        batch_rows_max: what.batch_size.unwrap_or_default(),
        tables_parallel: what.parallel.unwrap_or_default(),
        retries: what.retries.unwrap_or_default(),
        retry_delay_ms: delay_ms.unwrap_or_default(),
        write_consistency: common.reading.write_consistency.unwrap_or_default().into(),
        pace: pace(&common.lean).into(),
        rows_per_second_max,
        bytes_per_second_max,
        patience_ms: patience_ms(&common.lean),
        read_consistency: common.reading.read_consistency.unwrap_or_default().into(),
    })
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

fn name(text: &str, what: &str) -> anyhow::Result<String> {
    match text.trim() {
        "" => Err(usage(format!("{what} is empty")).into()),
        name => Ok(name.to_owned()),
    }
}

/// Names of tables, sorted, each once.
fn tables(given: &[String]) -> anyhow::Result<Vec<String>> {
    let mut tables = given.iter().map(|table| name(table, "a table of --tables")).collect::<Result<Vec<_>, _>>()?;
    tables.sort_unstable();
    tables.dedup();
    Ok(tables)
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
        Some(v1::job_spec::Work::Backup(spec)) => json!({
            "backup": spec.keyspace, "tables": spec.tables, "cluster": spec.cluster, "repository": spec.repository,
            "compression": spec.compression().as_str_name(), "chunk_rows_max": spec.chunk_rows_max,
            "limit_rows": spec.limit_rows, "values_only": spec.values_only,
            "read_consistency": consistency_name(spec.read_consistency()),
        }),
        Some(v1::job_spec::Work::Restore(spec)) => json!({
            "restore": spec.keyspace, "tables": spec.tables, "cluster": spec.cluster, "repository": spec.repository,
            "backup": spec.backup_id, "drop": spec.drop, "check_first": spec.check_first, "verify": spec.verify,
            "write_consistency": consistency_name(spec.write_consistency()),
            "read_consistency": consistency_name(spec.read_consistency()),
        }),
        None => Value::Null,
    };
    Identity::of(asked.to_string().as_bytes()).to_string()
}

/// The keyspace, the repository and the cluster of a job.
pub(crate) fn subject(spec: &v1::JobSpec) -> (&'static str, &str, &str, &str) {
    match &spec.work {
        Some(v1::job_spec::Work::Backup(spec)) => ("backup", &spec.keyspace, &spec.repository, &spec.cluster),
        Some(v1::job_spec::Work::Restore(spec)) => ("restore", &spec.keyspace, &spec.repository, &spec.cluster),
        None => ("job", "", "", ""),
    }
}

/// A failure of another room, as an error of this one.
pub(crate) fn failed(failure: impl Into<Failure>) -> anyhow::Error {
    anyhow::Error::new(failure.into())
}

#[cfg(test)]
mod tests;
