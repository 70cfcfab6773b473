//! Rows of token ranges as the database holds them now, with their lines, in token order.

use std::{collections::VecDeque, sync::Arc};

use ringvault_archive::{
    row::{DecodedRow, LineKind, RowDecoder, RowEncoder},
    rows::{KeyedRow, RowKey, RowSource, choice::RowChoice},
    table::{ColumnRole, TableLayout},
    token::token_of,
};
use ringvault_proto::{error::Failure, token::TokenRange};
use ringvault_runtime::tasks::Tasks;

use crate::{
    cql::{
        lines::RowSplitter,
        page::Page,
        scan::{RangeReader, TableScan},
    },
    execute::broken_task,
};

/// Reads ranges one after the other.
#[derive(Debug)]
pub(crate) struct LiveRows {
    scan: TableScan,
    tasks: Tasks,
    ranges: VecDeque<TokenRange>,
    reader: Option<RangeReader>,
    encoding: Option<Encoding>,
}

impl LiveRows {
    /// The chosen rows of a range.
    pub(crate) fn new(scan: &TableScan, tasks: &Tasks, range: TokenRange, choice: &RowChoice) -> Self {
        Self {
            scan: scan.clone(),
            tasks: tasks.clone(),
            ranges: choice.within(range).into(),
            reader: None,
            encoding: Some(Encoding::new(scan.layout(), choice.clone())),
        }
    }
}

impl RowSource for LiveRows {
    /// Not cancel safe: a dropped call ends the reading.
    async fn next_batch(&mut self) -> Result<Option<Vec<KeyedRow>>, Failure> {
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let Some(range) = self.ranges.pop_front() else { return Ok(None) };
                    self.reader.insert(self.scan.range(range))
                }
            };
            let Some(page) = reader.next_page().await? else {
                self.reader = None;
                continue;
            };
            let Some(mut encoding) = self.encoding.take() else { return Err(crate::link::abandoned()) };
            let work = move || encoding.page(&page).map(|rows| (rows, encoding));
            let (rows, encoding) = self.tasks.spawn_blocking(work).await.map_err(broken_task)??;
            self.encoding = Some(encoding);
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
    }
}

/// Makes rows of pages; its home is a blocking thread.
#[derive(Debug)]
struct Encoding {
    layout: Arc<TableLayout>,
    choice: RowChoice,
    splitter: RowSplitter,
    encoder: RowEncoder,
    decoder: RowDecoder,
}

impl Encoding {
    fn new(layout: &Arc<TableLayout>, choice: RowChoice) -> Self {
        Self {
            layout: layout.clone(),
            choice,
            splitter: RowSplitter::new(layout),
            encoder: RowEncoder::new(layout),
            decoder: RowDecoder::new(layout),
        }
    }

    fn page(&mut self, page: &Page) -> Result<Vec<KeyedRow>, Failure> {
        let mut found = Vec::with_capacity(page.rows());
        let keys = self.layout.columns.iter().take_while(|column| column.role == ColumnRole::PartitionKey).count();
        let mut rows = page.iter();
        while let Some(row) = rows.next_row()? {
            let lines = self.splitter.split(row.cells);
            let kinds = [(lines.statics, LineKind::Static), (lines.row, LineKind::Row)];
            for kind in kinds.into_iter().filter_map(|(wanted, kind)| wanted.then_some(kind)) {
                let mut line = Vec::new();
                self.encoder.encode(kind, row.cells, row.times, row.elements, &mut line)?;
                let mut decoded = DecodedRow::default();
                self.decoder.decode(&line, &mut decoded)?;
                let key: Vec<&[u8]> = row.cells[..keys].iter().map(|cell| cell.unwrap_or_default()).collect();
                let token = token_of(&key);
                if !self.choice.has(&self.layout, token, &decoded) {
                    continue;
                }
                found.push(KeyedRow {
                    token,
                    key: RowKey::of(&self.layout, &decoded),
                    row: decoded,
                    line,
                    as_of_s: Some(page.now_unix_s()),
                    ended: false,
                });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use ringvault_proto::{token::Token, v1};
    use uuid::Uuid;

    use super::*;
    use crate::cql::{lines::tests::layout, page::PageShape};

    /// A page of values only.
    fn page(layout: &TableLayout, rows: &[&[Option<&[u8]>]]) -> Page {
        let mut bytes = Vec::new();
        for cell in rows.iter().copied().flatten() {
            match cell {
                Some(cell) => {
                    bytes.extend_from_slice(&u32::try_from(cell.len()).expect("small").to_be_bytes());
                    bytes.extend_from_slice(cell);
                }
                None => bytes.extend_from_slice(&[0xff; 4]),
            }
        }
        let shape = Arc::new(PageShape::of_values(layout));
        Page { bytes: bytes.into(), rows: rows.len(), now_unix_s: 77, host: Uuid::nil(), shape }
    }

    const A: Option<&[u8]> = Some(&[0, 0, 0, 1]);
    const B: Option<&[u8]> = Some(&[0, 0, 0, 2]);
    const S: Option<&[u8]> = Some(b"s");

    #[test]
    fn statics_are_rows_of_their_own_once_a_partition_also_across_pages() {
        let layout = Arc::new(layout("pcsr"));
        let mut encoding = Encoding::new(&layout, RowChoice::default());
        let mut rows = encoding.page(&page(&layout, &[&[A, A, S, S], &[A, B, S, None]])).expect("sound");
        rows.extend(encoding.page(&page(&layout, &[&[A, B, S, None], &[B, None, S, None]])).expect("sound"));
        let kinds: Vec<_> = rows.iter().map(|row| row.row.kind()).collect();
        use LineKind::{Row, Static};
        assert_eq!(kinds, [Static, Row, Row, Row, Static]);
        assert!(rows.iter().all(|row| row.as_of_s == Some(77) && !row.ended));
        assert_eq!(rows[2].key, rows[3].key);
        assert_ne!(rows[0].key, rows[1].key);
        assert_eq!(rows[0].token, token_of(&[A.expect("a key")]));
        assert_eq!(rows[1].line, b"{\"p0\":1,\"c1\":1,\"r3\":\"s\"}\n");
    }

    #[test]
    fn only_chosen_partitions_are_handed_out() {
        let layout = Arc::new(layout("pr"));
        let key = v1::PartitionKey { cells: vec!["2".to_owned()] };
        let choice = RowChoice::new(&layout, &[], Some(&key)).expect("a key");
        let token = token_of(&[B.expect("a key")]);
        let alone = TokenRange::new(Token(token.0 - 1), token).expect("one token");
        assert_eq!(choice.within(TokenRange::FULL), [alone]);
        let rows = Encoding::new(&layout, choice).page(&page(&layout, &[&[A, S], &[B, S]])).expect("sound");
        assert_eq!(rows.iter().map(|row| row.token).collect::<Vec<_>>(), [token]);
    }
}
