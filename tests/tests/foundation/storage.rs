//! Places and forms of a repository: S3 with faults, each compression, read by another language.

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::oracle::Scope;
use ringvault_tests::product::{Workbench, files_below};
use ringvault_tests::python;
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::s3::{Fault, S3Server};
use ringvault_tests::samples::{every_type, large};

use crate::round_trip::Remembered;

pub(crate) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("an_s3_repository_works_through_faults", an_s3_repository_works_through_faults).on(newest()),
        Test::new("wrong_s3_settings_are_named", wrong_s3_settings_are_named).on(newest()),
        Test::new("another_language_reads_every_chunk", another_language_reads_every_chunk).on(newest()),
    ]
}

async fn an_s3_repository_works_through_faults(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    every_type::make(cluster, "on_s3", 1).await?;
    large::many_partitions(cluster, "on_s3", 40_000).await?;
    let before = Remembered::of(cluster, "on_s3").await?;
    let server = S3Server::start().await?;
    let mut bench = Workbench::new(cluster)?;
    bench.set_environment(server.environment());
    let url = server.url("shop/prefix");
    let port = cluster.port().to_string();
    let hosts = cluster.hosts();
    let connection = ["--hosts", &hosts, "--port", &port];
    server.inject(20_261_122, 12, &[Fault::InternalError, Fault::SlowDown, Fault::Reset, Fault::ResetAfter]);
    let backup = bench.run(&[&["backup", "on_s3", &url][..], &connection].concat()).await?.expect(0)?;
    let faults = server.take_seen().iter().filter(|request| request.fault.is_some()).count();
    ensure!(faults > 0, "no fault struck, so nothing was proved");
    ensure!(backup.figure("rows")? == before.rows(), "other rows: {backup}");
    let again = bench.run(&[&["backup", "on_s3", &url][..], &connection].concat()).await?.expect(0)?;
    ensure!(again.figure("chunks_new")? == 0, "the second backup stored chunks: {again}");
    let uploads = server.take_seen();
    let uploads: Vec<_> = uploads.iter().filter(|r| r.method == "PUT" && r.target.contains("/data/")).collect();
    ensure!(uploads.is_empty(), "chunks were uploaded again: {uploads:?}");
    cluster.drop_keyspace("on_s3").await?;
    let restore = bench.run(&[&["restore", "on_s3", &url][..], &connection].concat()).await?.expect(0)?;
    ensure!(restore.figure("rows")? == before.rows(), "other rows: {restore}");
    before.ensure_unchanged(cluster, Scope::ValuesAndTimes).await?;
    server.heal();
    for command in [&["verify", &url, "--read-data"][..], &["list", &url], &["show", &url]] {
        bench.run(command).await?.expect(0)?;
    }
    let objects = files_below(&server.objects().join("shop/prefix"))?;
    let stray = objects.iter().filter(|(name, _)| name.contains(".tmp") || name.contains('#')).count();
    ensure!(stray == 0, "temporary objects were left: {objects:?}");
    t.note(format!("{faults} faults survived by the backup, {} objects", objects.len()));
    cluster.drop_keyspace("on_s3").await
}

async fn wrong_s3_settings_are_named(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let server = S3Server::start().await?;
    let list = |environment: Vec<(String, String)>, url: String| async move {
        let mut bench = Workbench::new(cluster)?;
        bench.set_environment(environment);
        bench.run(&["list", &url]).await
    };
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut profile = server.environment();
    profile.retain(|(name, _)| !name.contains("KEY"));
    profile.push(variable("AWS_PROFILE", "work"));
    let run = list(profile, server.url("x")).await?;
    run.refused(1, &["invalid"], &["AWS_PROFILE", "export-credentials"])?;
    let mut wrong = server.environment();
    wrong.push(variable("AWS_SECRET_ACCESS_KEY", "canary-not-the-secret"));
    let run = list(wrong, server.url("x")).await?;
    ensure!(!run.stdout.contains("canary") && !run.stderr.contains("canary"), "a secret was shown: {run}");
    run.refused(1, &["invalid", "conflict", "unavailable"], &["s3://"])?;
    let run = list(server.environment(), "s3://no-such-bucket/x".into()).await?;
    run.refused(1, &["not_found", "invalid"], &["no-such-bucket"])?;
    Ok(())
}

async fn another_language_reads_every_chunk(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    every_type::make(cluster, "read", 1).await?;
    for (flags, ending) in
        [(&[][..], ".jsonl.zst"), (&["--gzip"][..], ".jsonl.gz"), (&["--compression", "none"][..], ".jsonl")]
    {
        let bench = Workbench::new(cluster)?;
        let backup = bench.backup("read", flags).await?;
        let mut rows = 0;
        let chunks = bench.files("data")?;
        ensure!(!chunks.is_empty(), "no chunks in {}", bench.repository().display());
        for (name, _) in &chunks {
            ensure!(name.ends_with(ending), "{name} does not end with {ending}");
            let lines = python::json_lines(&bench.repository().join("data").join(name)).await?;
            // In a table with statics a line without clustering is the partition's statics.
            let statics = |line: &serde_json::Value| {
                let clusterings: &[&str] = match name {
                    _ if name.contains("/statics/") || name.contains("/times/") || name.contains("/counters/") => {
                        &["ck"]
                    }
                    _ => &[],
                };
                clusterings.iter().any(|column| line.get(column).is_none())
            };
            rows += lines.iter().filter(|line| !statics(line)).count() as u64;
        }
        ensure!(rows == backup.figure("rows")?, "python reads {rows} rows: {backup}");
        t.note(format!("{rows} rows in {} files *{ending}", chunks.len()));
    }
    cluster.drop_keyspace("read").await
}
