//! The rows of one file: `[`, objects with commas between them, `]`. One row at a time is in memory, however large the
//! file. White space may stand anywhere; anything else that is not a whole array of objects is damage.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// Longest row, in bytes of JSON: base64 and escapes of what CQL can carry fit several times.
const ROW_BYTES_MAX: usize = 512 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being read.
pub(super) struct RowStream {
    name: String,
    input: Box<dyn BufRead + Send>,
    state: State,
    /// 1-based, of the next byte.
    line: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Behind `[`.
    First,
    /// Behind a row.
    Between,
    /// Behind `]`.
    End,
}

/// Counts the bytes of a file as they are read, before decompression.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl RowStream {
    /// Opens a file, decompressing it where its name ends in `.gz`; `read` counts its bytes.
    pub(super) fn open(path: &Path, read: &Arc<AtomicU64>) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::open(path).map_err(|e| unreadable(&name, e))?;
        let file = Counted { file, read: read.clone() };
        let zipped = name.ends_with(".gz");
        let input: Box<dyn BufRead + Send> = if zipped {
            let file = BufReader::with_capacity(BUFFER_BYTES, file);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file)))
        } else {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, file))
        };
        Ok(Self::new(name, input))
    }

    fn new(name: String, input: Box<dyn BufRead + Send>) -> Self {
        Self { name, input, state: State::Start, line: 1 }
    }

    /// Replaces `row` by the next row's JSON; gives the line where it starts, nothing at the end.
    pub(super) fn next_row(&mut self, row: &mut Vec<u8>) -> Result<Option<u64>> {
        row.clear();
        if self.state == State::Start {
            match self.next_byte()? {
                Some(b'[') => self.state = State::First,
                Some(_) => return Err(self.damaged("it does not start with [")),
                None => return Err(self.damaged("it is empty")),
            }
        }
        let byte = match (self.state, self.next_byte()?) {
            (State::First | State::Between, Some(b']')) => {
                self.state = State::End;
                return self.end();
            }
            (State::First, byte) => byte,
            (State::Between, Some(b',')) => self.next_byte()?,
            (State::Between, Some(_)) => return Err(self.damaged("a comma or ] is missing behind a row")),
            (State::Between, None) => None,
            (State::Start | State::End, _) => return Ok(None),
        };
        match byte {
            Some(b'{') => {}
            Some(_) => return Err(self.damaged("something else than an object stands where a row should")),
            None => return Err(self.cut()),
        }
        let line = self.line;
        row.push(b'{');
        self.read_object(row)?;
        self.state = State::Between;
        Ok(Some(line))
    }

    /// Reads the rest of an object behind its brace.
    fn read_object(&mut self, row: &mut Vec<u8>) -> Result<()> {
        let (mut depth, mut in_string, mut escaped) = (1_usize, false, false);
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.failed(e)),
            };
            if buffer.is_empty() {
                return Err(self.cut());
            }
            let mut used = 0;
            for &byte in buffer {
                used += 1;
                match byte {
                    b'\n' => self.line += 1,
                    _ if escaped => {}
                    b'\\' if in_string => {
                        escaped = true;
                        continue;
                    }
                    b'"' => in_string = !in_string,
                    b'{' | b'[' if !in_string => depth += 1,
                    b'}' | b']' if !in_string => depth -= 1,
                    _ => {}
                }
                escaped = false;
                if depth == 0 {
                    break;
                }
            }
            row.extend_from_slice(&buffer[..used]);
            self.input.consume(used);
            if depth == 0 {
                return Ok(());
            }
            if row.len() > ROW_BYTES_MAX {
                return Err(self.damaged("a row is longer than any row that CQL carries"));
            }
        }
    }

    fn end(&mut self) -> Result<Option<u64>> {
        match self.next_byte()? {
            None => Ok(None),
            Some(_) => Err(self.damaged("something follows the closing ]")),
        }
    }

    /// The next byte that is no white space.
    fn next_byte(&mut self) -> Result<Option<u8>> {
        loop {
            let mut byte = [0];
            match self.input.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.failed(e)),
            }
            match byte[0] {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                byte => return Ok(Some(byte)),
            }
        }
    }

    fn cut(&self) -> Error {
        self.damaged(
            "it ends before its closing ], as files do at which cassandra-backup-tool stopped or failed; the rows \
             behind it are lost",
        )
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::corrupt(format!("{} is damaged (line {}): {reason}", self.name, self.line))
    }

    fn failed(&self, error: io::Error) -> Error {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            InvalidData | InvalidInput | UnexpectedEof => {
                self.damaged("it is no whole gzip file, or something follows it").caused_by(error)
            }
            _ => unreadable(&self.name, error),
        }
    }
}

