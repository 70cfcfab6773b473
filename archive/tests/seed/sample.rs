//! Tables as a schema file creates them, directories made of texts, and the lines of what was imported.

use std::path::Path;

use ringvault_archive::{
    Result,
    manifest::Manifest,
    repository::Repository,
    row::{DecodedRow, RowDecoder},
    schema::{SchemaDocument, SchemaKind, SchemaObject},
    seed::{Import, Progress, SeedSchema, find},
    table::TableLayout,
};
use ringvault_proto::v1::{self, ColumnKind, Compression};
use ringvault_runtime::{clock::ManualClock, entropy::Entropy};

pub(crate) const KEYSPACE: &str = "shop";

/// `pk name type`, `ck↓ name type`, `st name type`, ` name type`
pub(crate) fn table(name: &str, columns: &[&str]) -> v1::InspectedTable {
    let column = |text: &&str| {
        let mut words = text.splitn(3, ' ');
        let (kind, name, cql_type) = (words.next(), words.next(), words.next());
        let (kind, reversed) = match kind.expect("a kind") {
            "pk" => (ColumnKind::PartitionKey, false),
            "ck" => (ColumnKind::Clustering, false),
            "ck↓" => (ColumnKind::Clustering, true),
            "st" => (ColumnKind::Static, false),
            "" => (ColumnKind::Regular, false),
            other => panic!("{other}"),
        };
        v1::Column {
            name: name.expect("a name").replace('~', " "),
            kind: kind.into(),
            r#type: cql_type.expect("a type").to_owned(),
            reversed,
        }
    };
    let field = |name: &str, text: &str| v1::Column { name: name.into(), r#type: text.into(), ..v1::Column::default() };
    let address = v1::UserType {
        name: "address".into(),
        fields: vec![field("street", "text"), field("no", "int"), field("tags", "frozen<set<text>>")],
    };
    v1::InspectedTable {
        table: Some(v1::TableName { keyspace: KEYSPACE.into(), table: name.into() }),
        table_id: uuid::Uuid::nil().to_string(),
        fingerprint: name.into(),
        counter: columns.iter().any(|column| column.ends_with(" counter")),
        columns: columns.iter().map(column).collect(),
        types: vec![address],
        ..v1::InspectedTable::default()
    }
}

pub(crate) fn schema(tables: Vec<v1::InspectedTable>) -> SeedSchema {
    let object = |kind, name: &str| SchemaObject {
        kind,
        keyspace: KEYSPACE.into(),
        name: name.into(),
        table: None,
        cql: format!("CREATE {kind:?} {name}"),
    };
    let mut objects = vec![object(SchemaKind::Keyspace, KEYSPACE)];
    for table in &tables {
        objects.push(object(SchemaKind::Table, &table.table.as_ref().expect("a name").table));
    }
    let document = SchemaDocument { keyspaces: vec![KEYSPACE.into()], server_version: "unknown".into(), objects };
    SeedSchema { document, tables, warnings: vec!["of the schema".into()] }
}

/// Imports the keyspace of a directory.
pub(crate) async fn import(
    directory: &Path,
    tables: Vec<v1::InspectedTable>,
    repository: &Repository,
) -> Result<Manifest> {
    import_as(1, directory, tables, repository).await
}

/// As [`import`], as a backup of another name for each number.
pub(crate) async fn import_as(
    number: u64,
    directory: &Path,
    tables: Vec<v1::InspectedTable>,
    repository: &Repository,
) -> Result<Manifest> {
    let scratch = tempfile::tempdir().expect("a directory");
    let import = Import {
        schema: schema(tables),
        compression: Compression::Unspecified,
        chunk_rows_max: 4,
        scratch: scratch.path().to_owned(),
    };
    let seed = find(directory)?.expect("a seed directory").keyspace(None)?;
    let clock = ManualClock::at(1_795_359_053_999);
    let told = |progress: &Progress| assert!(progress.bytes_read <= progress.bytes_total);
    let manifest = import.run(seed, repository, (&clock, &Entropy::seeded(number)), told).await;
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a directory").count(), 0, "scratch is left behind");
    manifest
}

/// A directory of these files, beside a schema file.
pub(crate) fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("shop_schema.cql"), "").expect("written");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    directory
}

/// The lines of a table, in the order of its chunks, each decoded once.
pub(crate) async fn lines(repository: &Repository, manifest: &Manifest, table: &str) -> Vec<String> {
    let index = repository.index_of(manifest, KEYSPACE, table).await.expect("an index");
    assert!(index.values_only());
    let layout = TableLayout::from_message(index.table()).expect("a table");
    let mut decoder = RowDecoder::new(&layout);
    let mut lines = Vec::new();
    for chunk in index.chunks() {
        let mut stored = repository.fetch_chunk(chunk).await.expect("a chunk");
        stored.check().expect("undamaged");
        let (mut line, mut row) = (Vec::new(), DecodedRow::default());
        while stored.next_line(&mut line).expect("checked") {
            decoder.decode(&line, &mut row).expect("a canonical line");
            lines.push(String::from_utf8(line.clone()).expect("UTF-8").trim_end().to_owned());
        }
    }
    lines
}
