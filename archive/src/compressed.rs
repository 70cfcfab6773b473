//! Lines, compressed and hashed as a stream: what chunks and indexes have in common.
//!
//! Writing gathers lines to blocks, since BLAKE3 and the compressors are several times faster on blocks than on lines.
//! Reading never holds more than a block, a window and one line, and never accepts more bytes than were recorded.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read, Write},
};

use bytes::Bytes;
use ringvault_proto::v1::Compression;

use crate::{
    digest::Identity,
    error::{Error, Result},
};

/// Bytes hashed, compressed and decompressed at once.
const BLOCK_BYTES: usize = 128 << 10;
/// zstd's own default, and the knee of its speed over ratio.
const ZSTD_LEVEL: i32 = 3;
/// Largest zstd window that a reader takes, as a power of two (8 MiB). Level 3 writes 2 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Compresses and hashes what it is given.
pub(crate) struct Compressor {
    pending: Vec<u8>,
    hasher: blake3::Hasher,
    encoder: Encoder,
    encoded_bytes: u64,
}

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Plain(Vec<u8>),
}

/// What a [`Compressor`] has made.
pub(crate) struct Compressed {
    pub(crate) identity: Identity,
    pub(crate) encoded_bytes: u64,
    pub(crate) stored: Bytes,
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Result<Self> {
        let encoder = match compression {
            Compression::Unspecified | Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(compressing)?;
                encoder.include_checksum(true).map_err(compressing)?; // so that `zstd -t` alone finds damage
                Encoder::Zstd(encoder)
            }
            Compression::Gzip => {
                Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
            Compression::None => Encoder::Plain(Vec::new()),
        };
        Ok(Self { pending: Vec::with_capacity(BLOCK_BYTES), hasher: blake3::Hasher::new(), encoder, encoded_bytes: 0 })
    }

    pub(crate) fn encoded_bytes(&self) -> u64 {
        self.encoded_bytes
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.encoded_bytes += bytes.len() as u64;
        if self.pending.len() + bytes.len() > BLOCK_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BLOCK_BYTES {
            return self.take_in(bytes);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Compressed> {
        self.flush()?;
        let stored = match self.encoder {
            Encoder::Zstd(encoder) => encoder.finish().map_err(compressing)?,
            Encoder::Gzip(encoder) => encoder.finish().map_err(compressing)?,
            Encoder::Plain(bytes) => bytes,
        };
        let identity = Identity(*self.hasher.finalize().as_bytes());
        Ok(Compressed { identity, encoded_bytes: self.encoded_bytes, stored: stored.into() })
    }

    fn flush(&mut self) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        let done = self.take_in(&pending);
        pending.clear();
        self.pending = pending;
        done
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        match &mut self.encoder {
            Encoder::Zstd(encoder) => encoder.write_all(bytes).map_err(compressing),
            Encoder::Gzip(encoder) => encoder.write_all(bytes).map_err(compressing),
            Encoder::Plain(out) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("encoded_bytes", &self.encoded_bytes).finish_non_exhaustive()
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
    reader: Option<BufReader<Box<dyn Read + Send>>>,
    checked: bool,
    /// Bytes not handed out yet.
    left: u64,
}

impl Lines {
    pub(crate) fn new(stored: Bytes, expected: Expected) -> Self {
        let left = expected.encoded_bytes;
        Self { stored, expected, reader: None, checked: false, left }
    }

    /// Decompresses everything once and compares length, lines and identity.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.checked {
            return Ok(());
        }
        let encoded_bytes = self.expected.encoded_bytes;
        let mut reader = self.open()?.take(encoded_bytes.saturating_add(1));
        let mut block = vec![0; BLOCK_BYTES];
        let (mut hasher, mut bytes, mut lines, mut last) = (blake3::Hasher::new(), 0, 0, b'\n');
        loop {
            let read = reader.read(&mut block).map_err(|e| self.broken(&e))?;
            let Some(&end) = block[..read].last() else { break };
            last = end;
            bytes += read as u64;
            lines += block[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            hasher.update(&block[..read]);
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
        self.reader = Some(BufReader::with_capacity(BLOCK_BYTES, self.open()?));
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
            self.reader = None; // gives the window back
            return Ok(false);
        }
        let Some(reader) = &mut self.reader else { return Ok(false) };
        let read = reader.by_ref().take(self.left).read_until(b'\n', line);
        let read = read.map_err(|e| self.broken(&e))? as u64;
        if line.last() != Some(&b'\n') {
            return Err(self.damaged("it ends inside a line"));
        }
        self.left -= read;
        Ok(true)
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        let source = Cursor::new(self.stored.clone());
        Ok(match self.expected.compression {
            Compression::Unspecified | Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(|e| self.broken(&e))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|e| self.broken(&e))?;
                Box::new(decoder)
            }
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
            Compression::None => Box::new(source),
        })
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

fn compressing(source: io::Error) -> Error {
    Error::internal(format!("compressing in memory failed: {source}; is there memory left?")).caused_by(source)
}
