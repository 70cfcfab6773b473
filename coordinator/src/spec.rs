//! Judges what clients submit, at the edge: every message names the field, what is wrong with it and what to do.

mod transforms;

use std::collections::BTreeSet;

use ringvault_archive::repository::Location;
use ringvault_proto::{
    error::{ErrorKind, Failure},
    ids::BackupId,
    pattern::Patterns,
    v1::{self, Consistency, job_spec::Work},
};

use crate::settings::Settings;

/// Longest name of a keyspace or table (Cassandra 5.1; older ones end at 48).
const NAME_BYTES_MAX: usize = 222;

/// Longest name of a profile.
const PROFILE_BYTES_MAX: usize = 128;

/// Patterns of tables that a job names at most.
const TABLES_MAX: u64 = 10_000;

/// Patterns of keyspaces that a job names at most.
const KEYSPACES_MAX: u64 = 1000;

/// Longest repository location.
const REPOSITORY_BYTES_MAX: usize = 4096;

/// Longest patience, in ms: a week.
const PATIENCE_MS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// Requests in flight to one node at most that a limit may name.
const NODE_REQUESTS_MAX: u64 = 100_000;

/// Keyspaces that only the system writes, of Cassandra and of Scylla.
const SYSTEM_KEYSPACES: [&str; 10] = [
    "system",
    "system_schema",
    "system_auth",
    "system_distributed",
    "system_traces",
    "system_views",
    "system_virtual_schema",
    "system_distributed_everywhere",
    "system_replicated_keys",
    "system_metadata",
];

/// Judges a spec.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn check(spec: Option<v1::JobSpec>, settings: &Settings) -> Result<v1::JobSpec, Failure> {
    let spec = spec.ok_or_else(|| invalid("the request holds no spec; say what to do"))?;
    match &spec.work {
        Some(Work::Backup(backup)) => check_backup(backup, settings)?,
        Some(Work::Restore(restore)) => check_restore(restore, settings)?,
        Some(Work::Verify(verify)) => check_verify(verify, settings)?,
        None => {
            return Err(invalid("the spec names no kind of work that is known here; unknown ones are refused"));
        }
    }
    known("priority", v1::Priority::try_from(spec.priority).is_ok(), spec.priority)?;
    Ok(spec)
}

/// Judges a change of a job.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn check_update(update: &v1::UpdateJobRequest) -> Result<(), Failure> {
    let v1::UpdateJobRequest {
        job_id,
        priority,
        workers_max,
        ranges_max,
        rows_per_second_max,
        bytes_per_second_max,
        pace,
    } = update;
    if let Some(value) = *priority {
        known("priority", v1::Priority::try_from(value).is_ok(), value)?;
    }
    if let Some(value) = *pace {
        known("pace", v1::Pace::try_from(value).is_ok(), value)?;
    }
    let named = priority.is_some() || pace.is_some();
    let leases = workers_max.is_some() || ranges_max.is_some();
    if named || leases || rows_per_second_max.is_some() || bytes_per_second_max.is_some() {
        return Ok(());
    }
    let message = format!("nothing of job {job_id} is to be changed; give a priority, a pace, or a limit (0 lifts it)");
    Err(invalid(message))
}

/// Judges limits of a cluster.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn check_limits(request: &v1::SetClusterLimitsRequest) -> Result<(), Failure> {
    check_cluster(&request.cluster)?;
    let Some(limits) = &request.limits else {
        return Err(invalid("the request holds no limits; give all of them, 0 where there is to be none"));
    };
    at_most("requests_per_node_max", limits.requests_per_node_max.into(), NODE_REQUESTS_MAX)
}

