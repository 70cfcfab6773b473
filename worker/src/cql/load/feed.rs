//! Both ends of the way of a chunk: rows are bound on a blocking thread and cross a queue that is bounded by bytes; they are
//! sent, a bounded number of requests at once, by an async one.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};
use ringvault_archive::row::{DecodedRow, LineKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    LOAD_BYTES_MAX, LoadCounts, Loader, PARCEL_BYTES, PARCEL_WORKS_MAX, QUEUE_PARCELS_MAX,
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
        let (queue, parcels) = mpsc::channel(QUEUE_PARCELS_MAX);
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
            bound: Vec::new(),
            works: Vec::new(),
            bytes: 0,
        };
        (feed, Sending { loader: self.clone(), parcels, room })
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

/// Works that cross together, so that neither side is woken for each, with their share of the queue's bytes.
#[derive(Debug)]
struct Parcel {
    works: Vec<Work>,
    room: Option<Room>,
}

/// Given back with the last work of the parcel.
pub(super) type Room = Arc<OwnedSemaphorePermit>;

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
    /// Space for the writes of one row.
    bound: Vec<Write>,
    /// The parcel in the making.
    works: Vec<Work>,
    bytes: usize,
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
        let mut writes = std::mem::take(&mut self.bound);
        if self.binder.bind(row, |write| writes.push(write))? == 0 {
            self.count_line(row.kind());
        }
        if self.loader.sender.reads.beside == Beside::Untouchable && !writes.is_empty() {
            let line = WantedLine::of(row, &self.loader.layout, &self.columns, writes)?;
            let bytes = line.bytes();
            return self.hand_on(Work::Missing(Box::new(line)), bytes);
        }
        for write in writes.drain(..) {
            if write.shape.is_list() {
                let bytes = write.bytes;
                self.hand_on(Work::List(Box::new(write)), bytes)?;
            } else if let Some(pack) = self.packer.add(write) {
                let bytes = pack.bytes;
                self.hand_on(Work::Pack(pack), bytes)?;
            }
        }
        self.bound = writes;
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
        self.hand_on(Work::End(done_at_once), 0)?;
        self.send_off()
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
        self.works.push(work);
        self.bytes += bytes;
        if self.bytes >= PARCEL_BYTES || self.works.len() >= PARCEL_WORKS_MAX { self.send_off() } else { Ok(()) }
    }

    fn send_off(&mut self) -> Result<(), FeedError> {
        // a row beyond the whole queue takes all of it
        let share = u32::try_from(std::mem::take(&mut self.bytes).min(LOAD_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = match share {
            0 => None,
            share => {
                let wait = self.room.clone().acquire_many_owned(share);
                Some(Arc::new(futures::executor::block_on(wait).map_err(|_closed| FeedError::Ended)?))
            }
        };
        let works = std::mem::take(&mut self.works);
        self.queue.blocking_send(Parcel { works, room }).map_err(|_closed| FeedError::Ended)
    }
}

/// The end of a chunk's way that sends.
#[derive(Debug)]
pub struct Sending {
    loader: Arc<Loader>,
    parcels: mpsc::Receiver<Parcel>,
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
        let mut waiting = VecDeque::new();
        let mut ended = None;
        loop {
            let limit = self.loader.window_limit();
            while under_way.len() < limit
                && let Some((work, room)) = waiting.pop_front()
            {
                match work {
                    Work::End(at_once) => ended = Some(at_once),
                    work => under_way.push(self.loader.carry_out(work, room)),
                }
            }
            let room = ended.is_none() && waiting.is_empty() && under_way.len() < limit;
            let event = tokio::select! {
                parcel = self.parcels.recv(), if room => Event::Fed(parcel),
                Some(done) = under_way.next(), if !under_way.is_empty() => Event::Done(done),
                else => break,
            };
            match event {
                Event::Fed(Some(Parcel { works, room })) => {
                    waiting.extend(works.into_iter().map(|work| (work, room.clone())));
                }
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
