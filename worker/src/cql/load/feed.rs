//! Both ends of the way of a chunk: rows are bound on a blocking thread and cross a queue that is bounded by bytes; they are
//! sent, a bounded number of requests at once, by an async one.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use ringvault_archive::row::{DecodedRow, LineKind};
use tokio::sync::{Semaphore, mpsc};

use super::{
    LOAD_BYTES_MAX, LoadCounts, Loader, QUEUE_BATCHES_MAX,
    bind::{Binder, Write},
    columns::Columns,
    counter::CounterRow,
    missing::WantedLine,
    pack::{Pack, Packer},
    read::Beside,
};
use crate::cql::errors::{Error, Result};

impl Loader {
    /// Both ends of the way of one chunk: rows go into the feed on a blocking thread, and the sending runs beside it.
    #[must_use]
    pub fn chunk(self: &Arc<Self>) -> (Feed, Sending) {
        let (queue, works) = mpsc::channel(QUEUE_BATCHES_MAX);
        let room = Arc::new(Semaphore::new(LOAD_BYTES_MAX));
        let feed = Feed {
            binder: Binder::new(self.layout.clone(), self.sender.reads.beside != Beside::Nothing),
            columns: Columns::of(&self.layout),
            packer: Packer::new(self.limits, self.ring.clone()),
            queue,
            room: room.clone(),
            done_at_once: LoadCounts::default(),
            counters: CounterRow::columns_of(&self.layout),
            loader: self.clone(),
        };
        (feed, Sending { loader: self.clone(), works, room })
    }
}

/// What crosses from the feed to the sending.
#[derive(Debug)]
pub(super) enum Work {
    /// One request's writes.
    Pack(Pack),
    /// A write that must stand alone.
    List(Box<Write>),
    /// A line that is written only where nothing else stands.
    Missing(Box<WantedLine>),
    /// A row of counters.
    Counter(CounterRow),
    /// Every row was fed; what was complete without a write.
    End(LoadCounts),
}

/// Work with its share of the queue's bytes.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) work: Work,
    _room: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// The end of a chunk's way that takes rows; for a blocking thread.
#[derive(Debug)]
pub struct Feed {
    binder: Binder,
    columns: Columns,
    packer: Packer,
    queue: mpsc::Sender<Parcel>,
    room: Arc<Semaphore>,
    done_at_once: LoadCounts,
    counters: Vec<usize>,
    loader: Arc<Loader>,
}

/// Why a row could not be fed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The row itself.
    #[error(transparent)]
    Row(#[from] Error),
    /// The sending has ended; its own result says why.
    #[error("the sending of rows has ended before all were read")]
    Ended,
}

impl Feed {
    /// Binds a row, as it is to be sent, and hands it on. Blocks while the queue is full: not for an async thread.
    ///
    /// # Errors
    /// `Corrupt` for a row without a complete key; `Ended` where the sending has failed.
    pub fn push(&mut self, row: &DecodedRow) -> Result<(), FeedError> {
        if self.loader.layout.counter {
            return self.push_counter(row);
        }
        let mut writes = Vec::new();
        if self.binder.bind(row, |write| writes.push(write))? == 0 {
            self.count_line(row.kind());
        }
        if self.loader.sender.reads.beside == Beside::Untouchable && !writes.is_empty() {
            let line = WantedLine::of(row, &self.loader.layout, &self.columns, writes)?;
            let bytes = line.bytes();
            return self.hand_on(Work::Missing(Box::new(line)), bytes);
        }
        for write in writes {
            if write.shape.is_list() {
                let bytes = write.bytes;
                self.hand_on(Work::List(Box::new(write)), bytes)?;
            } else if let Some(pack) = self.packer.add(write) {
                let bytes = pack.bytes;
                self.hand_on(Work::Pack(pack), bytes)?;
            }
        }
        Ok(())
    }

    /// Counts lines in that need no write, and what was left out of others: what the rules say of a row is not known here.
    pub fn count(&mut self, counts: LoadCounts) {
        self.done_at_once += counts;
    }

    /// Hands on what is left. Without it the sending takes the chunk for broken.
    ///
    /// # Errors
    /// `Ended` where the sending has failed.
    pub fn finish(mut self) -> Result<(), FeedError> {
        if let Some(pack) = self.packer.take() {
            let bytes = pack.bytes;
            self.hand_on(Work::Pack(pack), bytes)?;
        }
        let done_at_once = self.done_at_once;
        self.hand_on(Work::End(done_at_once), 0)
    }

    fn push_counter(&mut self, row: &DecodedRow) -> Result<(), FeedError> {
        match CounterRow::of(row, &self.loader.layout, &self.counters)? {
            Some(counter) => {
                let bytes = counter.bytes();
                self.hand_on(Work::Counter(counter), bytes)
            }
            None => {
                self.count_line(row.kind());
                Ok(())
            }
        }
    }

    fn count_line(&mut self, kind: LineKind) {
        match kind {
            LineKind::Row => self.done_at_once.rows += 1,
            LineKind::Static => self.done_at_once.static_rows += 1,
        }
    }

    fn hand_on(&mut self, work: Work, bytes: usize) -> Result<(), FeedError> {
        // a row beyond the whole queue takes all of it
        let share = u32::try_from(bytes.min(LOAD_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = match share {
            0 => None,
            share => {
                let wait = self.room.clone().acquire_many_owned(share);
                Some(futures::executor::block_on(wait).map_err(|_closed| FeedError::Ended)?)
            }
        };
        self.queue.blocking_send(Parcel { work, _room: room }).map_err(|_closed| FeedError::Ended)
    }
}

/// The end of a chunk's way that sends.
#[derive(Debug)]
pub struct Sending {
    loader: Arc<Loader>,
    works: mpsc::Receiver<Parcel>,
    room: Arc<Semaphore>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.room.close(); // wakes a feed that waits for room
    }
}

impl Sending {
    /// Sends until the feed has finished and every write is acknowledged. `told` hears what each request came to.
    ///
    /// Cancel safety: dropping it loses the rest of the chunk; what was sent stays, and the chunk must be loaded again under
    /// another epoch.
    ///
    /// # Errors
    /// What the database said last of a write that all its attempts could not bring in, with table and token range;
    /// `Internal` where the feed ended without `finish`.
    pub async fn run(mut self, mut told: impl FnMut(LoadCounts)) -> Result<LoadCounts> {
        let mut total = LoadCounts::default();
        let mut under_way = FuturesUnordered::new();
        let mut ended = None;
        loop {
            let limit = self.loader.window_limit();
            let room = ended.is_none() && under_way.len() < limit;
            let event = tokio::select! {
                parcel = self.works.recv(), if room => Event::Fed(parcel),
                Some(done) = under_way.next(), if !under_way.is_empty() => Event::Done(done),
                else => break,
            };
            match event {
                Event::Fed(Some(Parcel { work: Work::End(at_once), .. })) => ended = Some(at_once),
                Event::Fed(Some(parcel)) => under_way.push(self.loader.carry_out(parcel)),
                Event::Fed(None) => return Err(self.loader.broken_feed()),
                Event::Done(done) => {
                    let counts: LoadCounts = done?;
                    told(counts);
                    total += counts;
                }
            }
        }
        let at_once = ended.ok_or_else(|| self.loader.broken_feed())?;
        told(at_once);
        total += at_once;
        Ok(total)
    }
}

/// What happens while sending.
enum Event {
    Fed(Option<Parcel>),
    Done(Result<LoadCounts>),
}
