//! Compresses bytes that lie in one place, in one go: up to twice as fast as a stream, which copies its window. What comes
//! out is decompressed again and compared, so that a defect of a compressor or of memory is found before anything relies
//! on it.

use std::io::{self, Read as _, Write as _};

use bytes::Bytes;
use ringvault_proto::v1::Compression;
use zstd::zstd_safe::{CParameter, ParamSwitch};

use super::{BLOCK_BYTES, GZIP_LEVEL, ZSTD_LEVEL, compressing, decompressor};
use crate::error::{Error, Result};

/// Bytes that zstd skips where nothing is repeated: a sixth faster than looking at each, at the same size.
const ZSTD_SKIP: u32 = 2;
/// The same for what hardly repeats anything, like hashes and random letters: another quarter faster.
const ZSTD_SKIP_MUCH: u32 = 16;
/// What of a chunk is looked at to tell which it is: from its middle.
const SAMPLE_BYTES: usize = 128 << 10;
/// A chunk hardly repeats anything where looking closer saves less than one part of so many.
const WORTH_PARTS: usize = 33;

/// Compresses chunks, one after the other; keeps its working memory from one to the next.
pub(crate) struct Press {
    compression: Compression,
    /// Made when it is first needed.
    zstd: Option<zstd::bulk::Compressor<'static>>,
    block: Vec<u8>,
}

impl Press {
    /// `COMPRESSION_UNSPECIFIED` is zstd.
    pub(crate) fn new(compression: Compression) -> Self {
        let compression = if compression == Compression::Unspecified { Compression::Zstd } else { compression };
        Self { compression, zstd: None, block: Vec::new() }
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// Compresses `plain`.
    ///
    /// # Errors
    /// `Internal` without memory, and where what came out is not what went in.
    pub(crate) fn press(&mut self, plain: &[u8]) -> Result<Bytes> {
        let stored: Bytes = match self.compression {
            Compression::Unspecified | Compression::Zstd => self.zstd(plain)?.into(),
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).map_err(compressing)?;
                encoder.finish().map_err(compressing)?.into()
            }
            Compression::None => return Ok(Bytes::copy_from_slice(plain)),
        };
        if self.is_made_of(&stored, plain).map_err(compressing)? {
            return Ok(stored);
        }
        Err(Error::internal(
            "what was just compressed does not decompress to what it was; this machine's memory may be faulty",
        ))
    }

    /// What comes out depends on `plain` alone, not on what was pressed before.
    fn zstd(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        let compressor = match &mut self.zstd {
            Some(made) => made,
            none => none.insert(compressor().map_err(compressing)?),
        };
        let skip = skip_of(compressor, plain).map_err(compressing)?;
        compressor.set_parameter(CParameter::TargetLength(skip)).map_err(compressing)?;
        compressor.compress(plain).map_err(compressing)
    }

    fn is_made_of(&mut self, stored: &Bytes, mut plain: &[u8]) -> io::Result<bool> {
        let mut reader = decompressor(self.compression, stored.clone())?;
        self.block.resize(BLOCK_BYTES, 0);
        loop {
            let read = reader.read(&mut self.block)?;
            if read == 0 {
                return Ok(plain.is_empty());
            }
            match plain.strip_prefix(&self.block[..read]) {
                Some(rest) => plain = rest,
                None => return Ok(false),
            }
        }
    }
}

fn compressor() -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?; // so that `zstd -t` alone finds damage
    compressor.set_parameter(CParameter::LiteralCompressionMode(ParamSwitch::Enable))?; // skipping alone would end it
    Ok(compressor)
}

/// How much is worth skipping in `plain`, by a sample.
fn skip_of(compressor: &mut zstd::bulk::Compressor<'_>, plain: &[u8]) -> io::Result<u32> {
    if plain.len() < 8 * SAMPLE_BYTES {
        return Ok(ZSTD_SKIP);
    }
    let sample = &plain[plain.len() / 2..][..SAMPLE_BYTES];
    let mut size = |skip| {
        compressor.set_parameter(CParameter::TargetLength(skip))?;
        compressor.compress(sample).map(|stored| stored.len())
    };
    let (searched, skipped) = (size(ZSTD_SKIP)?, size(ZSTD_SKIP_MUCH)?);
    Ok(if skipped.saturating_sub(searched) < searched / WORTH_PARTS { ZSTD_SKIP_MUCH } else { ZSTD_SKIP })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of letters that hang on nothing, or on each other.
    fn lines(repeat: bool) -> Vec<u8> {
        let mut state = 7_u64;
        let mut plain = Vec::new();
        while plain.len() < 12 * SAMPLE_BYTES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = format!("{:016x}", if repeat { state >> 60 } else { state });
            plain.extend_from_slice(word.as_bytes());
        }
        plain
    }

    #[test]
    fn what_hardly_repeats_is_skipped_and_what_does_is_not() {
        let mut compressor = compressor().expect("memory");
        let mut skip = |plain: &[u8]| skip_of(&mut compressor, plain).expect("compressed");
        assert_eq!((skip(&lines(false)), skip(&lines(true))), (ZSTD_SKIP_MUCH, ZSTD_SKIP));
        assert_eq!(skip(&lines(false)[..SAMPLE_BYTES]), ZSTD_SKIP);
    }

    #[test]
    fn what_was_pressed_before_changes_nothing() {
        let (random, repeated) = (lines(false), lines(true));
        let mut one = Press::new(Compression::Zstd);
        let mut pressed = |plain: &[u8]| one.press(plain).expect("pressed");
        let mixed = [pressed(&random), pressed(&repeated), pressed(&random)];
        let alone = Press::new(Compression::Zstd).press(&repeated).expect("pressed");
        assert_eq!((mixed[0].clone(), mixed[1].clone()), (mixed[2].clone(), alone));
        assert!(mixed[0].len() < random.len() * 55 / 100, "{} of {}", mixed[0].len(), random.len());
    }
}
