//! BLAKE3 of many short inputs beside each other, one in each lane of a vector register: up to ten times as fast as one
//! after the other, since a short input alone fills one lane.
//!
//! It is done by the functions with which the `blake3` crate hashes the parts of one long input. They are public and
//! safe, but promised to nobody: the crate's version is pinned, and tests compare with its plain hash.

use blake3::{BLOCK_LEN, CHUNK_LEN, IncrementCounter, OUT_LEN, platform::Platform};

/// Longest input that is worth it; longer ones fill lanes by themselves.
pub(super) const BYTES_MAX: usize = 2 * CHUNK_LEN;
/// Inputs at once: lanes of the widest registers.
const LANES: usize = 16;
const CHUNK_BLOCKS: usize = CHUNK_LEN / BLOCK_LEN;

// BLAKE3's specification, section 2.
const IV: [u32; 8] =
    [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;

/// Inputs that wait for others of as many blocks.
pub(super) struct Lanes {
    platform: Platform,
    /// By number of blocks, less one.
    classes: Vec<Class>,
}

/// Inputs of one number of blocks.
#[derive(Clone, Default)]
struct Class {
    /// Of all lanes, each input padded; empty until there is one.
    bytes: Vec<u8>,
    /// What is told with each hash.
    behind: Vec<Vec<u8>>,
    waiting: usize,
}

type Hashes = [[u8; OUT_LEN]; LANES];

impl Default for Lanes {
    fn default() -> Self {
        Self { platform: Platform::detect(), classes: vec![Class::default(); BYTES_MAX / BLOCK_LEN] }
    }
}

impl Lanes {
    /// Takes an input of 1 to [`BYTES_MAX`] bytes, given in two parts; tells `done` the hash of it and of others, each with
    /// what was to be told with it, as soon as all lanes are full.
    pub(super) fn push(&mut self, input: [&[u8]; 2], behind: &[u8], done: &mut impl FnMut(&[u8; OUT_LEN], &[u8])) {
        let length = input[0].len() + input[1].len();
        let stride = length.div_ceil(BLOCK_LEN) * BLOCK_LEN;
        let class = &mut self.classes[stride / BLOCK_LEN - 1];
        if class.bytes.is_empty() {
            class.bytes.resize(LANES * stride, 0);
            class.behind.resize(LANES, Vec::new());
        }
        let lane = &mut class.bytes[class.waiting * stride..][..stride];
        lane[..input[0].len()].copy_from_slice(input[0]);
        lane[input[0].len()..length].copy_from_slice(input[1]);
        lane[length..].fill(0);
        class.behind[class.waiting].clear();
        class.behind[class.waiting].extend_from_slice(behind);
        class.waiting += 1;
        if class.waiting == LANES {
            class.flush(self.platform, done);
        }
    }

    /// Tells `done` all hashes that are left.
    pub(super) fn flush(&mut self, done: &mut impl FnMut(&[u8; OUT_LEN], &[u8])) {
        for class in &mut self.classes {
            class.flush(self.platform, done);
        }
    }
}

impl Class {
    fn flush(&mut self, platform: Platform, done: &mut impl FnMut(&[u8; OUT_LEN], &[u8])) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting == 0 {
            return;
        }
        let blocks = self.bytes.len() / LANES / BLOCK_LEN;
        let whole = Part { bytes: &self.bytes, stride: blocks * BLOCK_LEN, at: 0, lanes: waiting };
        let hashes = match blocks.checked_sub(CHUNK_BLOCKS) {
            None | Some(0) => whole.hash(platform, blocks, 0, ROOT),
            Some(rest) => {
                let first = whole.hash(platform, CHUNK_BLOCKS, 0, 0);
                let second = Part { at: CHUNK_LEN, ..whole }.hash(platform, rest, 1, 0);
                let parents = first.iter().zip(&second).flat_map(|(left, right)| [*left, *right]);
                let parents = parents.flatten().collect::<Vec<u8>>();
                Part { bytes: &parents, stride: BLOCK_LEN, at: 0, lanes: waiting }.parents(platform)
            }
        };
        hashes.iter().zip(&self.behind).take(waiting).for_each(|(hash, behind)| done(hash, behind));
    }
}