fn unreadable(name: &str, error: io::Error) -> Error {
    Error::unavailable(format!("{name} can't be read: {error}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use ringvault_proto::error::ErrorKind;

    use super::*;

    fn rows(text: &[u8]) -> Result<Vec<(u64, String)>> {
        // A small buffer, so that rows span its ends.
        let input = BufReader::with_capacity(7, Cursor::new(text.to_vec()));
        let mut stream = RowStream::new("t_part1.json".into(), Box::new(input));
        let (mut row, mut rows) = (Vec::new(), Vec::new());
        while let Some(line) = stream.next_row(&mut row)? {
            rows.push((line, String::from_utf8_lossy(&row).into_owned()));
        }
        Ok(rows)
    }

    #[test]
    fn rows_are_read_with_their_lines_whatever_the_white_space() {
        let plain = rows(b"[\n{\"a\": 1},\n{\"b\": \"]},{\\\"\\\\\"}\n]\n").expect("whole");
        assert_eq!(plain, [(2, "{\"a\": 1}".to_owned()), (3, "{\"b\": \"]},{\\\"\\\\\"}".to_owned())]);
        assert_eq!(rows(b"[]").expect("whole"), []);
        assert_eq!(rows(b" [\n\n]\n").expect("whole"), []);
        let wide = rows(b"[{\"a\":\n[1,\n{}]} \r\n ,{}]").expect("whole");
        assert_eq!(wide, [(1, "{\"a\":\n[1,\n{}]}".to_owned()), (4, "{}".to_owned())]);
    }

    #[test]
    fn damage_is_named_with_file_and_line() {
        for (text, part) in [
            (&b""[..], "empty"),
            (b"{}", "start with ["),
            (b"[\n{\"a\": 1},\n", "(line 3): it ends before its closing ]"),
            (b"[\n{\"a\": 1}\n", "(line 3): it ends before"),
            (b"[\n{\"a\": \"x", "(line 2): it ends before"),
            (b"[\n{}\n{}\n]", "(line 3): a comma or ]"),
            (b"[\n{},\n]", "(line 3): something else than an object"),
            (b"[\n1]", "something else than an object"),
            (b"[]\n[]", "(line 2): something follows"),
        ] {
            let error = rows(text).expect_err(part);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            let text = error.to_string();
            assert!(text.contains(part) && text.contains("t_part1.json"), "{text}");
        }
    }

    #[test]
    fn damaged_gzip_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("t_shard0_part1.json.gz");
        let mut zip = GzEncoder::new(Vec::new(), Compression::default());
        zip.write_all(b"[\n{\"a\": 1},\n{\"a\": 2}\n]\n").expect("memory");
        let whole = zip.finish().expect("memory");
        let read = |bytes: &[u8]| -> Result<usize> {
            std::fs::write(&path, bytes).expect("written");
            let counter = Arc::new(AtomicU64::new(0));
            let mut stream = RowStream::open(&path, &counter)?;
            let (mut row, mut count) = (Vec::new(), 0);
            while stream.next_row(&mut row)?.is_some() {
                count += 1;
            }
            assert_eq!(counter.load(Ordering::Relaxed), bytes.len() as u64);
            Ok(count)
        };
        assert_eq!(read(&whole).expect("whole"), 2);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).expect_err("cut").kind(), ErrorKind::Corrupt, "{length}");
        }
        for at in 10..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert_eq!(read(&damaged).expect_err("damaged").kind(), ErrorKind::Corrupt, "{at}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert_eq!(read(&longer).expect_err("garbage").kind(), ErrorKind::Corrupt);
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(text in "[\\[\\]{}\",\\\\ \n1]{0,60}") {
            let _ = rows(text.as_bytes());
        }
    }
}
