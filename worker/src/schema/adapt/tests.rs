use super::*;

const OLD: &str = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = 'read_repair_chance = 1'\n    AND dclocal_read_repair_chance = 0.1\n    AND read_repair_chance = 0.0\n    AND speculative_retry = '99PERCENTILE'";
const NEW: &str = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH additional_write_policy = '99p'\n    AND allow_auto_snapshot = true\n    AND comment = ''\n    AND memtable = 'default'\n    AND read_repair = 'BLOCKING'\n    AND speculative_retry = '99p'";
const V3_11: Release = Release { major: 3, minor: 11 };

fn target(release: Release) -> Target {
    Target { release: Some(release), ..Target::default() }
}

fn scylla() -> Target {
    Target { scylla: true, ..target(V4_0) }
}

/// Statement and changes.
fn adapted(cql: &str, target: &Target) -> (String, Vec<String>) {
    let statement = Statement::parse(cql).expect("fine");
    let object = SchemaObject {
        kind: statement.kind,
        keyspace: statement.keyspace.clone().unwrap_or_else(|| statement.name.clone()),
        name: statement.name.clone(),
        table: statement.table,
        cql: cql.into(),
    };
    let adapted = for_target(&object, target).expect("fine");
    (adapted.cql.expect("it stays"), adapted.changes)
}

/// The value of one option on another server, and the changes; `None` where it is left out.
fn option(name: &str, value: &str, target: &Target) -> (Option<String>, Vec<String>) {
    let (cql, changes) = adapted(&format!("CREATE TABLE ks.t (k int PRIMARY KEY) WITH {name} = {value}"), target);
    let found = Statement::parse(&cql).expect("fine").clauses().first().map(|clause| clause.value.to_owned());
    (found, changes)
}

#[test]
fn a_newer_server_is_spared_the_options_that_it_has_lost() {
    let (cql, changes) = adapted(OLD, &target(V5_0));
    assert_eq!(
        cql,
        "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = 'read_repair_chance = 1'\n    AND speculative_retry = '99PERCENTILE'"
    );
    assert!(changes.is_empty(), "defaults are not worth a word");
    let (_, changes) = adapted(&OLD.replace("_chance = 0.1", "_chance = 0.5"), &target(V5_0));
    assert_eq!(changes, ["table ks.t: Cassandra 5.0 has no option dclocal_read_repair_chance = 0.5, left out"]);
}

#[test]
fn an_older_server_is_spared_the_options_that_it_has_not_yet() {
    let (cql, _) = adapted(NEW, &target(V3_11));
    assert_eq!(
        cql,
        "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = ''\n    AND speculative_retry = '99PERCENTILE'"
    );
    let (cql, _) = adapted(NEW, &target(V4_1));
    assert!(cql.contains("memtable") && !cql.contains("allow_auto_snapshot"));
    let (cql, changes) = adapted(&NEW.replace("_snapshot = true", "_snapshot = false"), &target(V4_1));
    assert!(!cql.contains("allow_auto_snapshot"));
    assert_eq!(changes, ["table ks.t: Cassandra 4.1 has no option allow_auto_snapshot = false, left out"]);
}

#[test]
fn the_same_release_gets_the_same_bytes() {
    assert_eq!(adapted(OLD, &target(V3_11)), (OLD.to_owned(), vec![]));
    assert_eq!(adapted(NEW, &target(V5_0)), (NEW.to_owned(), vec![]));
    let index = "CREATE INDEX i ON ks.t (read_repair_chance)";
    assert_eq!(adapted(index, &target(V5_0)).0, index);
}

#[test]
fn a_statement_that_loses_all_its_options_loses_its_with() {
    assert_eq!(option("read_repair_chance", "0.0", &target(V5_0)), (None, vec![]));
    let (cql, _) = adapted("CREATE TABLE ks.t (k int PRIMARY KEY) WITH read_repair_chance = 0.0", &target(V5_0));
    assert_eq!(cql, "CREATE TABLE ks.t (k int PRIMARY KEY)");
}

