//! An index as bytes: one JSON object a line, compressed by zstd (FORMAT.md, "Index").
//!
//! A header, then in ring order one line a chunk and one line a run of empty segments, then the totals. A line a chunk
//! and not a segment, so that a huge partition's segment needs no huge line.

use bytes::Bytes;
use ringvault_proto::{
    grid::Grid,
    ids::BackupId,
    v1::{self, ColumnKind, Compression},
};
use serde::{Deserialize, Serialize};

use super::{EncodedIndex, NotTiled, TableIndex, Totals};
use crate::{
    chunk,
    compressed::{Compressor, Expected, Lines},
    digest::{Identity, Sum},
    error::{Error, Result},
    format,
    manifest::ObjectRecord,
};

/// Longest header, in bytes: it holds every column and user-defined type.
const HEADER_BYTES_MAX: usize = 16 << 20;
/// Longest other line, in bytes: an object's name and some numbers.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Most columns of a table, or fields of a type. CQL has no bound; drivers end at 65,535.
const COLUMNS_MAX: usize = 65_535;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    backup_id: BackupId,
    keyspace: String,
    table: String,
    table_id: String,
    fingerprint: String,
    counter: bool,
    default_ttl_s: u32,
    grid_exponent: Grid,
    values_only: bool,
    columns: Vec<Column>,
    types: Vec<UserType>,
    approximations: Vec<Approximation>,
}

/// What of the table is not exact, as [`v1::Approximation`] has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Approximation {
    what: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    column: String,
    note: String,
}

/// How an approximation's name begins in the protocol and not at rest.
const WHAT_PREFIX: &str = "WHAT_";

impl Approximation {
    pub(crate) fn of(message: &v1::Approximation) -> Self {
        let what = message.what().as_str_name().trim_start_matches(WHAT_PREFIX).to_ascii_lowercase();
        Self { what, column: message.column.clone(), note: message.note.clone() }
    }

    /// What a later version names otherwise is kept with its note.
    pub(crate) fn into_message(self) -> v1::Approximation {
        let name = format!("{WHAT_PREFIX}{}", self.what.to_ascii_uppercase());
        let what = v1::approximation::What::from_str_name(&name).unwrap_or_default();
        v1::Approximation { what: what.into(), column: self.column, note: self.note }
    }
}

#[derive(Serialize, Deserialize)]
struct Column {
    name: String,
    kind: Kind,
    #[serde(rename = "type")]
    cql_type: String,
    reversed: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    PartitionKey,
    Clustering,
    Static,
    Regular,
}

#[derive(Serialize, Deserialize)]
struct UserType {
    name: String,
    fields: Vec<Field>,
}

#[derive(Serialize, Deserialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    cql_type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Chunk(Chunk),
    Empty { segment: u64, segments: u64 },
    End(End),
}

#[derive(Serialize, Deserialize)]
struct Chunk {
    segment: u64,
    part: u32,
    object: String,
    identity: Identity,
    compression: ChunkCompression,
    rows: u64,
    static_rows: u64,
    encoded_bytes: u64,
    stored_bytes: u64,
    value_sum: Sum,
    time_sum: Sum,
    key_only_rows: u64,
    estimated_cells: u64,
    writetime_us_max: i64,
    expiry_s_max: i64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChunkCompression {
    Zstd,
    Gzip,
    None,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct End {
    segments: u64,
    chunks: u64,
    rows: u64,
    static_rows: u64,
    encoded_bytes: u64,
    stored_bytes: u64,
    value_sum: Sum,
    time_sum: Sum,
}

pub(super) fn encode(index: &TableIndex, backup: &BackupId) -> Result<EncodedIndex> {
    let mut out = Compressor::new()?;
    put_line(&mut out, &Header::of(index, backup)?)?;
    let mut next = 0;
    for chunk in index.chunks() {
        if chunk.segment > next {
            put_line(&mut out, &Line::Empty { segment: next, segments: chunk.segment - next })?;
        }
        put_line(&mut out, &Line::Chunk(Chunk::of(chunk)?))?;
        next = chunk.segment + 1;
    }
    let segments = index.grid().segments();
    if segments > next {
        put_line(&mut out, &Line::Empty { segment: next, segments: segments - next })?;
    }
    put_line(&mut out, &Line::End(End::of(segments, &index.totals())))?;
    let done = out.finish()?;
    Ok(EncodedIndex { identity: done.identity, encoded_bytes: done.encoded_bytes, stored: done.stored })
}

pub(super) fn decode(stored: Bytes, record: &ObjectRecord, backup: &BackupId) -> Result<TableIndex> {
    let object = &record.object;
    if stored.len() as u64 != record.stored_bytes {
        let (found, recorded) = (stored.len(), record.stored_bytes);
        return Err(format::damaged(object, &format!("it has {found} bytes, not {recorded}")));
    }
    let mut lines = Lines::new(
        stored,
        Expected {
            object: object.clone(),
            compression: Compression::Zstd,
            identity: record.identity,
            encoded_bytes: record.encoded_bytes,
            lines: None,
        },
    );
    lines.check()?;
    Reader { lines, line: Vec::new(), object }.read(backup)
}

/// Reads the lines of a checked index in order.
struct Reader<'a> {
    lines: Lines,
    line: Vec<u8>,
    object: &'a str,
}

impl Reader<'_> {
    fn read(mut self, backup: &BackupId) -> Result<TableIndex> {
        self.next(HEADER_BYTES_MAX)?;
        let header: Header = format::parse(&self.line, self.object)?;
        if header.backup_id != *backup {
            return Err(self.damaged(&format!("it is of backup {}", header.backup_id)));
        }
        let (grid, values_only) = (header.grid_exponent, header.values_only);
        let table = header.into_table().map_err(|reason| self.damaged(&reason))?;
        let (chunks, end) = self.read_segments(grid)?;
        let index =
            TableIndex::new(table, grid, values_only, chunks).map_err(|error| self.damaged(&error.to_string()))?;
        if End::of(grid.segments(), &index.totals()) != end {
            return Err(self.damaged("its totals are not those of its chunks"));
        }
        Ok(index)
    }

