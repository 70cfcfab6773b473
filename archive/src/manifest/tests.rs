use ringvault_proto::error::ErrorKind;

use super::*;

/// A manifest of two tables, for tests.
pub(crate) fn example(id: &str, started_unix_ms: u64) -> Manifest {
    let backup_id: BackupId = id.parse().expect("an id");
    let object = |name: &str| ObjectRecord {
        object: format!("backups/{id}/{name}"),
        identity: Identity::of(name.as_bytes()),
        encoded_bytes: 200,
        stored_bytes: 100,
    };
    let table = |name: &str| TableEntry {
        keyspace: "shop".into(),
        table: name.into(),
        table_id: "9ab1f1d0-c7a5-11f0-8de9-0242ac120002".into(),
        fingerprint: "f00d".into(),
        grid: Grid::try_from(4).expect("small"),
        index: object(&format!("tables/shop.{name}.jsonl.zst")),
        sums: Sums { rows: 12, static_rows: 1, ..Sums::default() },
        chunks: 2,
        encoded_bytes: 4000,
        stored_bytes: 900,
        stored_bytes_new: 400,
        facts: Facts { key_only_rows: 1, estimated_cells: 2, writetime_us_max: 3, expiry_s_max: 4 },
        approximations: vec![v1::Approximation {
            what: v1::approximation::What::ElementTimes.into(),
            column: "tags".into(),
            note: "before 5.0 only the newest is told".into(),
        }],
    };
    Manifest {
        ringvault_version: "0.1.0".into(),
        backup_id,
        keyspaces: vec!["shop".into()],
        started_unix_ms,
        finished_unix_ms: started_unix_ms + 61_001,
        cluster: Cluster {
            name: "Test \"Cluster\"".into(),
            server_version: "5.0.6".into(),
            data_centers: vec!["dc1".into(), "dc2".into()],
        },
        options: Options {
            read_consistency: Consistency::LocalQuorum,
            compression: Compression::Zstd,
            values_only: false,
            limit_rows: 0,
            chunk_rows_max: 0,
            keyspaces_chosen: vec!["sh*".into()],
            tables_chosen: vec![],
            with_roles: false,
        },
        schema: object("schema.json"),
        tables: vec![table("customers"), table("orders")],
        warnings: vec!["a note".into()],
    }
}

const ID: &str = "20261122T145053Z-7k3f";

fn id() -> BackupId {
    ID.parse().expect("an id")
}

#[test]
fn a_manifest_survives_and_equal_manifests_are_equal_bytes() {
    let manifest = example(ID, 1_795_359_053_000);
    let bytes = manifest.to_json().expect("right");
    assert_eq!(Manifest::from_json(&bytes, &id()).expect("undamaged"), manifest);
    let mut shuffled = manifest;
    shuffled.tables.reverse();
    shuffled.cluster.data_centers.reverse();
    assert_eq!(shuffled.to_json().expect("right"), bytes);
    let json: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON for strangers too");
    assert_eq!(json["started"], "2026-11-22T14:50:53Z");
    assert_eq!(json["finished"], "2026-11-22T14:51:54.001Z");
    assert_eq!(json["options"]["read_consistency"], "LOCAL_QUORUM");
    assert_eq!(json["tables"][1]["table"], "orders");
}

#[test]
fn any_flipped_bit_or_cut_is_found() {
    let bytes = example(ID, 1_795_359_053_123).to_json().expect("right");
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            let error = Manifest::from_json(&damaged, &id()).expect_err("damaged");
            // A flip of the version's digit reads as a newer format.
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid), "{error}");
        }
        assert!(Manifest::from_json(&bytes[..position], &id()).is_err(), "cut at {position}");
    }
}

#[test]
fn a_manifest_of_another_backup_or_a_newer_format_is_named() {
    let bytes = example(ID, 1_795_359_053_123).to_json().expect("right");
    let other = "20261122T145053Z-0000".parse().expect("an id");
    let error = Manifest::from_json(&bytes, &other).expect_err("another backup's");
    assert!(error.to_string().contains("it is of backup 20261122T145053Z-7k3f"), "{error}");
    let newer = String::from_utf8(bytes).expect("JSON").replacen("\"format\": 1", "\"format\": 9", 1);
    let error = Manifest::from_json(newer.as_bytes(), &id()).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("newer ringvault"), "{error}");
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let wrong: [fn(&mut Manifest); 6] = [
        |m| m.keyspaces.clear(),
        |m| m.keyspaces = vec!["other".into()],
        |m| m.tables.push(m.tables[0].clone()),
        |m| m.schema.object = "backups/other/schema.json".into(),
        |m| m.tables[0].index.object = format!("backups/{ID}/../x"),
        |m| m.finished_unix_ms = u64::MAX,
    ];
    for (at, change) in wrong.into_iter().enumerate() {
        let mut manifest = example(ID, 1_795_359_053_123);
        change(&mut manifest);
        assert_eq!(manifest.to_json().expect_err("wrong").kind(), ErrorKind::Invalid, "{at}");
    }
}

#[test]
fn a_backup_with_a_limit_or_chosen_tables_is_not_complete() {
    let mut manifest = example(ID, 1_795_359_053_123);
    assert!(manifest.is_complete());
    manifest.options.tables_chosen = vec!["orders".into()];
    assert!(!manifest.is_complete() && !manifest.is_partial());
    manifest.options.limit_rows = 5;
    assert!(manifest.is_partial());
    let bytes = manifest.to_json().expect("right");
    assert_eq!(Manifest::from_json(&bytes, &id()).expect("undamaged"), manifest);
}
