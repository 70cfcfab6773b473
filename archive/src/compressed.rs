//! Lines, compressed: what chunks and indexes have in common.
//!
//! A chunk is compressed in one go ([`Press`]); an index, which has no bound, as a stream ([`Compressor`]). Reading never
//! holds more than [`WHOLE_BYTES_MAX`], or a block, a window and one line, and never accepts more bytes than were recorded.

mod press;

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read, Write},
};

use bytes::Bytes;
use ringvault_proto::v1::Compression;

pub(crate) use self::press::Press;
use crate::{
    chunk::CHUNK_BYTES_MAX,
    digest::Identity,
    error::{Error, Result},
};

/// Bytes hashed, compressed and decompressed at once.
const BLOCK_BYTES: usize = 128 << 10;
/// zstd's fastest regular level: a backup waits for the database, not for a few percent of its size.
const ZSTD_LEVEL: i32 = 1;
/// gzip's fastest level that compresses, for the same reason.
const GZIP_LEVEL: u32 = 1;
/// Largest zstd window that a reader takes, as a power of two (8 MiB). Level 1 writes 512 KiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Bytes that are decompressed once and kept until their lines are read: every chunk but one whose last row is huge. What
/// is larger is decompressed twice, to be checked and to be read.
const WHOLE_BYTES_MAX: u64 = CHUNK_BYTES_MAX + (1 << 20);
/// What so many times the stored bytes exceeds is not reserved on a record's word.
const RATIO_MAX: usize = 64;

/// Compresses and hashes a stream with zstd.
pub(crate) struct Compressor {
    pending: Vec<u8>,
    hasher: blake3::Hasher,
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    encoded_bytes: u64,
}

/// What a [`Compressor`] has made.
pub(crate) struct Compressed {
    pub(crate) identity: Identity,
    pub(crate) encoded_bytes: u64,
    pub(crate) stored: Bytes,
}

impl Compressor {
    pub(crate) fn new() -> Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(compressing)?;
        encoder.include_checksum(true).map_err(compressing)?;
        Ok(Self { pending: Vec::with_capacity(BLOCK_BYTES), hasher: blake3::Hasher::new(), encoder, encoded_bytes: 0 })
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.encoded_bytes += bytes.len() as u64;
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<Compressed> {
        self.flush()?;
        let stored = self.encoder.finish().map_err(compressing)?;
        let identity = Identity(*self.hasher.finalize().as_bytes());
        Ok(Compressed { identity, encoded_bytes: self.encoded_bytes, stored: stored.into() })
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.pending);
        self.encoder.write_all(&self.pending).map_err(compressing)?;
        self.pending.clear();
        Ok(())
    }
}

/// What stored bytes must amount to.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// For messages.
    pub(crate) object: String,
    pub(crate) compression: Compression,
    pub(crate) identity: Identity,
    pub(crate) encoded_bytes: u64,
    /// Nothing where it isn't recorded.
    pub(crate) lines: Option<u64>,
}

/// The lines of stored bytes, handed out only after one pass over all of them.
pub(crate) struct Lines {
    stored: Bytes,
    expected: Expected,
    source: Source,
    checked: bool,
    /// Bytes not handed out yet.
    left: u64,
}

/// Where lines are read from once they are checked.
enum Source {
    None,
    /// Those not handed out yet.
    Whole(Bytes),
    Stream(BufReader<Box<dyn Read + Send>>),
}

impl Lines {
    pub(crate) fn new(stored: Bytes, expected: Expected) -> Self {
        let left = expected.encoded_bytes;
        Self { stored, expected, source: Source::None, checked: false, left }
    }

    /// Decompresses everything once and compares length, lines and identity.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.checked {
            return Ok(());
        }
        let encoded_bytes = self.expected.encoded_bytes;
        let mut reader = self.open()?.take(encoded_bytes.saturating_add(1));
        let mut whole = (encoded_bytes <= WHOLE_BYTES_MAX).then(|| {
            let bytes = usize::try_from(encoded_bytes).unwrap_or(usize::MAX);
            Vec::with_capacity(bytes.min(self.stored.len().saturating_mul(RATIO_MAX)))
        });
        let mut block = vec![0; BLOCK_BYTES];
        let (mut hasher, mut bytes, mut lines, mut last) = (blake3::Hasher::new(), 0, 0, b'\n');
        loop {
            let read = reader.read(&mut block).map_err(|e| self.broken(&e))?;
            let Some(&end) = block[..read].last() else { break };
            last = end;
            bytes += read as u64;
            lines += block[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            hasher.update(&block[..read]);
            if let Some(whole) = &mut whole {
                whole.extend_from_slice(&block[..read]);
            }
        }
        if bytes != encoded_bytes {
            let found = if bytes > encoded_bytes { "more".into() } else { bytes.to_string() };
            return Err(self.damaged(&format!("it should hold {encoded_bytes} bytes and holds {found}")));
        }
        let identity = Identity(*hasher.finalize().as_bytes());
        if identity != self.expected.identity {
            return Err(self.damaged(&format!("its identity should be {} and is {identity}", self.expected.identity)));
        }
        if last != b'\n' {
            return Err(self.damaged("its last line has no end"));
        }
        if let Some(recorded) = self.expected.lines.filter(|recorded| *recorded != lines) {
            return Err(self.damaged(&format!("it should hold {recorded} lines and holds {lines}")));
        }
        self.source = match whole {
            Some(whole) => {
                self.stored = Bytes::new();
                Source::Whole(whole.into())
            }
            None => Source::Stream(BufReader::with_capacity(BLOCK_BYTES, self.open()?)),
        };
        self.checked = true;
        Ok(())
    }

    /// Replaces `line` by the next line with its newline; false at the end.
    pub(crate) fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        if !self.checked {
            return Err(Error::internal(format!("{} is read before it was checked", self.expected.object)));
        }
        if self.left == 0 {
            self.source = Source::None; // gives its memory back
            return Ok(false);
        }
        let read = match &mut self.source {
            Source::None => return Ok(false),
            Source::Whole(rest) => {
                let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                line.extend_from_slice(&rest.split_to(end));
                end
            }
            Source::Stream(reader) => {
                let read = reader.by_ref().take(self.left).read_until(b'\n', line);
                read.map_err(|e| self.broken(&e))?
            }
        };
        if line.last() != Some(&b'\n') {
            return Err(self.damaged("it ends inside a line"));
        }
        self.left -= read as u64;
        Ok(true)
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        decompressor(self.expected.compression, self.stored.clone()).map_err(|e| self.broken(&e))
    }

    fn broken(&self, reason: &io::Error) -> Error {
        self.damaged(&format!("it can't be decompressed ({reason})"))
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::corrupt(format!("{} is damaged: {reason}", self.expected.object))
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("expected", &self.expected)
            .field("checked", &self.checked)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

fn decompressor(compression: Compression, stored: Bytes) -> io::Result<Box<dyn Read + Send>> {
    let source = Cursor::new(stored);
    Ok(match compression {
        Compression::Unspecified | Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::None => Box::new(source),
    })
}

fn compressing(source: io::Error) -> Error {
    Error::internal(format!("compressing in memory failed: {source}; is there memory left?")).caused_by(source)
}
