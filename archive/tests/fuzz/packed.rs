//! Chunks and indexes: stored bytes against a true record, and other content with a record forged for it.

use bytes::Bytes;
use ringvault_archive::{
    chunk::ChunkLines,
    digest::Identity,
    index::TableIndex,
    manifest::ObjectRecord,
    row::{DecodedRow, RowDecoder},
    table::TableLayout,
};
use ringvault_proto::{
    error::ErrorKind,
    v1::{self, Compression},
};

use crate::{
    engine::{Fuzzing, Verdict, class_of},
    examples::{corpus, golden},
    sample::{BACKUP, chunk, id, table},
};

#[test]
fn stored_chunks_are_refused_or_hold_what_was_stored() {
    let sealed: Vec<_> = [Compression::Zstd, Compression::Gzip, Compression::None]
        .into_iter()
        .flat_map(|compression| [chunk(1, 1, compression), chunk(2, 30, compression)])
        .collect();
    let records: Vec<v1::Chunk> = sealed.iter().map(record_of).collect();
    let written: Vec<Vec<u8>> =
        sealed.iter().zip(&records).map(|(s, r)| read(s.stored().clone(), r).expect("sealed")).collect();
    let corpus = sealed.iter().map(|sealed| sealed.stored().to_vec()).collect();
    Fuzzing { name: "chunk", corpus, words: &[&[0x28, 0xb5, 0x2f, 0xfd], &[0x1f, 0x8b, 8], &[0x50, 0x2a, 0x4d, 0x18]] }
        .run(|item, stored| {
            // The record agrees with the length, or the length alone would be found.
            let record = v1::Chunk { stored_bytes: stored.len() as u64, ..records[item].clone() };
            judge(read(Bytes::copy_from_slice(stored), &record), |lines| {
                if lines == written[item] { Ok("the same".to_owned()) } else { Err("other lines".to_owned()) }
            })
        });
}

/// A chunk whose content nobody wrote, under a record that vouches for it, as a hostile repository could hold.
#[test]
fn forged_chunks_are_refused_or_read_to_their_end() {
    let layout = TableLayout::from_message(&table("orders")).expect("plain types");
    let sealed = chunk(2, 5, Compression::None);
    let records = [Compression::None, Compression::Gzip, Compression::Zstd]
        .map(|compression| v1::Chunk { compression: compression.into(), ..record_of(&sealed) });
    let corpus = vec![sealed.stored().to_vec(); 3];
    Fuzzing { name: "forged chunk", corpus, words: &[b"\n", b"{\"customer\":", b",\"$\":{\"w\":"] }.run(
        |item, text| {
            let stored = compressed(item, text);
            let record = v1::Chunk {
                identity: Bytes::copy_from_slice(&Identity::of(text).0),
                encoded_bytes: text.len() as u64,
                stored_bytes: stored.len() as u64,
                static_rows: 0,
                rows: text.iter().filter(|byte| **byte == b'\n').count() as u64,
                ..records[item].clone()
            };
            judge(read(stored.into(), &record), |lines| {
                if lines != text {
                    return Err("other lines than the chunk holds".to_owned());
                }
                let (mut decoder, mut row) = (RowDecoder::new(&layout), DecodedRow::default());
                let readable =
                    lines.split_inclusive(|byte| *byte == b'\n').all(|l| decoder.decode(l, &mut row).is_ok());
                Ok(if readable { "readable" } else { "a line is refused" }.to_owned())
            })
        },
    );
}

fn compressed(item: usize, text: &[u8]) -> Vec<u8> {
    match item {
        0 => text.to_vec(),
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, text).expect("memory");
            encoder.finish().expect("memory")
        }
        _ => zstd::encode_all(text, 1).expect("memory"),
    }
}

/// What a small object could claim to hold: decompression stops at what its record says, whatever the object says.
#[test]
fn a_bomb_ends_at_its_recorded_length() {
    let zeros = vec![b'\n'; 64 << 20];
    for (item, compression) in [(1, Compression::Gzip), (2, Compression::Zstd)] {
        let stored = Bytes::from(compressed(item, &zeros));
        let record = v1::Chunk {
            compression: compression.into(),
            encoded_bytes: 1000,
            rows: 1000,
            stored_bytes: stored.len() as u64,
            ..record_of(&chunk(1, 1, Compression::None))
        };
        let error = read(stored, &record).expect_err("a bomb");
        assert!(error.to_string().contains("holds more"), "{error}");
    }
}

