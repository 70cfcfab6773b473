//! `golden/seed/shop`: values of every type, shards and parts, gzip, statics, descending clustering, doubled counters. Its
//! files were written by Python's driver 3.30.1 and `json.dumps`; the lines beside it are what they must become.

use std::path::{Path, PathBuf};

use ringvault_archive::{
    check::{ReadData, check_tables},
    repository::Repository,
};
use ringvault_proto::v1;

use crate::sample::{KEYSPACE, import, import_as, lines, table};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/seed").join(name)
}

fn tables() -> Vec<v1::InspectedTable> {
    let every_type = [
        "pk pk int",
        " P~k text",
        " a ascii",
        " bi bigint",
        " bl blob",
        " bo boolean",
        " class text",
        " da date",
        " de decimal",
        " dt double",
        " du duration",
        " f float",
        " ip inet",
        " l list<int>",
        " m map<text, int>",
        " s set<text>",
        " si smallint",
        " st frozen<set<int>>",
        " t tuple<int, int, text>",
        " ti time",
        " ts timestamp",
        " tu timeuuid",
        " ty tinyint",
        " u address",
        " uu uuid",
        " v vector<float, 2>",
        " vi varint",
    ];
    let events = [
        "pk tenant text",
        "pk day int",
        "ck↓ kind text",
        "ck at timeuuid",
        "st owner text",
        " note text",
        " tags set<text>",
    ];
    vec![
        table("counts", &["pk page text", " hits counter", " misses counter"]),
        table("events", &events),
        table("every_type", &every_type),
        table("not_dumped", &["pk k int"]),
    ]
}

#[tokio::test]
async fn a_golden_directory_becomes_the_backup_that_it_should() {
    let repository = Repository::in_memory();
    let manifest = import(&golden("shop"), tables(), &repository).await.expect("imported");
    for table in ["counts", "events", "every_type"] {
        let found = lines(&repository, &manifest, table).await.join("\n") + "\n";
        let path = golden(&format!("{table}.jsonl"));
        if std::env::var_os("RINGVAULT_GOLDEN").is_some() {
            std::fs::write(&path, &found).expect("written");
        }
        assert_eq!(found, std::fs::read_to_string(&path).expect("golden lines"), "{table}");
    }
    assert!(manifest.options.values_only);
    assert_eq!(manifest.options.tables_chosen, ["counts", "events", "every_type"]);
    let events = manifest.table(KEYSPACE, "events").expect("held");
    assert_eq!((events.sums.rows, events.sums.static_rows, events.chunks), (37, 5, 10));
    assert_eq!(events.facts.key_only_rows, 1);
    assert_eq!(events.approximations[0].what(), v1::approximation::What::AllTimes);
    let schema = repository.read_schema(&manifest).await.expect("a schema");
    assert!(schema.objects.iter().all(|object| object.name != "not_dumped"));
    let report = check_tables(&repository, &manifest, &[], ReadData::All, &mut |_| ()).await.expect("checked");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_manifest_names_what_that_tool_lost() {
    let repository = Repository::in_memory();
    let manifest = import(&golden("shop"), tables(), &repository).await.expect("imported");
    for part in [
        "no writetimes and no TTLs",
        "of the schema",
        "tables not_dumped are in the schema file, but no file",
        "shop.counts: 2 rows stood there more than once",
        "shop.counts: counters were kept as numbers",
    ] {
        assert!(manifest.warnings.iter().any(|warning| warning.contains(part)), "{part}: {:?}", manifest.warnings);
    }
}

#[tokio::test]
async fn the_same_directory_again_stores_no_chunk() {
    let repository = Repository::in_memory();
    let first = import(&golden("shop"), tables(), &repository).await.expect("imported");
    assert!(first.tables.iter().all(|table| table.stored_bytes_new == table.stored_bytes));
    let second = import_as(2, &golden("shop"), tables(), &repository).await.expect("imported");
    assert_ne!(second.backup_id, first.backup_id);
    assert!(second.tables.iter().all(|table| table.stored_bytes_new == 0));
    assert!(second.tables.iter().zip(&first.tables).all(|(a, b)| a.sums == b.sums));
}