#[test]
fn an_option_that_nobody_knows_is_told_to_servers_that_cannot_know_it() {
    let (value, changes) = option("fast_path", "'keyspace'", &target(V5_0));
    assert_eq!((value, changes.len()), (None, 1));
    assert!(option("fast_path", "'keyspace'", &target(Release { major: 6, minor: 0 })).0.is_some());
    assert_eq!(option("id", "5a1c395e-b41f-11e5-9f22-ba0be0483c18", &target(V5_0)), (None, vec![]));
}

#[test]
fn leveled_compaction_loses_the_thresholds_that_an_older_server_refuses() {
    let leveled = "{'class': 'o.LeveledCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4', 'sstable_size_in_mb': '64'}";
    let short = "{'class': 'o.LeveledCompactionStrategy', 'sstable_size_in_mb': '64'}";
    assert_eq!(option("compaction", leveled, &target(V3_11)), (Some(short.to_owned()), vec![]));
    assert_eq!(option("compaction", leveled, &target(V4_1)).0.as_deref(), Some(leveled));
    let tiered = leveled.replace("Leveled", "SizeTiered");
    assert_eq!(option("compaction", &tiered, &target(V3_11)).0, Some(tiered));
}

#[test]
fn a_strategy_that_the_server_has_not_is_replaced_and_told() {
    for (class, target, instead) in [
        ("org.apache.cassandra.db.compaction.UnifiedCompactionStrategy", target(V4_1), "SizeTieredCompactionStrategy"),
        ("UnifiedCompactionStrategy", scylla(), "SizeTieredCompactionStrategy"),
        ("DateTieredCompactionStrategy", target(V5_0), "TimeWindowCompactionStrategy"),
        ("IncrementalCompactionStrategy", target(V5_0), "SizeTieredCompactionStrategy"),
    ] {
        let (value, changes) =
            option("compaction", &format!("{{'class': '{class}', 'scaling_parameters': 'T4'}}"), &target);
        assert_eq!(value, Some(format!("{{'class': '{instead}'}}")), "{class}");
        assert!(changes[0].contains(instead) && changes[0].ends_with("in compaction"), "{changes:?}");
    }
    for (class, target) in [("UnifiedCompactionStrategy", target(V5_0)), ("DateTieredCompactionStrategy", target(V4_1))]
    {
        let value = format!("{{'class': '{class}'}}");
        assert_eq!(option("compaction", &value, &target), (Some(value), vec![]));
    }
}

#[test]
fn compressors_are_named_as_the_server_names_them() {
    let zstd = "{'chunk_length_in_kb': '16', 'class': 'org.apache.cassandra.io.compress.ZstdCompressor', 'compression_level': '5'}";
    let (value, changes) = option("compression", zstd, &target(V3_11));
    assert_eq!(value.as_deref(), Some("{'chunk_length_in_kb': '16', 'class': 'LZ4Compressor'}"));
    assert_eq!(
        changes,
        ["table ks.t: Cassandra 3.11 has no ZstdCompressor; LZ4Compressor stands instead in compression"]
    );
    assert_eq!(option("compression", zstd, &target(V4_0)), (Some(zstd.to_owned()), vec![]));
    let noop = "{'chunk_length_in_kb': '16', 'class': 'NoopCompressor'}";
    assert_eq!(option("compression", noop, &target(V3_11)).0.as_deref(), Some("{'enabled': 'false'}"));
    let off = "{'enabled': 'false'}";
    assert_eq!(option("compression", off, &target(V5_0)).0.as_deref(), Some(off));
    assert_eq!(option("compression", off, &scylla()).0.as_deref(), Some("{'sstable_compression': ''}"));
    assert_eq!(option("compression", "{'sstable_compression': ''}", &target(V5_0)).0.as_deref(), Some(off));
    let (value, _) = option("compression", zstd, &scylla());
    assert_eq!(
        value.as_deref(),
        Some("{'chunk_length_in_kb': '16', 'compression_level': '5', 'sstable_compression': 'ZstdCompressor'}")
    );
    let dicts = "{'sstable_compression': 'org.apache.cassandra.io.compress.LZ4WithDictsCompressor'}";
    let (value, changes) = option("compression", dicts, &target(V5_0));
    assert_eq!((value.as_deref(), changes.len()), (Some("{'class': 'LZ4Compressor'}"), 1));
}

