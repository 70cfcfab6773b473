//! Whole tables made from a seed: any types at any nesting as keys, statics and regular columns, frozen and not; lines
//! with nulls, times, times of elements, and cells that no server should send. All of it comes back from a chunk.

use ringvault_archive::{
    chunk::{ChunkLines, ChunkWriter},
    cql_type::{CqlType, UserTypes},
    digest::{RowHash, Sums},
    row::{CellTime, DecodedRow, ElementTimes, LineKind, RowDecoder, RowEncoder, elements},
    table::{ColumnRole, TableLayout},
};
use ringvault_proto::v1::{self, ColumnKind, Compression};

use crate::{
    engine::{Fuzzing, below},
    types::{Dice, NATIVE, value_of},
};

/// Levels of types in types.
const NESTING_MAX: u64 = 4;
/// Lines a table.
const LINES: u64 = 20;
/// Names that need quotes, escapes, or look like something else.
const NAMES: &[&str] =
    &["a", "$", "$$", "w", "c", "x", "Mixed Case", "with\"quote", "with\\slash", "ü\u{1}", "select", ""];

/// A seed stands in the input's bytes; mutations make others of it.
#[test]
fn every_table_comes_back_from_its_chunks() {
    let corpus = (0..64u64).map(|seed| seed.to_le_bytes().to_vec()).collect();
    Fuzzing { name: "table", corpus, words: &[] }.run(|_, input| {
        let seed = input.iter().fold(0u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
        let mut maker = Maker { dice: Dice(seed), types: Vec::new() };
        let message = maker.table();
        let layout = TableLayout::from_message(&message).map_err(|e| format!("{e}: {message:?}"))?;
        check_types(&message, &layout)?;
        let lines: Vec<Line> = (0..LINES).map(|_| maker.line(&layout)).collect();
        check_lines(&layout, &lines)?;
        Ok(format!("{} columns", layout.columns.len()))
    });
}

/// One line as it is given to the encoder.
struct Line {
    kind: LineKind,
    cells: Vec<Option<Vec<u8>>>,
    times: Vec<CellTime>,
    elements: ElementTimes,
}

struct Maker {
    dice: Dice,
    types: Vec<v1::UserType>,
}

impl Maker {
    fn table(&mut self) -> v1::InspectedTable {
        for number in 0..self.dice.below(4) {
            let fields = (0..self.dice.below(5)).map(|field| (self.name(field), self.type_text(NESTING_MAX, true)));
            let fields = fields.map(|(name, text)| column(&name, ColumnKind::Unspecified, text)).collect();
            let name = if number == 1 { "Type \"1\"".to_owned() } else { format!("t{number}") };
            self.types.push(v1::UserType { name, fields });
        }
        let clusterings = self.dice.below(3);
        let kinds = [
            (ColumnKind::PartitionKey, 1 + self.dice.below(3)),
            (ColumnKind::Clustering, clusterings),
            (ColumnKind::Static, if clusterings > 0 { self.dice.below(3) } else { 0 }),
            (ColumnKind::Regular, self.dice.below(6)),
        ];
        let mut columns = Vec::new();
        for (kind, count) in kinds {
            for _ in 0..count {
                let name = self.name(columns.len() as u64);
                let key = matches!(kind, ColumnKind::PartitionKey | ColumnKind::Clustering);
                columns.push(column(&name, kind, self.type_text(NESTING_MAX, key)));
            }
        }
        let table = Some(v1::TableName { keyspace: "ks".to_owned(), table: "t".to_owned() });
        v1::InspectedTable { table, columns, types: self.types.clone(), ..v1::InspectedTable::default() }
    }

    /// Distinct within a table or type.
    fn name(&mut self, number: u64) -> String {
        format!("{}{number}", NAMES[below(&mut self.dice, NAMES.len())])
    }

    /// A type as a schema writes it; what is not frozen may hold cells of its own.
    fn type_text(&mut self, levels: u64, frozen: bool) -> String {
        let part = |maker: &mut Self| maker.type_text(levels - 1, true);
        let text = match if levels <= 1 { 0 } else { self.dice.below(12) } {
            5 => format!("list<{}>", part(self)),
            6 => format!("set<{}>", part(self)),
            7 | 8 => {
                let key = part(self);
                format!("map<{key}, {}>", part(self))
            }
            9 => {
                let items: Vec<String> = (0..=self.dice.below(3)).map(|_| part(self)).collect();
                format!("tuple<{}>", items.join(", "))
            }
            10 => format!("vector<{}, {}>", part(self), 1 + self.dice.below(5)),
            11 if !self.types.is_empty() => {
                let name = &self.types[below(&mut self.dice, self.types.len())].name;
                format!("\"{}\"", name.replace('"', "\"\""))
            }
            _ => return NATIVE[below(&mut self.dice, NATIVE.len())].to_string(),
        };
        if frozen { format!("frozen<{text}>") } else { text }
    }

    fn line(&mut self, layout: &TableLayout) -> Line {
        let kind = if layout.has_statics() && self.dice.below(4) == 0 { LineKind::Static } else { LineKind::Row };
        let mut line = Line { kind, cells: Vec::new(), times: Vec::new(), elements: ElementTimes::default() };
        let (mut cells, mut times) = (Vec::new(), Vec::new());
        let mut shared = self.time();
        for (at, column) in layout.columns.iter().enumerate() {
            let cell = (kind.holds(column.role) && (column.role.is_key() || self.dice.below(4) > 0))
                .then(|| self.cell(&column.cql_type));
            if self.dice.below(3) == 0 {
                shared = self.time();
            }
            let mut time = if column.role.is_key() || cell.is_none() { CellTime::default() } else { shared };
            let spread = column.multi_cell && column.timed && !column.role.is_key() && self.dice.below(2) == 0;
            let parts = cell.as_deref().filter(|_| spread).and_then(|cell| elements(&column.cql_type, cell));
            if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
                let of_parts: Vec<Option<CellTime>> =
                    parts.iter().map(|part| (!part.is_null).then(|| self.time())).collect();
                if let Some(one) = line.elements.set(at, of_parts).or_else(|| line.elements.summary(at)) {
                    time = one;
                }
            }
            cells.push(cell);
            times.push(time);
        }
        (line.cells, line.times) = (cells, times);
        line
    }

    fn cell(&mut self, cql_type: &CqlType) -> Vec<u8> {
        let mut cell = value_of(cql_type, &mut self.dice);
        match self.dice.below(16) {
            0 => cell.truncate(below(&mut self.dice, cell.len() + 1)),
            1 => cell.push(self.dice.next().to_le_bytes()[0]),
            2 if !cell.is_empty() => {
                let at = below(&mut self.dice, cell.len());
                cell[at] ^= 1 << self.dice.below(8);
            }
            3 => cell.clear(),
            _ => {}
        }
        cell
    }

    fn time(&mut self) -> CellTime {
        let writetime = match self.dice.below(8) {
            0 => None,
            1 => Some(self.dice.next().cast_signed()),
            _ => Some(1_700_000_000_000_000 + self.dice.below(3).cast_signed()),
        };
        let expiry = match self.dice.below(6) {
            0 => Some(self.dice.next().cast_signed()),
            1 => Some(1_800_000_000 + self.dice.below(3).cast_signed()),
            _ => None,
        };
        // Nobody can know when something ends that can't know when it began; but a line could say it.
        CellTime { writetime, expiry: expiry.filter(|_| writetime.is_some()) }
    }
}

