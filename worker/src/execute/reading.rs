//! Reads segments of a table as encoded lines, in token order, into a sink: what dump and verify have in common.
//!
//! Pages are fetched by one async task, one page ahead; encoding, hashing and compression run on a blocking thread of
//! their own; pieces leave through a short queue. So memory is bounded by a few pages and pieces a reading.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ringvault_archive::{
    row::{LineKind, RowEncoder},
    table::TableLayout,
};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
};
use ringvault_runtime::tasks::Tasks;
use tokio::sync::mpsc;
use tracing::{Instrument, Span};

use super::{Progress, broken_task, sinks::LineSink};
use crate::cql::{
    lines::{Position, RowSplitter},
    page::Page,
    scan::{RangeReader, TableScan},
};

/// Pages that wait to be encoded; one more is being encoded and one is under way.
const PAGES_QUEUED_MAX: usize = 1;
/// Pieces that wait to be stored.
const PIECES_QUEUED_MAX: usize = 1;

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) scan: TableScan,
    pub(crate) grid: Grid,
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// Go on behind this row of the first segment.
    pub(crate) behind: Option<Position>,
    /// Rows at most, in all; 0: no limit.
    pub(crate) limit_rows: u64,
}

/// Takes the pieces of a reading, in order.
pub(crate) trait PieceStore<P>: Sync {
    /// Takes pieces, each with the span of its segment; when it returns they are as safe as they get.
    ///
    /// # Errors
    /// What ends the reading.
    fn store(&self, pieces: Vec<(Span, P)>) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What the fetching tells the encoding.
enum Feed {
    Segment(Span),
    Page(Page),
    EndSegment(u64),
}

/// Reads, and hands every piece to `store`, in order.
///
/// # Errors
/// What reading, encoding or `store` return first; nothing that was not handed to `store` counts as done.
pub(crate) async fn read_segments<S: LineSink>(
    (tasks, progress): (&Tasks, &Arc<Progress>),
    reading: Reading,
    sink: S,
    store: &impl PieceStore<S::Piece>,
) -> Result<(), Failure> {
    let (feed, pages) = mpsc::channel(PAGES_QUEUED_MAX);
    let (sealed, mut pieces) = mpsc::channel(PIECES_QUEUED_MAX);
    let enough = Arc::new(AtomicBool::new(false));
    let encoding = Encoding {
        splitter: match &reading.behind {
            Some(position) => RowSplitter::behind(reading.scan.layout(), position),
            None => RowSplitter::new(reading.scan.layout()),
        },
        encoder: RowEncoder::new(reading.scan.layout()),
        layout: reading.scan.layout().clone(),
        segment: reading.first,
        span: Span::none(),
        rows_left: if reading.limit_rows == 0 { u64::MAX } else { reading.limit_rows },
        enough: enough.clone(),
        progress: progress.clone(),
        sink,
    };
    let encoded = tasks.spawn_blocking(move || encoding.run(pages, &sealed));
    let fetching = fetch(&reading, feed, &enough);
    let storing = async move {
        let mut ready = Vec::new();
        while pieces.recv_many(&mut ready, PIECES_QUEUED_MAX + 1).await > 0 {
            store.store(std::mem::take(&mut ready)).await?;
        }
        Ok(())
    };
    // Where one side fails, its ends of the queues close and the others end; the first cause is the one to tell.
    let (fetched, stored): (Result<(), Failure>, Result<(), Failure>) = tokio::join!(fetching, storing);
    let encoded = encoded.await.map_err(broken_task)?;
    stored?;
    encoded.and(fetched)
}

async fn fetch(reading: &Reading, feed: mpsc::Sender<Feed>, enough: &AtomicBool) -> Result<(), Failure> {
    let open = |segment: u64| -> Result<RangeReader, Failure> {
        let range = reading
            .grid
            .range(segment)
            .ok_or_else(|| Failure::new(ErrorKind::Invalid, format!("the grid has no segment {segment}")))?;
        match reading.behind.as_ref().filter(|_| segment == reading.first) {
            Some(position) => Ok(reading.scan.range_behind(range, position)?),
            None => Ok(reading.scan.range(range)),
        }
    };
    let end = reading.first + reading.count;
    let mut ahead = None;
    for segment in reading.first..end {
        let mut reader = match ahead.take() {
            Some(reader) => reader,
            None => open(segment)?,
        };
        let span = tracing::info_span!("segment", segment);
        if feed.send(Feed::Segment(span.clone())).await.is_err() {
            return Ok(()); // the encoding has ended; its result says why
        }
        span.in_scope(|| reader.begin());
        if segment + 1 < end && reading.limit_rows == 0 {
            // its first page is asked for when this one's last is here, so that no round trip is waited for
            ahead = Some(open(segment + 1)?);
        }
        while !enough.load(Ordering::Relaxed) {
            let Some(page) = reader.next_page().instrument(span.clone()).await? else { break };
            if reader.on_last_page()
                && let Some(next) = &mut ahead
            {
                next.begin();
            }
            if feed.send(Feed::Page(page)).await.is_err() {
                return Ok(());
            }
        }
        if feed.send(Feed::EndSegment(segment)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The blocking half.
struct Encoding<S> {
    splitter: RowSplitter,
    encoder: RowEncoder,
    layout: Arc<TableLayout>,
    segment: u64,
    span: Span,
    rows_left: u64,
    enough: Arc<AtomicBool>,
    progress: Arc<Progress>,
    sink: S,
}

impl<S: LineSink> Encoding<S> {
    fn run(mut self, mut pages: mpsc::Receiver<Feed>, sealed: &mpsc::Sender<(Span, S::Piece)>) -> Result<(), Failure> {
        let mut line = Vec::new();
        while let Some(feed) = pages.blocking_recv() {
            match feed {
                Feed::Segment(span) => self.span = span,
                Feed::Page(page) => {
                    let _within = self.span.clone().entered();
                    if !self.page(&page, &mut line, sealed)? {
                        return Ok(());
                    }
                }
                Feed::EndSegment(segment) => {
                    let piece = self.sink.end_segment(segment)?;
                    self.segment = segment + 1;
                    if sealed.blocking_send((std::mem::replace(&mut self.span, Span::none()), piece)).is_err() {
                        return Ok(()); // the storing has ended; its result says why
                    }
                }
            }
        }
        Ok(())
    }

    /// Encodes the rows of a page; false where nobody takes pieces any more.
    fn page(
        &mut self,
        page: &Page,
        line: &mut Vec<u8>,
        sealed: &mpsc::Sender<(Span, S::Piece)>,
    ) -> Result<bool, Failure> {
        let (mut rows, mut bytes) = (0, 0);
        let mut page_rows = page.iter();
        while let Some(row) = page_rows.next_row()? {
            if self.rows_left == 0 {
                self.enough.store(true, Ordering::Relaxed);
                break;
            }
            let lines = self.splitter.split(row.cells);
            let kinds = [(lines.statics, LineKind::Static), (lines.row, LineKind::Row)];
            for kind in kinds.into_iter().filter_map(|(wanted, kind)| wanted.then_some(kind)) {
                line.clear();
                let mut encoded = self.encoder.encode(kind, row.cells, row.times, row.elements, line)?;
                encoded.facts.estimated_cells = row.estimated_cells(kind);
                if kind == LineKind::Row {
                    rows += 1;
                    self.rows_left -= 1;
                }
                bytes += encoded.bytes.len() as u64;
                if let Some(piece) = self.sink.line(self.segment, &encoded)?
                    && sealed.blocking_send((self.span.clone(), piece)).is_err()
                {
                    return Ok(false);
                }
            }
        }
        tracing::trace!(table = self.layout.table, rows, "a page is encoded");
        self.progress.add(rows, bytes);
        Ok(true)
    }
}
