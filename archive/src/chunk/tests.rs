use proptest::prelude::*;
use ringvault_proto::error::ErrorKind;

use super::*;
use crate::{digest::HashInput, row::LineKind};

const COMPRESSIONS: [Compression; 3] = [Compression::Zstd, Compression::Gzip, Compression::None];

fn encoded(line: &[u8], kind: LineKind) -> EncodedLine<'_> {
    EncodedLine { kind, bytes: line, hashed: HashInput::without_times(line), facts: Facts::default() }
}

fn sealed(compression: Compression, lines: &[Vec<u8>]) -> SealedChunk {
    let mut writer = ChunkWriter::new(compression);
    for (index, line) in lines.iter().enumerate() {
        let kind = if index % 3 == 0 { LineKind::Static } else { LineKind::Row };
        writer.push(&encoded(line, kind)).expect("a line");
    }
    writer.seal().expect("lines")
}

fn read(stored: Bytes, record: &v1::Chunk) -> Result<Vec<Vec<u8>>> {
    let mut lines = ChunkLines::new(stored, record)?;
    lines.check()?;
    let (mut all, mut line) = (Vec::new(), Vec::new());
    while lines.next_line(&mut line)? {
        all.push(line.clone());
    }
    assert!(!lines.next_line(&mut line)?, "the end stays the end");
    Ok(all)
}

fn some_lines(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("{{\"id\":{i},\"text\":\"{}\"}}\n", "abc".repeat(i % 50)).into_bytes()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn lines_survive_every_compression(texts in proptest::collection::vec("[^\n]{0,40}", 1..40), long in 0usize..400_000) {
        let mut lines: Vec<Vec<u8>> = texts.into_iter().map(|text| (text + "\n").into_bytes()).collect();
        lines.push([vec![b'x'; long], vec![b'\n']].concat());
        for compression in COMPRESSIONS {
            let chunk = sealed(compression, &lines);
            prop_assert_eq!(chunk.identity(), Identity::of(&lines.concat()));
            prop_assert_eq!(chunk.encoded_bytes(), lines.concat().len() as u64);
            let record = chunk.record(0, 0, "o".into(), chunk.stored().len() as u64);
            prop_assert_eq!(&read(chunk.stored().clone(), &record).expect("undamaged"), &lines);
        }
    }
}