fn column(name: &str, kind: ColumnKind, text: String) -> v1::Column {
    v1::Column { name: name.to_owned(), kind: kind.into(), r#type: text, reversed: false }
}

/// Types are written as they are read.
fn check_types(message: &v1::InspectedTable, layout: &TableLayout) -> Result<(), String> {
    let types = UserTypes::from_message(&message.types).map_err(|e| e.to_string())?;
    for column in &layout.columns {
        let again = CqlType::parse(&column.cql_type.to_string(), &types).map_err(|e| e.to_string())?;
        if again != column.cql_type {
            return Err(format!("{} is read as {again}", column.cql_type));
        }
    }
    Ok(())
}

fn check_lines(layout: &TableLayout, lines: &[Line]) -> Result<(), String> {
    let mut encoder = RowEncoder::new(layout);
    let mut writer = ChunkWriter::new(Compression::Zstd);
    let mut written: Vec<(&Line, RowHash)> = Vec::new();
    let mut sums = Sums::default();
    for line in lines {
        let cells: Vec<Option<&[u8]>> = line.cells.iter().map(Option::as_deref).collect();
        let mut text = Vec::new();
        let encoded = encoder
            .encode(line.kind, &cells, &line.times, &line.elements, &mut text)
            .map_err(|e| format!("can't be written: {e}"))?;
        writer.push(&encoded).map_err(|e| e.to_string())?;
        let hash = encoded.hash();
        match line.kind {
            LineKind::Row => sums.add_row(&hash),
            LineKind::Static => sums.add_static(&hash),
        }
        written.push((line, hash));
    }
    let sealed = writer.seal().map_err(|e| e.to_string())?;
    if sealed.sums() != sums {
        return Err("the chunk has other sums than its lines".to_owned());
    }
    let record = v1::Chunk {
        identity: sealed.identity().0.to_vec().into(),
        compression: Compression::Zstd.into(),
        rows: sums.rows,
        static_rows: sums.static_rows,
        encoded_bytes: sealed.encoded_bytes(),
        stored_bytes: sealed.stored().len() as u64,
        ..v1::Chunk::default()
    };
    let mut stored = ChunkLines::new(sealed.stored().clone(), &record).map_err(|e| e.to_string())?;
    stored.check().map_err(|e| e.to_string())?;
    let (mut decoder, mut row, mut text) = (RowDecoder::new(layout), DecodedRow::default(), Vec::new());
    for (line, hash) in written {
        if !stored.next_line(&mut text).map_err(|e| e.to_string())? {
            return Err("the chunk ends early".to_owned());
        }
        let decoded = decoder.decode(&text, &mut row).map_err(|e| format!("{e}: {}", text.escape_ascii()))?.hash();
        let same = row.kind() == line.kind
            && decoded == hash
            && row.cells().eq(line.cells.iter().map(Option::as_deref))
            && (0..layout.columns.len()).all(|at| same_times(layout, line, &row, at));
        if !same {
            return Err(format!("it came back otherwise: {}", text.escape_ascii()));
        }
        serde_json::from_slice::<serde_json::Value>(&text).map_err(|e| format!("no JSON: {e}"))?;
    }
    Ok(())
}

fn same_times(layout: &TableLayout, line: &Line, row: &DecodedRow, at: usize) -> bool {
    let there = line.cells[at].is_some() && layout.columns[at].role != ColumnRole::PartitionKey;
    !there || row.element_times(at) == line.elements.of(at) && row.time(at) == line.times[at]
}
