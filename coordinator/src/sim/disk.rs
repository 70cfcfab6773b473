//! The real journal under seeded crashes: images of its files are taken between commits, some with a torn end of the log, and
//! taken up again. Each holds exactly what a prefix of the commits made, and all of them where nothing is torn.

use std::{fs, path::Path};

use ringvault_proto::v1;
use ringvault_runtime::entropy::Entropy;

use super::journal::ModelJournal;
use crate::{
    journal::Store,
    record::{AssignmentRecord, Change, ClusterRecord, JobRecord, Loaded, Piece, TableRecord},
};

const SEEDS: u64 = 8;

/// Commits of one history.
const COMMITS: u64 = 60;

/// Changes of one commit at most: some are larger than a page of the log.
const CHANGES_MAX: u64 = 120;

struct Disk {
    entropy: Entropy,
    pieces: u64,
}

impl Disk {
    fn below(&self, bound: u64) -> u64 {
        self.entropy.u64() % bound
    }

    fn small(&self, bound: u64) -> u32 {
        u32::try_from(self.below(bound)).expect("small")
    }

    fn change(&mut self) -> Change {
        let job_id = format!("j{}", self.below(3));
        match self.below(40) {
            0..4 => {
                let warnings = vec!["w".repeat(usize::try_from(self.below(3000)).expect("small"))];
                Change::PutJob(Box::new(JobRecord {
                    job_id,
                    warnings,
                    sequence: self.below(9),
                    ..JobRecord::default()
                }))
            }
            4..8 => {
                Change::PutTable(Box::new(TableRecord { job_id, ordinal: self.small(4), ..TableRecord::default() }))
            }
            8..24 => Change::PutAssignment(AssignmentRecord {
                job_id,
                ordinal: self.small(200),
                table: Some(self.small(4)),
                epoch: self.below(100),
                ..AssignmentRecord::default()
            }),
            24..36 => {
                self.pieces += 1;
                let chunk =
                    v1::Chunk { segment: self.pieces, rows: 7, identity: vec![7; 32].into(), ..v1::Chunk::default() };
                Change::PutPiece { job_id, table: self.small(4), piece: Piece::Stored(chunk) }
            }
            36 => Change::DeleteAssignment { job_id, ordinal: self.small(200) },
            37 => Change::DeleteTable { job_id, table: self.small(4) },
            38 if self.below(4) == 0 => Change::DeleteWork(job_id),
            _ => Change::PutCluster(ClusterRecord { cluster: job_id, ..ClusterRecord::default() }),
        }
    }
}

/// Copies the files of a journal; with `torn`, the log ends at some byte.
fn image(from: &Path, to: &Path, torn: Option<u64>) {
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let copy = to.join(path.file_name().expect("a name"));
        fs::copy(&path, &copy).expect("a copy");
        let is_log = path.to_string_lossy().ends_with("-wal");
        if let Some(draw) = torn.filter(|_| is_log) {
            let file = fs::OpenOptions::new().write(true).open(&copy).expect("the copy");
            let length = file.metadata().expect("a length").len();
            file.set_len(draw % (length + 1)).expect("cut");
        }
    }
}

fn loaded(dir: &Path) -> Loaded {
    Store::open(dir).expect("a journal after a crash opens").load().expect("and can be read")
}

#[test]
fn a_journal_holds_exactly_what_was_committed_before_a_crash() {
    let mut prefixes = 0;
    for seed in 0..SEEDS {
        let mut disk = Disk { entropy: Entropy::seeded(seed), pieces: 0 };
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = Store::open(dir.path()).expect("open");
        let mut model = ModelJournal::default();
        let mut states = vec![model.load()];
        for _ in 0..COMMITS {
            let changes: Vec<Change> = (0..1 + disk.below(CHANGES_MAX)).map(|_| disk.change()).collect();
            store.commit(&changes).expect("a commit");
            model.commit(&changes);
            states.push(model.load());
            match disk.below(6) {
                0 => {
                    let crashed = tempfile::tempdir().expect("a directory");
                    image(dir.path(), crashed.path(), None);
                    assert!(loaded(crashed.path()) == model.load(), "seed {seed}: not what was committed");
                }
                1 => {
                    let crashed = tempfile::tempdir().expect("a directory");
                    image(dir.path(), crashed.path(), Some(disk.entropy.u64()));
                    let found = loaded(crashed.path());
                    let prefix = states.iter().rposition(|state| *state == found);
                    let prefix = prefix.unwrap_or_else(|| panic!("seed {seed}: a torn log holds part of a commit"));
                    prefixes += u64::from(prefix + 1 < states.len());
                }
                2 => {
                    drop(store);
                    store = Store::open(dir.path()).expect("open again");
                    assert!(store.load().expect("load") == model.load(), "seed {seed}: an orderly end keeps all");
                }
                _ => {}
            }
        }
    }
    assert!(prefixes > 0, "no torn log lost anything: the cuts are too mild");
}