    /// All lines behind the header. Segments must come in order and without gaps; what else makes a table, the index's
    /// own constructor checks.
    fn read_segments(&mut self, grid: Grid) -> Result<(Vec<v1::Chunk>, End)> {
        let mut chunks: Vec<v1::Chunk> = Vec::new();
        let mut next = 0;
        loop {
            self.next(LINE_BYTES_MAX)?;
            let line = serde_json::from_slice(&self.line).map_err(|e| self.damaged(&e.to_string()))?;
            let first = match &line {
                Line::Chunk(chunk) if chunk.part > 0 && chunk.segment.checked_add(1) == Some(next) => next,
                Line::Chunk(chunk) => chunk.segment,
                Line::Empty { segment, .. } => *segment,
                Line::End(_) => grid.segments(),
            };
            if first != next {
                return Err(self
                    .damaged(&format!("segment {next} is missing, {first} comes instead"))
                    .caused_by(NotTiled));
            }
            match line {
                Line::Chunk(chunk) => {
                    next = chunk.segment.min(grid.segments()) + 1;
                    chunks.push(chunk.into_record());
                }
                Line::Empty { segments, .. } if segments > 0 && segments <= grid.segments().saturating_sub(next) => {
                    next += segments;
                }
                Line::Empty { .. } => {
                    return Err(self.damaged("a run of empty segments has no end in the grid").caused_by(NotTiled));
                }
                Line::End(end) => {
                    if self.lines.next_line(&mut self.line)? {
                        return Err(self.damaged("there is a line behind the last"));
                    }
                    return Ok((chunks, end));
                }
            }
        }
    }

    /// The next line; its absence is damage.
    fn next(&mut self, bytes_max: usize) -> Result<()> {
        if !self.lines.next_line(&mut self.line)? {
            return Err(self.damaged("its last line is missing"));
        }
        if self.line.len() > bytes_max {
            return Err(self.damaged(&format!("a line has {} bytes; the most is {bytes_max}", self.line.len())));
        }
        Ok(())
    }

    fn damaged(&self, reason: &str) -> Error {
        format::damaged(self.object, &reason)
    }
}

impl Header {
    fn of(index: &TableIndex, backup: &BackupId) -> Result<Self> {
        let table = index.table();
        let (keyspace, name) = index.table_name();
        let columns = table.columns.iter().map(Column::of).collect::<Option<Vec<_>>>();
        Ok(Self {
            format: format::FORMAT_VERSION,
            backup_id: backup.clone(),
            keyspace: keyspace.to_owned(),
            table: name.to_owned(),
            table_id: table.table_id.clone(),
            fingerprint: table.fingerprint.clone(),
            counter: table.counter,
            default_ttl_s: table.default_ttl_s,
            grid_exponent: index.grid(),
            values_only: index.values_only(),
            columns: columns.ok_or_else(|| Error::invalid(format!("a column of {keyspace}.{name} has no kind")))?,
            types: table.types.iter().map(UserType::of).collect(),
            approximations: table.approximations.iter().map(Approximation::of).collect(),
        })
    }

