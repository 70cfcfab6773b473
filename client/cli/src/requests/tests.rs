use ringvault_client::{Client, v1::job_spec::Work};

use super::*;
use crate::arguments::{Cli, Command};

fn asked(line: &str) -> anyhow::Result<v1::JobSpec> {
    let cli = Cli::read(line.split_whitespace())?;
    match &cli.command {
        Command::Backup(flags) => Ok(Client::backup(backup_spec(&cli.common, &flags.what)?)),
        Command::Restore(flags) => Ok(Client::restore(restore_spec(&cli.common, flags)?)),
        Command::Rehearse(flags) => Ok(Client::restore(rehearsal_spec(&cli.common, flags)?)),
        Command::Verify(flags) => Ok(Client::verify(verify_spec(&cli.common, flags)?)),
        other => unreachable!("a job was asked for, not {other:?}"),
    }
}

fn key_of(line: &str) -> String {
    key(&asked(line).expect(line))
}

#[test]
fn flags_of_a_backup_become_its_specification() {
    let spec = asked(
        "ringvault backup shop /bk/ --hosts h2,h1 --tables b,a,b --gzip --chunk-size 1000 --parallel 3 --shards 8 --limit 10 \
         --fetch-size 200 --read-consistency each_quorum --values-only --pace full --rate 50krows --patience 2m --idempotent",
    );
    let Some(Work::Backup(spec)) = spec.expect("valid").work else { unreachable!("a backup") };
    let want = v1::BackupSpec {
        keyspaces: vec!["shop".into()],
        tables: vec!["a".into(), "b".into()],
        cluster: "h1,h2".into(),
        repository: "/bk".into(),
        compression: v1::Compression::Gzip.into(),
        chunk_rows_max: 1000,
        tables_parallel: 3,
        shards_per_table: 8,
        limit_rows: 10,
        fetch_size: 200,
        read_consistency: v1::Consistency::EachQuorum.into(),
        values_only: true,
        pace: v1::Pace::Full.into(),
        rows_per_second_max: 50_000,
        bytes_per_second_max: 0,
        patience_ms: 120_000,
        idempotent: true,
        with_roles: false,
    };
    assert_eq!(spec, want);
}

#[test]
fn what_is_not_said_is_left_to_the_coordinator() {
    let spec = asked("ringvault backup shop s3://b/p --coordinator http://c:1 --cluster prod").expect("valid");
    let Some(Work::Backup(spec)) = spec.work else { unreachable!("a backup") };
    let want = v1::BackupSpec {
        keyspaces: vec!["shop".into()],
        cluster: "prod".into(),
        repository: "s3://b/p".into(),
        ..Default::default()
    };
    assert_eq!(spec, want);
}

#[test]
fn flags_of_a_restore_become_its_specification() {
    let spec = asked(
        "ringvault restore shop /bk --hosts h --backup 20261122T145053Z-7k3f --drop --yes --check-first --no-verify \
         --batch-size auto --retries 7 --retry-delay 0.5 --write-consistency QUORUM --rate 20MiB",
    );
    let Some(Work::Restore(spec)) = spec.expect("valid").work else { unreachable!("a restore") };
    assert!(spec.drop && spec.check_first && !spec.verify);
    assert_eq!((spec.batch_rows_max, spec.retries, spec.retry_delay_ms), (0, 7, 500));
    assert_eq!(spec.bytes_per_second_max, 20 << 20);
    assert_eq!(spec.write_consistency(), v1::Consistency::Quorum);
    assert_eq!(spec.backup_id, "20261122T145053Z-7k3f");
}

#[test]
fn a_command_that_asks_for_the_same_has_the_same_key_however_fast_it_goes() {
    let key = key_of("ringvault backup shop /bk --hosts h1,h2 --tables a,b");
    assert_eq!(key.len(), 64);
    for same in [
        "--hosts h2,h1 backup shop /bk/ --tables b,a",
        "backup shop /bk --hosts h1,h2 --tables a,b --parallel 8 --shards 3 --fetch-size 9",
        "backup shop /bk --hosts h1,h2 --tables a,b --pace full --rate 5MiB --patience 1s --fresh",
        "backup shop /bk --hosts h1,h2 --tables a,b --read-consistency LOCAL_QUORUM --username u --password p",
    ] {
        assert_eq!(key_of(&format!("ringvault {same}")), key, "{same}");
    }
    for other in [
        "backup shop2 /bk --hosts h1,h2 --tables a,b",
        "backup shop /bk2 --hosts h1,h2 --tables a,b",
        "backup shop /bk --hosts h1,h2 --tables a",
        "backup shop /bk --hosts h3 --tables a,b",
        "backup shop /bk --hosts h1,h2 --port 9043 --tables a,b",
        "backup shop /bk --hosts h1,h2 --tables a,b --values-only",
        "backup shop /bk --hosts h1,h2 --tables a,b --limit 5",
        "backup shop /bk --hosts h1,h2 --tables a,b --read-consistency ALL",
        "backup shop,users /bk --hosts h1,h2 --tables a,b",
        "backup shop /bk --hosts h1,h2 --tables a,b --with-roles",
        "restore shop /bk --hosts h1,h2 --tables a,b",
    ] {
        assert_ne!(key_of(&format!("ringvault {other}")), key, "{other}");
    }
}

