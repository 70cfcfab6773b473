//! Where encoded lines go: into chunks (dump) or into sums alone (verify).

use ringvault_archive::{
    chunk::{ChunkWriter, SealedChunk},
    digest::{Sums, Tally},
    row::EncodedLine,
};
use ringvault_proto::{error::Failure, v1::Compression};

/// Takes the lines of segments, in token order, on a blocking thread.
pub(crate) trait LineSink: Send + 'static {
    /// What it gives back on the way.
    type Piece: Send + 'static;

    /// Takes one line; gives a piece where the line completed one.
    ///
    /// # Errors
    /// Where the piece can't be made.
    fn line(&mut self, segment: u64, line: &EncodedLine<'_>) -> Result<Option<Self::Piece>, Failure>;

    /// Ends a segment.
    ///
    /// # Errors
    /// Where the piece can't be made.
    fn end_segment(&mut self, segment: u64) -> Result<Self::Piece, Failure>;
}

/// What a dump gives back.
#[derive(Debug)]
pub(crate) struct Dumped {
    pub(crate) segment: u64,
    /// The next part of the segment; nothing where a segment ends without further lines.
    pub(crate) chunk: Option<(u32, SealedChunk)>,
    pub(crate) closed: bool,
}

/// Cuts lines into chunks. Part boundaries depend on the segment's rows only.
#[derive(Debug)]
pub(crate) struct ChunkSink {
    bytes_max: u64,
    rows_max: u64,
    part: u32,
    writer: ChunkWriter,
}

impl ChunkSink {
    /// Starts with part `part` of the first segment; a chunk ends with `bytes_max` encoded bytes or `rows_max` rows; 0 rows
    /// mean that only bytes count.
    pub(crate) fn new(compression: Compression, bytes_max: u64, rows_max: u64, part: u32) -> Self {
        Self { bytes_max, rows_max, part, writer: ChunkWriter::new(compression) }
    }

    fn seal(&mut self) -> Result<(u32, SealedChunk), Failure> {
        let sealed = self.writer.seal()?;
        let part = self.part;
        self.part += 1;
        Ok((part, sealed))
    }
}

impl LineSink for ChunkSink {
    type Piece = Dumped;

    fn line(&mut self, segment: u64, line: &EncodedLine<'_>) -> Result<Option<Dumped>, Failure> {
        // A full chunk ends before the next line, so the last chunk of a segment is never empty.
        let piece = if self.writer.is_full(self.bytes_max, self.rows_max) {
            Some(Dumped { segment, chunk: Some(self.seal()?), closed: false })
        } else {
            None
        };
        self.writer.push(line)?;
        Ok(piece)
    }

    fn end_segment(&mut self, segment: u64) -> Result<Dumped, Failure> {
        let chunk = if self.writer.is_empty() { None } else { Some(self.seal()?) };
        self.part = 0;
        Ok(Dumped { segment, chunk, closed: true })
    }
}

/// What a verify gives back: the sums of one segment.
#[derive(Debug)]
pub(crate) struct Summed {
    pub(crate) segment: u64,
    pub(crate) sums: Sums,
}

/// Adds lines up.
#[derive(Debug, Default)]
pub(crate) struct SumSink {
    tally: Tally,
}

impl LineSink for SumSink {
    type Piece = Summed;

    fn line(&mut self, _: u64, line: &EncodedLine<'_>) -> Result<Option<Summed>, Failure> {
        self.tally.add(line.kind, &line.hashed);
        Ok(None)
    }

    fn end_segment(&mut self, segment: u64) -> Result<Summed, Failure> {
        Ok(Summed { segment, sums: self.tally.take() })
    }
}