fn judge<T>(read: ringvault_archive::Result<T>, judged: impl FnOnce(T) -> Verdict) -> Verdict {
    match read {
        Ok(value) => judged(value),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid) => Ok(class_of(&error)),
        Err(error) => Err(format!("an error of kind {:?}: {error}", error.kind())),
    }
}

/// All lines of a chunk, as one text.
fn read(stored: Bytes, record: &v1::Chunk) -> ringvault_archive::Result<Vec<u8>> {
    let mut lines = ChunkLines::new(stored, record)?;
    lines.check()?;
    let (mut all, mut line) = (Vec::new(), Vec::new());
    while lines.next_line(&mut line)? {
        all.extend_from_slice(&line);
    }
    Ok(all)
}

fn record_of(sealed: &ringvault_archive::chunk::SealedChunk) -> v1::Chunk {
    let sums = sealed.sums();
    v1::Chunk {
        object: "data/shop/orders/00-0".to_owned(),
        identity: Bytes::copy_from_slice(&sealed.identity().0),
        compression: sealed.compression().into(),
        rows: sums.rows,
        static_rows: sums.static_rows,
        encoded_bytes: sealed.encoded_bytes(),
        stored_bytes: sealed.stored().len() as u64,
        ..v1::Chunk::default()
    }
}

/// Texts of indexes: golden ones, and those of the corpus.
fn index_texts() -> Vec<Vec<u8>> {
    let directory = format!("repository/backups/{BACKUP}/tables");
    let golden = ["shop.orders", "shop.%4Fld%20%4Frders"]
        .map(|name| zstd::decode_all(&golden(&format!("{directory}/{name}.jsonl.zst"))[..]).expect("a frame"));
    golden.into_iter().chain(corpus("index")).collect()
}

fn index_record(text: &[u8], stored: &[u8]) -> ObjectRecord {
    ObjectRecord {
        object: "backups/b/tables/shop.orders.jsonl.zst".to_owned(),
        identity: Identity::of(text),
        encoded_bytes: text.len() as u64,
        stored_bytes: stored.len() as u64,
    }
}

#[test]
fn stored_indexes_are_refused_or_the_same() {
    let texts = index_texts();
    let corpus: Vec<Vec<u8>> = texts.iter().map(|text| zstd::encode_all(&text[..], 3).expect("memory")).collect();
    let written: Vec<TableIndex> = texts
        .iter()
        .zip(&corpus)
        .map(|(text, stored)| {
            let record = index_record(text, stored);
            TableIndex::decode(Bytes::copy_from_slice(stored), &record, &id(BACKUP)).expect("an index")
        })
        .collect();
    Fuzzing { name: "index", corpus, words: &[&[0x28, 0xb5, 0x2f, 0xfd], &[0x50, 0x2a, 0x4d, 0x18]] }.run(
        |item, stored| {
            let record = index_record(&texts[item], stored);
            judge(TableIndex::decode(Bytes::copy_from_slice(stored), &record, &id(BACKUP)), |index| {
                if index == written[item] { Ok("the same".to_owned()) } else { Err("another index".to_owned()) }
            })
        },
    );
}

#[test]
fn forged_indexes_are_refused_or_tile_the_ring() {
    let words: &[&[u8]] = &[
        b"{\"empty\":{\"segment\":",
        b",\"segments\":",
        b"{\"chunk\":{\"segment\":",
        b"\"part\":1",
        b"{\"end\":{",
        b"\"grid_exponent\":24",
        b"\n",
        b"18446744073709551615",
    ];
    Fuzzing { name: "forged index", corpus: index_texts(), words }.run(|_, text| {
        let stored = zstd::encode_all(text, 1).expect("memory");
        let record = index_record(text, &stored);
        judge(TableIndex::decode(stored.into(), &record, &id(BACKUP)), |index| {
            let encoded = index.encode(&id(BACKUP)).map_err(|e| format!("it can't be written again: {e}"))?;
            let record = ObjectRecord {
                object: record.object,
                identity: encoded.identity,
                encoded_bytes: encoded.encoded_bytes,
                stored_bytes: encoded.stored.len() as u64,
            };
            match TableIndex::decode(encoded.stored, &record, &id(BACKUP)) {
                Ok(again) if again == index => Ok("read".to_owned()),
                Ok(_) => Err("written again, it is another index".to_owned()),
                Err(e) => Err(format!("written again, it is refused: {e}")),
            }
        })
    });
}