#[test]
fn every_transform_becomes_part_of_the_specification() {
    let spec = asked(
        "ringvault restore shop /bk --hosts h --tables orders_*,!*_tmp --keyspace-as copy --table-as a=b,c=d \
         --replication {'class':'NetworkTopologyStrategy','dc1':3} --if-exists only-missing --timestamps now --ttl restart \
         --token-range 5:9 --token-range -7:3 --token-range 5:9 --with-roles",
    );
    let Some(Work::Restore(spec)) = spec.expect("valid").work else { unreachable!("a restore") };
    assert_eq!((spec.keyspace_as.as_str(), spec.tables.join(" ").as_str()), ("copy", "!*_tmp orders_*"));
    assert_eq!(spec.table_as["a"], "b");
    assert_eq!(spec.replication["dc1"], "3");
    assert_eq!(
        (spec.if_exists(), spec.timestamps(), spec.ttl()),
        (v1::IfExists::OnlyMissing, v1::Timestamps::Now, v1::Ttl::Restart)
    );
    let ranges: Vec<_> = spec.token_ranges.iter().map(|range| (range.start, range.end)).collect();
    assert_eq!(ranges, [(-7, 3), (5, 9)]);
    assert!(spec.with_roles && !spec.schema_only && spec.verify);
    let spec = asked("ringvault restore shop /bk --hosts h --tables a --partition-key [7,\"x\"]").expect("valid");
    let Some(Work::Restore(spec)) = spec.work else { unreachable!("a restore") };
    assert_eq!(spec.partition_key.expect("given").cells, ["7", "\"x\""]);
}

#[test]
fn a_rehearsal_is_a_restore_and_a_comparison_its_own_work() {
    let spec = asked("ringvault rehearse /bk --hosts h --sample 1% --map-dc a=b").expect("valid");
    let Some(Work::Restore(spec)) = spec.work else { unreachable!("a restore") };
    assert!(spec.rehearsal && spec.verify && spec.keyspaces.is_empty());
    assert_eq!((spec.sample_per_million, spec.data_center_as["a"].as_str()), (10_000, "b"));
    let line = "ringvault verify /bk 20261122T145053Z-7k3f --against-cluster --hosts h --keyspace shop --keyspace-as copy \
                --tables a --values-only";
    let Some(Work::Verify(spec)) = asked(line).expect("valid").work else { unreachable!("a comparison") };
    assert_eq!((spec.keyspaces.join(","), spec.keyspace_as.as_str(), spec.values_only), ("shop".into(), "copy", true));
    assert_eq!(spec.backup_id, "20261122T145053Z-7k3f");
}

#[test]
fn a_key_covers_every_transform_and_no_default_that_is_spelled_out() {
    let plain = "ringvault restore shop /bk --hosts h --tables a";
    let key = key_of(plain);
    for same in ["--if-exists fail", "--timestamps original", "--ttl original-expiry", "--parallel 3", "--pace full"] {
        assert_eq!(key_of(&format!("{plain} {same}")), key, "{same}");
    }
    let mut keys = std::collections::BTreeSet::from([key]);
    for other in [
        "--keyspace-as b",
        "--table-as a=b",
        "--replication {'class':'SimpleStrategy'}",
        "--map-dc a=b",
        "--if-exists append",
        "--if-exists truncate",
        "--if-exists only-missing",
        "--schema-only",
        "--data-only",
        "--timestamps now",
        "--ttl restart",
        "--ttl drop",
        "--token-range 1:2",
        "--token-range 1:3",
        "--partition-key 1",
        "--partition-key 2",
        "--with-roles",
        "--no-verify",
        "--drop --yes",
    ] {
        assert!(keys.insert(key_of(&format!("{plain} {other}"))), "{other}");
    }
    for line in [
        "rehearse /bk --hosts h",
        "rehearse /bk --hosts h --sample 1%",
        "verify /bk --against-cluster --hosts h",
        "verify /bk --against-cluster --hosts h --keyspace-as b",
        "verify /bk --against-cluster --hosts h --token-range 1:2",
        "verify /bk --against-cluster --hosts h --values-only",
    ] {
        assert!(keys.insert(key_of(&format!("ringvault {line}"))), "{line}");
    }
}

#[test]
fn a_relative_directory_means_one_here_and_nothing_to_a_coordinator() {
    let here = repository("out", false).expect("absolute");
    assert!(here.starts_with('/') && here.ends_with("/out"), "{here}");
    assert_eq!(repository("main", true).expect("a profile"), "main");
    assert_eq!(repository("/mnt/bk", true).expect("absolute"), "/mnt/bk");
    assert!(repository("./out", true).expect_err("relative").to_string().contains("absolute"));
    assert_eq!(repository("s3://b/p/", false).expect("s3"), "s3://b/p");
    assert!(repository("ftp://b/p", false).expect_err("unknown").to_string().contains("s3://"));
    assert!(repository(" ", false).is_err());
}

#[test]
fn an_empty_name_is_a_usage_error() {
    assert!(asked("ringvault backup shop /bk --hosts h --tables a,,b").is_err());
}