#[test]
fn any_flipped_bit_or_cut_is_found_before_a_line_is_handed_out() {
    for compression in COMPRESSIONS {
        let lines = some_lines(30);
        let chunk = sealed(compression, &lines);
        let record = chunk.record(0, 0, "data/a/b".into(), chunk.stored().len() as u64);
        for position in 0..chunk.stored().len() {
            for bit in 0..8 {
                let mut damaged = chunk.stored().to_vec();
                damaged[position] ^= 1 << bit;
                match read(damaged.into(), &record) {
                    // Bits of a compressor's header that say nothing of the content may differ.
                    Ok(read) => assert!(read == lines && compression != Compression::None, "{position}.{bit}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt);
                        assert!(error.to_string().starts_with("data/a/b is damaged: "), "{error}");
                    }
                }
            }
            let cut = chunk.stored().slice(..position);
            let record = v1::Chunk { stored_bytes: position as u64, ..record.clone() };
            assert_eq!(read(cut, &record).expect_err("cut").kind(), ErrorKind::Corrupt);
        }
        let longer = [&chunk.stored()[..], b"\0"].concat();
        let record = v1::Chunk { stored_bytes: longer.len() as u64, ..record };
        assert_eq!(read(longer.into(), &record).expect_err("longer").kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_record_that_disagrees_is_refused() {
    let chunk = sealed(Compression::Zstd, &some_lines(9));
    let good = chunk.record(0, 0, "data/a/b".into(), chunk.stored().len() as u64);
    let bad = [
        v1::Chunk { rows: good.rows + 1, ..good.clone() },
        v1::Chunk { encoded_bytes: good.encoded_bytes - 1, ..good.clone() },
        v1::Chunk { encoded_bytes: good.encoded_bytes + 1, ..good.clone() },
        v1::Chunk { stored_bytes: good.stored_bytes + 1, ..good.clone() },
        v1::Chunk { identity: vec![0; 32].into(), ..good.clone() },
        v1::Chunk { identity: vec![0; 31].into(), ..good.clone() },
        v1::Chunk { compression: 77, ..good.clone() },
        v1::Chunk { compression: Compression::Gzip.into(), ..good.clone() },
        v1::Chunk { rows: u64::MAX, static_rows: u64::MAX, encoded_bytes: u64::MAX, ..good },
    ];
    for record in bad {
        assert_eq!(read(chunk.stored().clone(), &record).expect_err("disagrees").kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_decompression_bomb_is_cut_off_at_the_recorded_length() {
    for compression in [Compression::Zstd, Compression::Gzip] {
        let bomb = sealed(compression, &[[vec![b' '; 64 << 20], vec![b'\n']].concat()]);
        assert!(bomb.stored().len() < 1 << 20);
        let mut record = bomb.record(0, 0, "o".into(), bomb.stored().len() as u64);
        record.encoded_bytes = 1000;
        let error = read(bomb.stored().clone(), &record).expect_err("longer than recorded");
        assert!(error.to_string().contains("should hold 1000 bytes and holds more"), "{error}");
    }
}

#[test]
fn a_frame_with_a_huge_window_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("a compressor");
    encoder.window_log(27).expect("within zstd's bounds");
    std::io::Write::write_all(&mut encoder, b"{}\n").expect("memory");
    let stored = Bytes::from(encoder.finish().expect("memory"));
    let good = sealed(Compression::Zstd, &[b"{}\n".to_vec()]);
    let record = good.record(0, 0, "o".into(), stored.len() as u64);
    let error = read(stored, &record).expect_err("the window");
    assert!(error.to_string().contains("can't be decompressed"), "{error}");
}

#[test]
fn a_chunk_is_full_by_bytes_or_rows_whichever_comes_first() {
    let mut writer = ChunkWriter::new(Compression::None);
    assert!(writer.is_empty() && !writer.is_full(CHUNK_BYTES_MAX, 1));
    writer.push(&encoded(b"{}\n", LineKind::Static)).expect("a line");
    assert!(!writer.is_empty() && !writer.is_full(CHUNK_BYTES_MAX, 1), "static lines are no rows");
    writer.push(&encoded(b"{}\n", LineKind::Row)).expect("a line");
    assert!(
        writer.is_full(CHUNK_BYTES_MAX, 1)
            && !writer.is_full(CHUNK_BYTES_MAX, 2)
            && !writer.is_full(CHUNK_BYTES_MAX, 0)
    );
    let line = [vec![b'x'; usize::try_from(CHUNK_BYTES_MAX).expect("small") - 7], vec![b'\n']].concat();
    writer.push(&encoded(&line, LineKind::Row)).expect("a line");
    assert_eq!(writer.encoded_bytes(), CHUNK_BYTES_MAX);
    assert!(writer.is_full(u64::MAX, 0), "no chunk is larger");
    assert!(writer.is_full(CHUNK_BYTES_MAX, 0));
}

#[test]
fn what_is_no_line_or_no_chunk_is_refused() {
    let mut writer = ChunkWriter::new(Compression::Unspecified);
    assert_eq!(writer.push(&encoded(b"{}", LineKind::Row)).expect_err("no newline").kind(), ErrorKind::Internal);
    assert_eq!(writer.seal().expect_err("empty").kind(), ErrorKind::Internal);
    let chunk = sealed(Compression::Zstd, &some_lines(2));
    let record = chunk.record(0, 0, "o".into(), chunk.stored().len() as u64);
    let mut lines = ChunkLines::new(chunk.stored().clone(), &record).expect("agrees");
    assert_eq!(lines.next_line(&mut Vec::new()).expect_err("unchecked").kind(), ErrorKind::Internal);
}

#[test]
fn what_is_known_of_lines_adds_up_in_the_record() {
    let mut writer = ChunkWriter::new(Compression::None);
    for (line, facts) in [
        ("{}\n", Facts { key_only_rows: 1, ..Facts::default() }),
        ("{\"a\":1}\n", Facts { estimated_cells: 2, writetime_us_max: 70, expiry_s_max: 9, ..Facts::default() }),
        ("{\"b\":1}\n", Facts { estimated_cells: 1, writetime_us_max: 60, expiry_s_max: 0, ..Facts::default() }),
        ("{\"c\":1}\n", Facts { writetime_us_max: -5, ..Facts::default() }),
    ] {
        writer.push(&EncodedLine { facts, ..encoded(line.as_bytes(), LineKind::Row) }).expect("a line");
    }
    let record = writer.seal().expect("lines").record(0, 0, "o".into(), 1);
    let expected = Facts { key_only_rows: 1, estimated_cells: 3, writetime_us_max: 70, expiry_s_max: 9 };
    assert_eq!(facts(&record), expected);
}