fn check_backup(spec: &v1::BackupSpec, settings: &Settings) -> Result<(), Failure> {
    check_keyspaces(&spec.keyspaces, "backed up", false)?;
    check_tables(&spec.tables)?;
    check_places(&spec.cluster, &spec.repository, settings)?;
    known("compression", v1::Compression::try_from(spec.compression).is_ok(), spec.compression)?;
    known("pace", v1::Pace::try_from(spec.pace).is_ok(), spec.pace)?;
    check_consistency("read_consistency", spec.read_consistency, false)?;
    at_most("tables_parallel", spec.tables_parallel.into(), 1024)?;
    at_most("shards_per_table", spec.shards_per_table.into(), crate::plan::TABLE_SHARDS_MAX)?;
    at_most("fetch_size", spec.fetch_size.into(), 1_000_000)?;
    at_most("patience_ms", spec.patience_ms, PATIENCE_MS_MAX)
}

fn check_restore(spec: &v1::RestoreSpec, settings: &Settings) -> Result<(), Failure> {
    check_keyspaces(&spec.keyspaces, "restored", spec.rehearsal)?;
    check_tables(&spec.tables)?;
    check_places(&spec.cluster, &spec.repository, settings)?;
    check_backup_id(&spec.backup_id)?;
    known("pace", v1::Pace::try_from(spec.pace).is_ok(), spec.pace)?;
    check_consistency("write_consistency", spec.write_consistency, true)?;
    check_consistency("read_consistency", spec.read_consistency, false)?;
    at_most("tables_parallel", spec.tables_parallel.into(), 1024)?;
    at_most("batch_rows_max", spec.batch_rows_max.into(), 65_535)?;
    at_most("retries", spec.retries.into(), 1000)?;
    at_most("retry_delay_ms", spec.retry_delay_ms, 3_600_000)?;
    at_most("patience_ms", spec.patience_ms, PATIENCE_MS_MAX)?;
    transforms::check(spec)
}

fn check_verify(spec: &v1::VerifySpec, settings: &Settings) -> Result<(), Failure> {
    check_keyspaces(&spec.keyspaces, "compared", true)?;
    check_tables(&spec.tables)?;
    check_places(&spec.cluster, &spec.repository, settings)?;
    check_backup_id(&spec.backup_id)?;
    known("pace", v1::Pace::try_from(spec.pace).is_ok(), spec.pace)?;
    check_consistency("read_consistency", spec.read_consistency, false)?;
    at_most("tables_parallel", spec.tables_parallel.into(), 1024)?;
    at_most("patience_ms", spec.patience_ms, PATIENCE_MS_MAX)?;
    transforms::check_names(&spec.keyspaces, &spec.keyspace_as, &spec.table_as)?;
    transforms::check_token_ranges(&spec.token_ranges)
}

fn check_backup_id(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    text.parse::<BackupId>().map(drop).map_err(|e| invalid(e.to_string()))
}

/// Patterns of keyspaces. Where nothing of the user's is written, none is as good as all of the backup.
fn check_keyspaces(texts: &[String], done: &str, may_be_empty: bool) -> Result<(), Failure> {
    if texts.is_empty() && !may_be_empty {
        return Err(invalid(format!("no keyspace is named; say which are to be {done}, by name or by pattern")));
    }
    at_most("keyspaces", count(texts), KEYSPACES_MAX)?;
    check_once("keyspace", texts)?;
    let patterns = Patterns::of_keyspaces(texts).map_err(|e| invalid(format!("keyspaces: {e}")))?;
    for (_, name) in patterns.names() {
        check_not_system(name, done)?;
    }
    Ok(())
}