#[test]
fn speculative_retries_are_spelled_as_the_server_spells_them() {
    let value = |value: &str, target: &Target| option("speculative_retry", value, target);
    assert_eq!(value("'99p'", &target(V3_11)).0.as_deref(), Some("'99PERCENTILE'"));
    assert_eq!(value("'99.9p'", &scylla()).0.as_deref(), Some("'99.9PERCENTILE'"));
    assert_eq!(value("'NEVER'", &target(V3_11)).0.as_deref(), Some("'NONE'"));
    assert_eq!(value("'NONE'", &target(V4_0)).0.as_deref(), Some("'NEVER'"));
    assert_eq!(value("'50ms'", &target(V3_11)).0.as_deref(), Some("'50ms'"));
    let (left, changes) = value("'MIN(99p,50ms)'", &target(V3_11));
    assert_eq!((left, changes.len()), (None, 1));
}

#[test]
fn what_only_scylla_has_is_left_out_elsewhere_and_told_unless_it_is_the_default() {
    let table = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH caching = {'enabled': 'true', 'keys': 'ALL', 'rows_per_partition': 'ALL'}\n    AND cdc = {'enabled': 'true', 'preimage': 'full', 'ttl': '86400'}\n    AND tombstone_gc = {'mode': 'timeout', 'propagation_delay_in_seconds': '3600'}\n    AND per_partition_rate_limit = {'max_writes_per_second': 100}\n    AND paxos_grace_seconds = 43200";
    let (cql, changes) = adapted(table, &target(V5_0));
    assert_eq!(
        cql,
        "CREATE TABLE ks.t (k int PRIMARY KEY) WITH caching = {'keys': 'ALL', 'rows_per_partition': 'ALL'}\n    AND cdc = true"
    );
    assert_eq!(
        changes,
        [
            "table ks.t: ScyllaDB's log of changes becomes Cassandra's, which has no options in cdc",
            "table ks.t: Cassandra 5.0 has no option per_partition_rate_limit = {'max_writes_per_second': 100}, left out",
            "table ks.t: Cassandra 5.0 has no option paxos_grace_seconds = 43200, left out",
        ]
    );
    assert_eq!(adapted(table, &scylla()), (table.to_owned(), vec![]));
    let keyspace = "CREATE KEYSPACE ks WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'} AND durable_writes = true AND tablets = {'enabled': true}";
    let (cql, changes) = adapted(keyspace, &target(V4_0));
    assert!(cql.ends_with("AND durable_writes = true"), "{cql}");
    assert_eq!(changes, ["keyspace ks: Cassandra 4.0 has no option tablets = {'enabled': true}, left out"]);
    assert_eq!(adapted(keyspace, &scylla()).0, keyspace);
}

#[test]
fn what_only_cassandra_has_is_left_out_for_scylla() {
    let (cql, changes) = adapted(NEW, &scylla());
    assert_eq!(
        cql,
        "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = ''\n    AND speculative_retry = '99PERCENTILE'"
    );
    assert!(changes.is_empty());
    assert_eq!(option("cdc", "true", &scylla()).0.as_deref(), Some("{'enabled': 'true'}"));
    assert_eq!(option("cdc", "false", &scylla()), (None, vec![]));
}

#[test]
fn an_option_is_taken_out_of_a_statement() {
    let cql = without_option(NEW, "memtable").expect("fine");
    assert!(!cql.contains("memtable") && cql.contains("read_repair"), "{cql}");
}

#[test]
fn an_index_of_the_old_kind_needs_no_word_on_older_servers() {
    let cql = "CREATE CUSTOM INDEX i ON ks.t (v) USING 'legacy_local_table'";
    assert_eq!(adapted(cql, &target(V4_1)).0, "CREATE INDEX i ON ks.t (v)");
    assert_eq!(adapted(cql, &target(V5_0)).0, cql);
}
