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
