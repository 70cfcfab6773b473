//! The fuzzer: inputs made from a corpus by seeded mutations, judged one by one.
//!
//! An input fails if its judge says so, panics, or takes long; a run fails if the process grew beyond any sane need.

use std::{
    cell::Cell,
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::types::Dice;

/// What judging an input came to: a class of outcomes that the run counts, or what is wrong.
pub(crate) type Verdict = Result<String, String>;

/// How long a decoder is fuzzed where nothing else is said, and in the long form.
const SHORT: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_secs(600);
/// No input of a few KiB takes longer, even on a busy machine.
const JUDGED_WITHIN: Duration = Duration::from_secs(10);
/// Greatest memory of the process in use, and reserved; the tests beside this one included. The index allows 2^26
/// chunks of 4 GiB, so one capacity taken from an input would go far beyond.
const RESIDENT_KIB_MAX: u64 = 1 << 20;
const RESERVED_KIB_MAX: u64 = 6 << 20;
/// Longest input: mutations that repeat must not make the fuzzer slow.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// Bytes at which decoders decide.
const TURNING_BYTES: &[u8] = b"\x00\x01\x04\x7f\x80\xfe\xff\"\\{}[]:,$-.+ \n09eE~";
/// Numbers at which integers end.
const TURNING_NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "00",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1e3",
    "1.5",
    "\"9007199254740993\"",
    "null",
];

/// One decoder under fire.
pub(crate) struct Fuzzing<'a> {
    /// For messages.
    pub(crate) name: &'a str,
    /// What inputs are made from. A judge gets the number of the item that an input was made from.
    pub(crate) corpus: Vec<Vec<u8>>,
    /// Pieces that mean something to the decoder.
    pub(crate) words: &'a [&'a [u8]],
}

impl Fuzzing<'_> {
    /// Judges the corpus, then mutated inputs until the time is over.
    pub(crate) fn run(&self, judge: impl Fn(usize, &[u8]) -> Verdict) {
        assert!(!self.corpus.is_empty(), "{}: an empty corpus shows nothing", self.name);
        let classes = Cell::new(BTreeMap::<String, u64>::new());
        let one = |origin: &str, item: usize, input: &[u8]| {
            let class = self.judge_one(&judge, origin, item, input);
            let mut counted = classes.take();
            *counted.entry(class).or_default() += 1;
            classes.set(counted);
        };
        for (item, input) in self.corpus.iter().enumerate() {
            one(&format!("item {item} of the corpus"), item, input);
        }
        let begun = Instant::now();
        if let Some(seed) = number_of("RINGVAULT_FUZZ_SEED") {
            let (item, input) = self.input(seed);
            one(&format!("seed {seed}"), item, &input);
            return;
        }
        let mut seed = 0;
        while begun.elapsed() < duration() {
            for _ in 0..32 {
                let (item, input) = self.input(seed);
                one(&format!("seed {seed}"), item, &input);
                seed += 1;
            }
        }
        self.check_memory();
        let classes = classes.take();
        assert!(classes.len() > 1, "{}: {seed} inputs all came to {classes:?}", self.name);
    }

    /// The input of a seed, and the item of the corpus that it was made from.
    fn input(&self, seed: u64) -> (usize, Vec<u8>) {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.name.len() as u64);
        let item = below(&mut dice, self.corpus.len());
        let mut input = self.corpus[item].clone();
        let other = &self.corpus[below(&mut dice, self.corpus.len())];
        let rounds = 1 + below(&mut dice, 8).saturating_sub(3);
        for _ in 0..rounds {
            mutate(&mut input, other, self.words, &mut dice);
        }
        input.truncate(INPUT_BYTES_MAX);
        (item, input)
    }

    fn judge_one(&self, judge: &impl Fn(usize, &[u8]) -> Verdict, origin: &str, item: usize, input: &[u8]) -> String {
        let begun = Instant::now();
        let judged = std::panic::catch_unwind(AssertUnwindSafe(|| judge(item, input)));
        let wrong = match judged {
            Ok(Ok(class)) if begun.elapsed() < JUDGED_WITHIN => return class,
            Ok(Ok(_)) => format!("it took {:?}", begun.elapsed()),
            Ok(Err(wrong)) => wrong,
            Err(_) => "a panic, see above".to_owned(),
        };
        let kept = keep(self.name, input);
        panic!(
            "{}, {origin} (made from item {item} of the corpus): {wrong}\n{} bytes, kept as {}: {}",
            self.name,
            input.len(),
            kept.display(),
            input[..input.len().min(2000)].escape_ascii(),
        );
    }

    /// Where the system tells it: what the process needed at most.
    fn check_memory(&self) {
        let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return };
        for (figure, most) in [("VmHWM:", RESIDENT_KIB_MAX), ("VmPeak:", RESERVED_KIB_MAX)] {
            let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap_or_default();
            let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
            assert!(kib <= most, "{}: {figure} {kib} KiB; some input made a decoder take far too much", self.name);
        }
    }
}