/// The same part of every lane's input.
#[derive(Clone, Copy)]
struct Part<'a> {
    bytes: &'a [u8],
    stride: usize,
    at: usize,
    lanes: usize,
}

/// What BLAKE3 wants to know of a part beside its bytes.
#[derive(Clone, Copy)]
struct Role {
    counter: u64,
    flags: u8,
    start: u8,
    end: u8,
}

type HashMany = fn(&Part<'_>, Platform, Role) -> Hashes;

/// By number of blocks, less one.
const HASH_MANY: [HashMany; CHUNK_BLOCKS] = [
    hash_many::<64>,
    hash_many::<128>,
    hash_many::<192>,
    hash_many::<256>,
    hash_many::<320>,
    hash_many::<384>,
    hash_many::<448>,
    hash_many::<512>,
    hash_many::<576>,
    hash_many::<640>,
    hash_many::<704>,
    hash_many::<768>,
    hash_many::<832>,
    hash_many::<896>,
    hash_many::<960>,
    hash_many::<1024>,
];

impl Part<'_> {
    /// Of chunks, the `counter`-th of their inputs, with so many blocks each.
    fn hash(&self, platform: Platform, blocks: usize, counter: u64, root: u8) -> Hashes {
        HASH_MANY[blocks - 1](self, platform, Role { counter, flags: 0, start: CHUNK_START, end: CHUNK_END | root })
    }

    /// Of roots of two chunks each.
    fn parents(&self, platform: Platform) -> Hashes {
        HASH_MANY[0](self, platform, Role { counter: 0, flags: PARENT, start: 0, end: ROOT })
    }
}

fn hash_many<const N: usize>(part: &Part<'_>, platform: Platform, role: Role) -> Hashes {
    const NOTHING: &[u8] = &[0; CHUNK_LEN];
    let lane = |lane: usize| part.bytes.get(lane * part.stride + part.at..).unwrap_or(NOTHING);
    let inputs: [&[u8; N]; LANES] =
        std::array::from_fn(|index| lane(index).first_chunk().expect("lanes are filled up"));
    let mut hashes = [[0; OUT_LEN]; LANES];
    let out = hashes[..part.lanes].as_flattened_mut();
    let Role { counter, flags, start, end } = role;
    platform.hash_many(&inputs[..part.lanes], &IV, counter, IncrementCounter::No, flags, start, end, out);
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(input: &[u8]) -> [u8; OUT_LEN] {
        let mut padded = input.to_vec();
        padded.resize(input.len().next_multiple_of(BLOCK_LEN), 0);
        *blake3::hash(&padded).as_bytes()
    }

    #[test]
    fn the_hashes_are_those_of_blake3_at_every_length_and_number_of_inputs() {
        let bytes: Vec<u8> =
            (0..u32::try_from(BYTES_MAX + 3 * LANES).expect("few")).map(|i| (i * 31 % 251) as u8).collect();
        for inputs in [1, 2, 5, LANES - 1, LANES, 2 * LANES + 3] {
            for length in (1..=BYTES_MAX).step_by(if inputs == LANES { 1 } else { 37 }) {
                let input = |n: usize| &bytes[n..n + length];
                let mut lanes = Lanes::default();
                let mut found = Vec::new();
                let mut done = |hash: &[u8; OUT_LEN], behind: &[u8]| found.push((behind.to_vec(), *hash));
                for n in 0..inputs {
                    let (left, right) = input(n).split_at(length / 3);
                    lanes.push([left, right], &[u8::try_from(n).expect("few")], &mut done);
                }
                lanes.flush(&mut done);
                lanes.flush(&mut |_, _| panic!("all were told"));
                let expected: Vec<_> =
                    (0..inputs).map(|n| (vec![u8::try_from(n).expect("few")], plain(input(n)))).collect();
                assert_eq!(found, expected, "{inputs} of {length} bytes");
            }
        }
    }
}