    fn into_table(self) -> Result<v1::InspectedTable, String> {
        let fields = self.types.iter().map(|user_type| user_type.fields.len()).max().unwrap_or(0);
        if self.columns.is_empty() || self.columns.len().max(fields).max(self.types.len()) > COLUMNS_MAX {
            return Err(format!("{} columns are not 1 to {COLUMNS_MAX}", self.columns.len().max(fields)));
        }
        Ok(v1::InspectedTable {
            table: Some(v1::TableName { keyspace: self.keyspace, table: self.table }),
            table_id: self.table_id,
            fingerprint: self.fingerprint,
            columns: self.columns.into_iter().map(Column::into_message).collect(),
            types: self.types.into_iter().map(UserType::into_message).collect(),
            counter: self.counter,
            default_ttl_s: self.default_ttl_s,
            approximations: self.approximations.into_iter().map(Approximation::into_message).collect(),
            ..v1::InspectedTable::default()
        })
    }
}

impl Column {
    fn of(column: &v1::Column) -> Option<Self> {
        let kind = match column.kind() {
            ColumnKind::PartitionKey => Kind::PartitionKey,
            ColumnKind::Clustering => Kind::Clustering,
            ColumnKind::Static => Kind::Static,
            ColumnKind::Regular => Kind::Regular,
            ColumnKind::Unspecified => return None,
        };
        Some(Self { name: column.name.clone(), kind, cql_type: column.r#type.clone(), reversed: column.reversed })
    }

    fn into_message(self) -> v1::Column {
        let kind = match self.kind {
            Kind::PartitionKey => ColumnKind::PartitionKey,
            Kind::Clustering => ColumnKind::Clustering,
            Kind::Static => ColumnKind::Static,
            Kind::Regular => ColumnKind::Regular,
        };
        v1::Column { name: self.name, kind: kind.into(), r#type: self.cql_type, reversed: self.reversed }
    }
}

impl UserType {
    fn of(user_type: &v1::UserType) -> Self {
        let field = |field: &v1::Column| Field { name: field.name.clone(), cql_type: field.r#type.clone() };
        Self { name: user_type.name.clone(), fields: user_type.fields.iter().map(field).collect() }
    }

    fn into_message(self) -> v1::UserType {
        let field = |field: Field| v1::Column { name: field.name, r#type: field.cql_type, ..v1::Column::default() };
        v1::UserType { name: self.name, fields: self.fields.into_iter().map(field).collect() }
    }
}

impl Chunk {
    fn of(record: &v1::Chunk) -> Result<Self> {
        let sums = chunk::sums(record)?;
        Ok(Self {
            segment: record.segment,
            part: record.part,
            object: record.object.clone(),
            identity: chunk::identity(record)?,
            compression: match chunk::compression(record)? {
                Compression::Unspecified | Compression::Zstd => ChunkCompression::Zstd,
                Compression::Gzip => ChunkCompression::Gzip,
                Compression::None => ChunkCompression::None,
            },
            rows: record.rows,
            static_rows: record.static_rows,
            encoded_bytes: record.encoded_bytes,
            stored_bytes: record.stored_bytes,
            value_sum: sums.values,
            time_sum: sums.times,
            key_only_rows: record.key_only_rows,
            estimated_cells: record.estimated_cells,
            writetime_us_max: record.writetime_us_max,
            expiry_s_max: record.expiry_s_max,
        })
    }

    fn into_record(self) -> v1::Chunk {
        let compression = match self.compression {
            ChunkCompression::Zstd => Compression::Zstd,
            ChunkCompression::Gzip => Compression::Gzip,
            ChunkCompression::None => Compression::None,
        };
        v1::Chunk {
            segment: self.segment,
            part: self.part,
            identity: Bytes::copy_from_slice(&self.identity.0),
            object: self.object,
            compression: compression.into(),
            rows: self.rows,
            static_rows: self.static_rows,
            encoded_bytes: self.encoded_bytes,
            stored_bytes: self.stored_bytes,
            value_sum: Bytes::copy_from_slice(&self.value_sum.to_bytes()),
            time_sum: Bytes::copy_from_slice(&self.time_sum.to_bytes()),
            reused: false,
            key_only_rows: self.key_only_rows,
            estimated_cells: self.estimated_cells,
            writetime_us_max: self.writetime_us_max,
            expiry_s_max: self.expiry_s_max,
        }
    }
}

impl End {
    fn of(segments: u64, totals: &Totals) -> Self {
        Self {
            segments,
            chunks: totals.chunks,
            rows: totals.sums.rows,
            static_rows: totals.sums.static_rows,
            encoded_bytes: totals.encoded_bytes,
            stored_bytes: totals.stored_bytes,
            value_sum: totals.sums.values,
            time_sum: totals.sums.times,
        }
    }
}

fn put_line<T: Serialize>(out: &mut Compressor, value: &T) -> Result<()> {
    let mut line = serde_json::to_vec(value).map_err(|e| format::unwritable("a line of an index", e))?;
    line.push(b'\n');
    out.push(&line)
}
