//! A small backup, always the same: two tables, one with a segment of two parts, three compressions, empty segments.

use ringvault_archive::{
    chunk::{ChunkWriter, SealedChunk},
    index::TableIndex,
    manifest::{Cluster, Manifest, Options, TableEntry},
    repository::{ChunkAddress, Repository},
    row::{CellTime, ElementTimes, LineKind, RowEncoder},
    schema::{SchemaDocument, SchemaKind, SchemaObject},
    table::TableLayout,
};
use ringvault_proto::{
    grid::Grid,
    ids::BackupId,
    v1::{self, ColumnKind, Compression, Consistency},
};

pub(crate) const BACKUP: &str = "20261122T145053Z-7k3f";
pub(crate) const KEYSPACE: &str = "shop";

pub(crate) fn id(text: &str) -> BackupId {
    text.parse().expect("an id")
}

pub(crate) fn table(name: &str) -> v1::InspectedTable {
    let column = |name: &str, kind: ColumnKind, text: &str| v1::Column {
        name: name.into(),
        kind: kind.into(),
        r#type: text.into(),
        reversed: false,
    };
    v1::InspectedTable {
        table: Some(v1::TableName { keyspace: KEYSPACE.into(), table: name.into() }),
        table_id: "9ab1f1d0-c7a5-11f0-8de9-0242ac120002".into(),
        fingerprint: "6d6f6f6e".into(),
        columns: vec![
            column("customer", ColumnKind::PartitionKey, "int"),
            column("number", ColumnKind::Clustering, "int"),
            column("name", ColumnKind::Static, "text"),
            column("Note", ColumnKind::Regular, "text"),
        ],
        ..v1::InspectedTable::default()
    }
}

/// A chunk of one customer with so many orders.
pub(crate) fn chunk(customer: i32, orders: i32, compression: Compression) -> SealedChunk {
    let layout = TableLayout::from_message(&table("orders")).expect("plain types");
    let mut encoder = RowEncoder::new(&layout);
    let mut writer = ChunkWriter::new(compression);
    let mut line = Vec::new();
    let (customer, name) = (customer.to_be_bytes(), format!("customer {customer}"));
    let times = [CellTime { writetime: Some(1_700_000_000_000_000), expiry: None }; 4];
    let mut push = |kind, cells: &[Option<&[u8]>; 4]| {
        line.clear();
        let encoded = encoder.encode(kind, cells, &times, &ElementTimes::NONE, &mut line).expect("plain cells");
        writer.push(&encoded).expect("a line");
    };
    push(LineKind::Static, &[Some(&customer), None, Some(name.as_bytes()), None]);
    for number in 0..orders {
        let note = format!("order {number} of {name}");
        push(LineKind::Row, &[Some(&customer), Some(&number.to_be_bytes()), None, Some(note.as_bytes())]);
    }
    writer.seal().expect("lines")
}

pub(crate) fn address(table: &str, segment: u64, part: u32) -> ChunkAddress<'_> {
    ChunkAddress { keyspace: KEYSPACE, table, grid: Grid::try_from(3).expect("small"), segment, part }
}

pub(crate) fn schema() -> SchemaDocument {
    let object = |kind, name: &str, cql: &str| SchemaObject {
        kind,
        keyspace: KEYSPACE.into(),
        name: name.into(),
        table: None,
        cql: cql.into(),
    };
    let columns = "customer int, number int, name text static, \"Note\" text, PRIMARY KEY (customer, number)";
    SchemaDocument {
        keyspaces: vec![KEYSPACE.into()],
        server_version: "5.0.6".into(),
        objects: vec![
            object(
                SchemaKind::Keyspace,
                KEYSPACE,
                "CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy'}",
            ),
            object(SchemaKind::Table, "Old Orders", &format!("CREATE TABLE shop.\"Old Orders\" ({columns});")),
            object(SchemaKind::Table, "orders", &format!("CREATE TABLE shop.orders ({columns});")),
        ],
    }
}

/// Stores the rows of a table: segment, part, customer, orders, compression.
pub(crate) async fn write_table(
    repository: &Repository,
    backup: &BackupId,
    name: &str,
    chunks: &[(u64, u32, i32, i32, Compression)],
) -> TableEntry {
    let mut records = Vec::new();
    for (segment, part, customer, orders, compression) in chunks {
        let sealed = chunk(*customer, *orders, *compression);
        let stored = repository.store_chunk(&address(name, *segment, *part), sealed, None).await.expect("stored");
        records.push(stored.into_record());
    }
    let new = records.iter().filter(|record| !record.reused).map(|record| record.stored_bytes).sum();
    let grid = Grid::try_from(3).expect("small");
    let index = TableIndex::new(table(name), grid, false, records).expect("whole");
    let totals = index.totals();
    TableEntry {
        keyspace: KEYSPACE.into(),
        table: name.into(),
        table_id: index.table().table_id.clone(),
        fingerprint: index.table().fingerprint.clone(),
        grid,
        index: repository.write_index(backup, &index).await.expect("written"),
        sums: totals.sums,
        chunks: totals.chunks,
        encoded_bytes: totals.encoded_bytes,
        stored_bytes: totals.stored_bytes,
        stored_bytes_new: new,
        facts: totals.facts,
        approximations: index.table().approximations.clone(),
    }
}

/// A whole backup but for its manifest.
pub(crate) async fn write_all_but_manifest(repository: &Repository, backup: &BackupId) -> Manifest {
    use Compression::{Gzip, None, Zstd};
    let orders = [(1, 0, 1, 40, Zstd), (1, 1, 2, 1, Zstd), (2, 0, 3, 2, Gzip), (7, 0, 4, 1, None)];
    let tables = vec![
        write_table(repository, backup, "orders", &orders).await,
        write_table(repository, backup, "Old Orders", &[]).await,
    ];
    let schema = repository.write_schema(backup, &schema()).await.expect("written");
    Manifest {
        ringvault_version: "0.1.0".into(),
        backup_id: backup.clone(),
        keyspaces: vec![KEYSPACE.into()],
        started_unix_ms: 1_795_359_053_123,
        finished_unix_ms: 1_795_359_061_000,
        cluster: Cluster {
            name: "Test Cluster".into(),
            server_version: "5.0.6".into(),
            data_centers: vec!["datacenter1".into()],
        },
        options: Options {
            read_consistency: Consistency::LocalQuorum,
            compression: Zstd,
            values_only: false,
            limit_rows: 0,
            chunk_rows_max: 0,
            keyspaces_chosen: vec![KEYSPACE.into()],
            tables_chosen: vec![],
            with_roles: false,
        },
        schema,
        tables,
        warnings: vec![],
    }
}

/// A whole backup.
pub(crate) async fn write_backup(repository: &Repository, backup: &BackupId) -> Manifest {
    let manifest = write_all_but_manifest(repository, backup).await;
    repository.write_manifest(&manifest).await.expect("written");
    manifest
}