/// For as long a decoder is fuzzed.
pub(crate) fn duration() -> Duration {
    match number_of("RINGVAULT_FUZZ_SECONDS") {
        Some(seconds) => Duration::from_secs(seconds),
        None if is_long() => LONG,
        None => SHORT,
    }
}

/// Whether full sizes were asked for.
pub(crate) fn is_long() -> bool {
    std::env::var("RINGVAULT_LONG").is_ok_and(|value| value == "1")
}

/// A number in the environment.
pub(crate) fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// A number below a bound; 0 below 0.
pub(crate) fn below(dice: &mut Dice, bound: usize) -> usize {
    usize::try_from(dice.below(bound.max(1) as u64)).expect("below a usize")
}

/// The class of an error: its message without what differs from input to input.
pub(crate) fn class_of(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let plain: String = text.chars().filter(|c| !c.is_ascii_digit() && !c.is_control()).collect();
    let end = plain.char_indices().nth(60).map_or(plain.len(), |(at, _)| at);
    format!("refused: {}", &plain[..end])
}

/// Writes an input that failed to the build's scratch directory, from where a person may take it into the corpus.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    let digest = ringvault_archive::digest::Identity::of(input).to_string();
    let path = directory.join(format!("{}-{}", name.replace(' ', "_"), &digest[..16]));
    let _ = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, input));
    path
}

/// Changes an input once.
fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], dice: &mut Dice) {
    let at = below(dice, input.len() + 1);
    let rest = input.len() - at;
    let length = 1 + below(dice, 16);
    match dice.below(13) {
        0 | 1 if rest > 0 => input[at] ^= 1 << dice.below(8),
        2 if rest > 0 => input[at] = dice.next().to_le_bytes()[0],
        3 if rest > 0 => input[at] = TURNING_BYTES[below(dice, TURNING_BYTES.len())],
        4 => drop(input.drain(at..at + length.min(rest))),
        5 => insert(input, at, &[TURNING_BYTES[below(dice, TURNING_BYTES.len())]]),
        6 if !words.is_empty() => insert(input, at, words[below(dice, words.len())]),
        7 => {
            let copy = input[at..at + length.min(rest)].to_vec();
            insert(input, below(dice, input.len() + 1), &copy);
        }
        8 => {
            let from = below(dice, other.len() + 1);
            let piece = other[from..(from + 4 * length).min(other.len())].to_vec();
            insert(input, at, &piece);
        }
        9 => input.truncate(at),
        10 => replace_number(input, at, dice),
        11 => {
            let byte = TURNING_BYTES[below(dice, TURNING_BYTES.len())];
            let times = if dice.below(8) == 0 { 4000 } else { length };
            insert(input, at, &vec![byte; times]);
        }
        _ => swap(input, at, length, dice),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// Replaces the next decimal number.
fn replace_number(input: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let length = input[start..].iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(input.len() - start);
    let number = TURNING_NUMBERS[below(dice, TURNING_NUMBERS.len())];
    input.splice(start..start + length, number.bytes());
}

/// Swaps two neighbouring pieces.
fn swap(input: &mut [u8], at: usize, length: usize, dice: &mut Dice) {
    let rest = &mut input[at..];
    let end = (2 * length).min(rest.len());
    if end > 0 {
        rest[..end].rotate_left(below(dice, end));
    }
}
