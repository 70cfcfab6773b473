//! Chunks in and out: looked up before they are uploaded, checked before they are relied on.

use bytes::Bytes;
use ringvault_proto::v1::{self, Compression};

use super::{Put, Repository, StoredChunk};
use crate::{
    chunk::{self, ChunkLines, SealedChunk},
    error::{Error, Result},
    names::{self, ChunkAddress},
};

/// Bad objects that may stand at a chunk's names before a person must look.
const NEXT_NAMES_MAX: u32 = 16;
/// Beyond its encoded length, what an object may be longer: no compressor of ours adds more, even to random bytes.
const STORED_BYTES_SPARE: u64 = 1 << 20;

impl Repository {
    /// Stores a chunk, unless its bytes are there already: an object for which the index of a committed backup vouches
    /// (`vouched`: that index's record of the same segment and part, of any content) is reused if its length agrees; any
    /// other object at the chunk's name is read and compared. Where that one is bad, the chunk is stored at the next name
    /// and the answer carries a warning. Whoever calls has called [`SealedChunk::verify`].
    ///
    /// Cancelled, the object is there as a whole or not at all; nothing refers to it.
    ///
    /// # Errors
    /// What the store fails with; `Corrupt` where bad objects stand at all of the chunk's names.
    pub async fn store_chunk(
        &self,
        address: &ChunkAddress<'_>,
        chunk: SealedChunk,
        vouched: Option<&v1::Chunk>,
    ) -> Result<StoredChunk> {
        let mut warnings = Vec::new();
        if let Some(stored) = self.reuse_vouched(address, &chunk, vouched, &mut warnings).await? {
            return Ok(stored);
        }
        for next in 0..=NEXT_NAMES_MAX {
            let object = names::data_object(address, chunk.identity(), chunk.compression(), next);
            if let Some(stored) = self.store_at(address, &chunk, object, &mut warnings).await? {
                return Ok(stored);
            }
        }
        let first = names::data_object(address, chunk.identity(), chunk.compression(), 0);
        Err(Error::corrupt(format!(
            "bad objects stand at {first} in {} and its next {NEXT_NAMES_MAX} names; is the store sound? look at it, then \
             delete them",
            self.location
        )))
    }

    /// The lines of a stored chunk; call [`ChunkLines::check`] off the async threads. Cancel safe.
    ///
    /// # Errors
    /// `Corrupt` where the object is missing or of another length, naming it; what the store fails with.
    pub async fn fetch_chunk(&self, record: &v1::Chunk) -> Result<ChunkLines> {
        let bytes = self.read_at_most(&record.object, record.stored_bytes).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::corrupt(format!("{} is missing in {}: its backup can't be restored", record.object, self.location))
        })?;
        ChunkLines::new(bytes, record)
    }

    async fn reuse_vouched(
        &self,
        address: &ChunkAddress<'_>,
        chunk: &SealedChunk,
        vouched: Option<&v1::Chunk>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<StoredChunk>> {
        let Some(vouched) = vouched.filter(|vouched| vouched.identity[..] == chunk.identity().0) else {
            return Ok(None);
        };
        let Ok(compression) = chunk::compression(vouched) else { return Ok(None) };
        match self.length(&vouched.object).await? {
            Some(length) if length == vouched.stored_bytes => {
                Ok(Some(stored(address, chunk, compression, vouched.object.clone(), length, true, warnings)))
            }
            found => {
                let found = found.map_or("is missing".to_owned(), |length| format!("has {length} bytes"));
                warnings.push(format!(
                    "{} {found}, though an earlier backup relies on it with {} bytes; run ringvault verify {}",
                    vouched.object, vouched.stored_bytes, self.location
                ));
                Ok(None)
            }
        }
    }

    /// Stores at one name, or finds the chunk there; nothing where something bad stands there.
    async fn store_at(
        &self,
        address: &ChunkAddress<'_>,
        chunk: &SealedChunk,
        object: String,
        warnings: &mut Vec<String>,
    ) -> Result<Option<StoredChunk>> {
        if self.length(&object).await?.is_none() && self.put_new(&object, chunk.stored().clone()).await? == Put::Created
        {
            let length = chunk.stored().len() as u64;
            self.confirm(&object, length).await?;
            self.uncache(&object).await;
            return Ok(Some(stored(address, chunk, chunk.compression(), object, length, false, warnings)));
        }
        match self.compare(chunk, &object).await {
            Ok(length) => Ok(Some(stored(address, chunk, chunk.compression(), object, length, true, warnings))),
            Err(Comparison::Bad(reason)) => {
                warnings.push(format!("{reason}; the chunk was stored under another name"));
                Ok(None)
            }
            Err(Comparison::Failed(error)) => Err(error),
        }
    }

    /// Looks up what was just written: some stores acknowledge what they don't keep.
    async fn confirm(&self, object: &str, length: u64) -> Result<()> {
        match self.length(object).await? {
            Some(found) if found == length => Ok(()),
            found => Err(Error::unavailable(format!(
                "{} acknowledged {object} ({length} bytes) but has {}; it will be stored again",
                self.location,
                found.map_or("nothing there".to_owned(), |found| format!("{found} bytes there")),
            ))),
        }
    }

    /// Reads an object that stands at a chunk's name and compares; its length where it is the chunk.
    async fn compare(&self, chunk: &SealedChunk, object: &str) -> Result<u64, Comparison> {
        let bytes_max = chunk.encoded_bytes().saturating_add(STORED_BYTES_SPARE);
        let bytes = self.read_at_most(object, bytes_max).await.map_err(Comparison::of)?;
        let Some(bytes) = bytes else {
            let reason = format!("{object} was there and is gone; another process changes {}", self.location);
            return Err(Comparison::Failed(Error::unavailable(reason)));
        };
        let length = bytes.len() as u64;
        if bytes == chunk.stored() {
            return Ok(length);
        }
        compare_off_thread(chunk.clone(), bytes, chunk.compression(), object).await.map_err(Comparison::of)?;
        Ok(length)
    }
}

/// Why an object is not the chunk that its name says.
enum Comparison {
    Bad(String),
    Failed(Error),
}

impl Comparison {
    fn of(error: Error) -> Self {
        match error.kind() {
            ringvault_proto::error::ErrorKind::Corrupt => Self::Bad(error.to_string()),
            _ => Self::Failed(error),
        }
    }
}

/// Decompressing megabytes is no work for the async threads.
async fn compare_off_thread(chunk: SealedChunk, bytes: Bytes, compression: Compression, object: &str) -> Result<()> {
    let object = object.to_owned();
    super::blocking(move || chunk.compare(bytes, compression, &object)).await
}

fn stored(
    address: &ChunkAddress<'_>,
    chunk: &SealedChunk,
    compression: Compression,
    object: String,
    stored_bytes: u64,
    reused: bool,
    warnings: &[String],
) -> StoredChunk {
    let record = chunk.record(address.segment, address.part, object, stored_bytes);
    StoredChunk {
        record: v1::Chunk { compression: compression.into(), reused, ..record },
        warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
    }
}