fn check_not_system(name: &str, done: &str) -> Result<(), Failure> {
    if SYSTEM_KEYSPACES.contains(&name) {
        return Err(invalid(format!(
            "keyspace {name} belongs to the database itself and can't be {done}; name one of yours"
        )));
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    let fits = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if fits {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    let hint = "give it as the database stores it, without quotes: letters, digits and underscores";
    Err(invalid(format!("{shown:?} is no {what} name; {hint}")))
}

fn check_tables(texts: &[String]) -> Result<(), Failure> {
    at_most("tables", count(texts), TABLES_MAX)?;
    check_once("table", texts)?;
    Patterns::of_tables(texts).map(drop).map_err(|e| invalid(format!("tables: {e}")))
}

fn check_once(what: &str, texts: &[String]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    match texts.iter().find(|text| !seen.insert(*text)) {
        Some(twice) => Err(invalid(format!("{what} {twice:?} is named twice; name it once"))),
        None => Ok(()),
    }
}

fn count<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}

fn check_places(cluster: &str, repository: &str, settings: &Settings) -> Result<(), Failure> {
    check_cluster(cluster)?;
    if repository.is_empty() || repository.len() > REPOSITORY_BYTES_MAX {
        return Err(invalid("name a repository: a profile, an absolute directory, or s3://bucket/prefix"));
    }
    location(repository, settings).map(drop)
}

fn check_cluster(cluster: &str) -> Result<(), Failure> {
    if cluster.is_empty() || cluster.len() > PROFILE_BYTES_MAX {
        return Err(invalid(format!("the cluster profile's name must have 1 to {PROFILE_BYTES_MAX} characters")));
    }
    Ok(())
}

/// Where a repository is, by profile, directory or URL.
///
/// # Errors
/// `Invalid` for an unknown profile and for what is no location.
pub(crate) fn location(repository: &str, settings: &Settings) -> Result<Location, Failure> {
    let Some(text) = settings.location(repository) else {
        let known: Vec<&str> = settings.repositories.keys().map(String::as_str).collect();
        let known =
            if known.is_empty() { "none is configured".to_owned() } else { format!("known are {}", known.join(", ")) };
        return Err(invalid(format!(
            "{repository:?} is no repository profile ({known}); give a profile, an absolute directory, or s3://bucket/prefix"
        )));
    };
    text.parse::<Location>().map_err(Failure::from)
}

fn check_consistency(field: &str, value: i32, write: bool) -> Result<(), Failure> {
    match Consistency::try_from(value) {
        Ok(Consistency::Any) if !write => {
            Err(invalid(format!("{field} is ANY, which no read can have; use LOCAL_QUORUM or another")))
        }
        Ok(_) => Ok(()),
        Err(_) => known(field, false, value),
    }
}

fn known(field: &str, known: bool, value: i32) -> Result<(), Failure> {
    if known {
        Ok(())
    } else {
        Err(invalid(format!("{field} has the unknown value {value}; this coordinator is older than its client")))
    }
}

fn at_most(field: &str, value: u64, max: u64) -> Result<(), Failure> {
    if value <= max { Ok(()) } else { Err(invalid(format!("{field} is {value}; it must be at most {max}"))) }
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(change: impl FnOnce(&mut v1::BackupSpec)) -> Result<v1::JobSpec, Failure> {
        let mut spec = v1::BackupSpec {
            keyspaces: vec!["shop".into()],
            cluster: "prod".into(),
            repository: "/mnt/bk".into(),
            ..v1::BackupSpec::default()
        };
        change(&mut spec);
        check(Some(v1::JobSpec { work: Some(Work::Backup(spec)), ..v1::JobSpec::default() }), &Settings::fleet())
    }

    fn refused(change: impl FnOnce(&mut v1::BackupSpec), needle: &str) {
        let failure = backup(change).expect_err("must be refused");
        assert_eq!(failure.kind, ErrorKind::Invalid);
        assert!(failure.message.contains(needle), "{}", failure.message);
    }

    #[test]
    fn a_plain_backup_is_accepted() {
        backup(|_| ()).expect("valid");
        backup(|spec| spec.tables = vec!["a".into(), "B_2".into(), "!*_tmp".into()]).expect("valid");
        backup(|spec| spec.keyspaces = vec!["shop".into(), "user_*".into()]).expect("valid");
    }

    #[test]
    fn every_bad_field_is_refused_by_name() {
        refused(|spec| spec.keyspaces.clear(), "no keyspace is named");
        refused(|spec| spec.keyspaces = vec!["system_auth".into()], "belongs to the database itself");
        refused(|spec| spec.keyspaces = vec!["a\"b".into()], "is no pattern");
        refused(|spec| spec.tables = vec!["a.b.c".into()], "is no pattern");
        refused(|spec| spec.tables = vec!["t".into(), "t".into()], "named twice");
        refused(|spec| spec.cluster.clear(), "cluster profile");
        refused(|spec| spec.repository.clear(), "name a repository");
        refused(|spec| spec.repository = "backups".into(), "no repository profile");
        refused(|spec| spec.read_consistency = Consistency::Any.into(), "ANY");
        refused(|spec| spec.read_consistency = 77, "unknown value 77");
        refused(|spec| spec.compression = 9, "compression");
        refused(|spec| spec.tables_parallel = 5000, "at most 1024");
    }

    #[test]
    fn all_keyspaces_of_a_backup_are_compared_or_rehearsed_but_not_restored_without_being_named() {
        let restore = |rehearsal| v1::RestoreSpec {
            cluster: "prod".into(),
            repository: "/mnt/bk".into(),
            rehearsal,
            ..v1::RestoreSpec::default()
        };
        let judge = |work| check(Some(v1::JobSpec { work: Some(work), ..v1::JobSpec::default() }), &Settings::fleet());
        judge(Work::Restore(restore(true))).expect("valid");
        let failure = judge(Work::Restore(restore(false))).expect_err("refused");
        assert!(failure.message.contains("no keyspace is named"), "{}", failure.message);
        let verify =
            v1::VerifySpec { cluster: "prod".into(), repository: "/mnt/bk".into(), ..v1::VerifySpec::default() };
        judge(Work::Verify(verify.clone())).expect("valid");
        let renamed = v1::VerifySpec { keyspace_as: "system".into(), ..verify };
        assert_eq!(judge(Work::Verify(renamed)).expect_err("refused").kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_change_of_a_job_must_change_something_that_is_known() {
        let update = |change: fn(&mut v1::UpdateJobRequest)| {
            let mut update = v1::UpdateJobRequest { job_id: "j1".into(), ..v1::UpdateJobRequest::default() };
            change(&mut update);
            check_update(&update).map_err(|failure| failure.message)
        };
        assert_eq!(update(|update| update.ranges_max = Some(0)), Ok(()));
        assert_eq!(update(|update| update.priority = Some(3)), Ok(()));
        assert!(update(|_| ()).expect_err("nothing").contains("nothing of job j1"));
        assert!(update(|update| update.priority = Some(9)).expect_err("unknown").contains("priority"));
        assert!(update(|update| update.pace = Some(-1)).expect_err("unknown").contains("pace"));
    }

    #[test]
    fn limits_of_a_cluster_name_it_and_are_given() {
        let limits = |cluster: &str, limits| {
            check_limits(&v1::SetClusterLimitsRequest { cluster: cluster.into(), limits }).map_err(|f| f.message)
        };
        assert_eq!(limits("prod", Some(v1::ClusterLimits::default())), Ok(()));
        assert!(limits("", Some(v1::ClusterLimits::default())).expect_err("no name").contains("cluster profile"));
        assert!(limits("prod", None).expect_err("none").contains("no limits"));
        let wild = v1::ClusterLimits { requests_per_node_max: u32::MAX, ..v1::ClusterLimits::default() };
        assert!(limits("prod", Some(wild)).expect_err("too many").contains("requests_per_node_max"));
    }

    #[test]
    fn a_request_without_work_is_refused() {
        assert!(check(None, &Settings::fleet()).is_err());
        assert!(check(Some(v1::JobSpec::default()), &Settings::fleet()).is_err());
    }

    #[test]
    fn a_backup_id_that_could_leave_its_directory_is_refused() {
        let spec = v1::RestoreSpec {
            keyspaces: vec!["shop".into()],
            cluster: "prod".into(),
            repository: "/mnt/bk".into(),
            backup_id: "../../x".into(),
            ..v1::RestoreSpec::default()
        };
        let spec = v1::JobSpec { work: Some(Work::Restore(spec)), ..v1::JobSpec::default() };
        assert_eq!(check(Some(spec), &Settings::fleet()).expect_err("refused").kind, ErrorKind::Invalid);
    }
}
