//! A core with a journal, a model repository and model workers, for tests: everything answers at once, time moves only
//! when told.

use std::collections::BTreeMap;

use ringvault_archive::index::TableIndex;
use ringvault_proto::{error::Failure, grid::Grid, v1};

use super::{
    Core,
    event::{
        Action, Answer, Effect, Event, LoadedBackup, Now, Outcome, Output, ParentIndex, Publication, ReplyId,
        Submission,
    },
};
use crate::{journal::Store, settings::Settings};

/// When tests begin.
pub(crate) const START_UNIX_MS: u64 = 1_795_359_053_000;

/// A sound chunk of table `t`.
pub(crate) fn chunk(segment: u64, part: u32, rows: u64) -> v1::Chunk {
    chunk_of("t", segment, part, rows)
}

/// A sound chunk of some rows.
pub(crate) fn chunk_of(table: &str, segment: u64, part: u32, rows: u64) -> v1::Chunk {
    let mut identity = [0_u8; 32];
    identity[..8].copy_from_slice(&segment.to_le_bytes());
    identity[8..12].copy_from_slice(&part.to_le_bytes());
    v1::Chunk {
        segment,
        part,
        identity: identity.to_vec().into(),
        object: format!("data/shop/{table}/04-{segment:x}.{part:03}-{}.jsonl.zst", hex::encode(identity)),
        compression: v1::Compression::Zstd.into(),
        rows,
        static_rows: 1,
        encoded_bytes: rows * 100,
        stored_bytes: rows * 10,
        value_sum: vec![1; 32].into(),
        time_sum: vec![2; 32].into(),
        reused: false,
        ..v1::Chunk::default()
    }
}

/// An inspected table.
pub(crate) fn table(name: &str, bytes: u64) -> v1::InspectedTable {
    v1::InspectedTable {
        table: Some(v1::TableName { keyspace: "shop".into(), table: name.into() }),
        table_id: format!("id of {name}"),
        fingerprint: format!("fingerprint of {name}"),
        columns: vec![v1::Column {
            name: "id".into(),
            kind: v1::ColumnKind::PartitionKey.into(),
            r#type: "int".into(),
            reversed: false,
        }],
        bytes_estimated: bytes,
        estimated_by: "size_estimates".into(),
        ..v1::InspectedTable::default()
    }
}

/// An inspected cluster.
pub(crate) fn cluster(tables: Vec<v1::InspectedTable>) -> v1::InspectResult {
    v1::InspectResult {
        cluster_name: "Test Cluster".into(),
        server_version: "5.0.6".into(),
        nodes: vec![v1::InspectedNode { data_center: "dc1".into(), ..v1::InspectedNode::default() }],
        tables,
        keyspaces: vec!["shop".into()],
        ..v1::InspectResult::default()
    }
}

pub(crate) fn backup_spec() -> v1::BackupSpec {
    v1::BackupSpec {
        keyspaces: vec!["shop".into()],
        cluster: "prod".into(),
        repository: "/mnt/bk".into(),
        ..v1::BackupSpec::default()
    }
}

pub(crate) fn backup_job(spec: v1::BackupSpec) -> v1::JobSpec {
    v1::JobSpec { work: Some(v1::job_spec::Work::Backup(spec)), ..v1::JobSpec::default() }
}

pub(crate) fn restore_spec() -> v1::RestoreSpec {
    v1::RestoreSpec {
        keyspaces: vec!["shop".into()],
        cluster: "prod".into(),
        repository: "/mnt/bk".into(),
        verify: true,
        ..v1::RestoreSpec::default()
    }
}

/// The index of a table with `rows` rows in each of the segments of a grid of `exponent`.
pub(crate) fn index(name: &str, exponent: u32, rows: u64) -> TableIndex {
    let grid = Grid::try_from(exponent).expect("small");
    let chunks = (0..grid.segments()).map(|segment| chunk_of(name, segment, 0, rows)).collect();
    TableIndex::new(table(name, 0), grid, false, chunks).expect("a sound index")
}

/// A core and all that it acts on.
pub(crate) struct Bench {
    pub(crate) core: Core,
    pub(crate) store: Store,
    pub(crate) now: Now,
    /// Actions that were asked for and not performed.
    pub(crate) actions: Vec<(String, u64, Action)>,
    /// Answers that nobody took.
    pub(crate) answers: BTreeMap<ReplyId, Answer>,
    /// What the cluster looks like.
    pub(crate) cluster: v1::InspectResult,
    /// What the repository holds of earlier backups.
    pub(crate) parents: Vec<ParentIndex>,
    /// The backup that is restored.
    pub(crate) backup: Option<LoadedBackup>,
    /// What was published.
    pub(crate) published: Vec<Publication>,
    /// Removed nonces.
    pub(crate) probes_deleted: Vec<String>,
    replies: u64,
    jobs: u64,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut store = Store::in_memory().expect("SQLite");
        let now = Now { ms: 1_000_000, unix_ms: START_UNIX_MS };
        let loaded = store.load().expect("load");
        let core = Core::load(settings, loaded, now, &mut Output::default()).expect("empty");
        Self {
            core,
            store,
            now,
            actions: Vec::new(),
            answers: BTreeMap::new(),
            cluster: cluster(vec![table("t", 64 << 20)]),
            parents: Vec::new(),
            backup: None,
            published: Vec::new(),
            probes_deleted: Vec::new(),
            replies: 0,
            jobs: 0,
        }
    }

    pub(crate) fn fleet() -> Self {
        Self::new(Settings::fleet())
    }

    /// The process ends and another one takes the journal up. The monotonic clock starts anew.
    pub(crate) fn restart(&mut self, settings: Settings) {
        let loaded = self.store.load().expect("load");
        self.now.ms = 5_000;
        self.actions.clear();
        self.answers.clear();
        let mut out = Output::default();
        self.core = Core::load(settings, loaded, self.now, &mut out).expect("sound records");
        self.settle(out);
    }

    pub(crate) fn apply(&mut self, event: Event) {
        let mut out = Output::default();
        self.core.apply(self.now, event, &mut out);
        self.settle(out);
    }

    fn settle(&mut self, out: Output) {
        self.store.commit(&out.changes).expect("a commit");
        for effect in out.effects {
            match effect {
                Effect::Answer(reply, answer) => drop(self.answers.insert(reply, answer)),
                Effect::Act { job, action: Action::DeleteProbe, .. } => self.probes_deleted.push(job),
                Effect::Act { job, run, action, .. } => self.actions.push((job, run, action)),
            }
        }
    }

    pub(crate) fn reply(&mut self) -> ReplyId {
        self.replies += 1;
        ReplyId(self.replies)
    }

    /// Asks, and takes the answer where there is one at once.
    pub(crate) fn ask(&mut self, event: impl FnOnce(ReplyId) -> Event) -> Option<Answer> {
        let reply = self.reply();
        self.apply(event(reply));
        self.answers.remove(&reply)
    }

    /// Lets time pass in steps of a second, with a tick each.
    pub(crate) fn pass_s(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now.ms += 1000;
            self.now.unix_ms += 1000;
            self.apply(Event::Tick);
        }
    }

    /// Performs all actions that were asked for; what comes of them may ask for more.
    pub(crate) fn act(&mut self) {
        while !self.actions.is_empty() {
            let (job, run, action) = self.actions.remove(0);
            let outcome = Ok(self.outcome(&job, run, action));
            self.apply(Event::Acted { job, run, outcome });
        }
    }

    /// What an action gives in the model repository.
    pub(crate) fn outcome(&mut self, job: &str, run: u64, action: Action) -> Outcome {
        match action {
            Action::Open { .. } => {
                Outcome::Opened { nonce: format!("nonce {job} {run}"), object: format!("probes/{job}.json") }
            }
            Action::LoadParents { .. } => Outcome::Parents(self.parents.clone()),
            Action::LoadBackup { .. } => Outcome::Backup(Box::new(self.backup.clone().expect("a backup"))),
            Action::Publish(publication) => {
                self.published.push(*publication);
                Outcome::Published
            }
            Action::DeleteProbe => Outcome::Published,
        }
    }

    /// The next action fails.
    pub(crate) fn fail_action(&mut self, failure: Failure) {
        let (job, run, _) = self.actions.remove(0);
        self.apply(Event::Acted { job, run, outcome: Err(failure) });
    }

    pub(crate) fn submission(&mut self, key: &str, spec: v1::JobSpec, fresh: bool) -> Submission {
        self.jobs += 1;
        Submission {
            key: key.into(),
            spec,
            fresh,
            job_id: format!("j{}", self.jobs),
            backup_id: format!("20261122T145053Z-{:04}", self.jobs),
            trace_parent: String::new(),
        }
    }

    pub(crate) fn submit(&mut self, key: &str, spec: v1::JobSpec, fresh: bool) -> Result<v1::SubmitResponse, Failure> {
        let submission = self.submission(key, spec, fresh);
        match self.ask(|reply| Event::Submit(reply, Box::new(submission))) {
            Some(Answer::Submitted(response)) => Ok(*response),
            Some(Answer::Refused(failure)) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn submit_backup(&mut self, key: &str) -> String {
        self.submit_spec(key, backup_spec())
    }

    pub(crate) fn submit_spec(&mut self, key: &str, spec: v1::BackupSpec) -> String {
        self.submit_job(key, backup_job(spec))
    }

    pub(crate) fn submit_job(&mut self, key: &str, spec: v1::JobSpec) -> String {
        self.submit(key, spec, false).expect("accepted").job.expect("a job").job_id
    }

    pub(crate) fn submit_restore(&mut self, key: &str, spec: v1::RestoreSpec) -> String {
        let spec = v1::JobSpec { work: Some(v1::job_spec::Work::Restore(spec)), ..v1::JobSpec::default() };
        self.submit(key, spec, false).expect("accepted").job.expect("a job").job_id
    }

    pub(crate) fn job(&self, id: &str) -> v1::Job {
        self.core.job(id).expect("a job")
    }

    /// A report that names the given leases.
    pub(crate) fn report(&mut self, worker: &str, leases: Vec<v1::LeaseProgress>) -> v1::AttendResponse {
        self.report_of(hello(worker), leases, false)
    }

    /// A report of a worker that is not like the others.
    pub(crate) fn report_of(
        &mut self,
        hello: v1::WorkerHello,
        leases: Vec<v1::LeaseProgress>,
        draining: bool,
    ) -> v1::AttendResponse {
        let report = v1::AttendRequest { hello: Some(hello), sequence: 1, leases, draining };
        match self.ask(|reply| Event::Report(reply, report)) {
            Some(Answer::Attended(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn attend(&mut self, worker: &str) {
        self.report(worker, Vec::new());
    }

    /// One poll that does not wait.
    pub(crate) fn poll(&mut self, worker: &str, max: u32, proofs: Vec<v1::Proof>) -> v1::LeaseResponse {
        let request = v1::LeaseRequest { worker_id: worker.into(), assignments_max: max, wait_ms: 0, proofs };
        match self.ask(|reply| Event::Lease(reply, request)) {
            Some(Answer::Leased(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Polls, and proves what it is asked to prove.
    pub(crate) fn lease(&mut self, worker: &str, max: u32) -> Vec<v1::Assignment> {
        let response = self.poll(worker, max, Vec::new());
        if response.probes.is_empty() {
            return response.assignments;
        }
        let proofs = response.probes.iter().map(|probe| self.proof(&probe.job_id)).collect();
        let mut assignments = response.assignments;
        assignments.extend(self.poll(worker, max, proofs).assignments);
        assignments
    }

    /// The right answer to a probe.
    pub(crate) fn proof(&self, job: &str) -> v1::Proof {
        let (nonce, _) = self.core.jobs[job].run.nonce.clone().expect("a nonce");
        v1::Proof { job_id: job.into(), nonce, failure: None }
    }

    /// Leases one assignment.
    pub(crate) fn lease_one(&mut self, worker: &str) -> v1::Assignment {
        let mut leased = self.lease(worker, 1);
        assert_eq!(leased.len(), 1, "one assignment");
        leased.remove(0)
    }

    pub(crate) fn complete(&mut self, request: v1::CompleteRequest) -> Result<bool, Failure> {
        match self.ask(|reply| Event::Complete(reply, Box::new(request))) {
            Some(Answer::Completed(response)) => Ok(response.ended),
            Some(Answer::Refused(failure)) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn fail(&mut self, worker: &str, assignment: &v1::Assignment, failure: Failure) -> Result<(), Failure> {
        let request = v1::FailRequest {
            worker_id: worker.into(),
            lease: assignment.lease.clone(),
            failure: Some(failure.into()),
        };
        match self.ask(|reply| Event::Fail(reply, request)) {
            Some(Answer::Noted) => Ok(()),
            Some(Answer::Refused(failure)) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Everything that an assignment asks for, in one message.
    pub(crate) fn whole(&self, worker: &str, assignment: &v1::Assignment) -> v1::CompleteRequest {
        whole(worker, assignment, &self.cluster)
    }

    /// A worker does all there is to do, until nothing is left.
    pub(crate) fn work(&mut self, worker: &str) {
        loop {
            self.act();
            let leased = self.lease(worker, 4);
            if leased.is_empty() {
                return;
            }
            for assignment in leased {
                let request = self.whole(worker, &assignment);
                self.complete(request).expect("accepted");
            }
        }
    }

    /// A backup up to its dump: the worker attends, the plan is made, the schema captured and found unchanged.
    pub(crate) fn dumping(&mut self, key: &str, worker: &str) -> String {
        self.dumping_job(key, worker, backup_job(backup_spec()))
    }

    /// The same of a job as it is given. No other job may want the worker meanwhile.
    pub(crate) fn dumping_job(&mut self, key: &str, worker: &str, spec: v1::JobSpec) -> String {
        let job = self.submit_job(key, spec);
        self.attend(worker);
        self.act();
        for _ in 0..3 {
            let assignment = self.lease_one(worker);
            let request = self.whole(worker, &assignment);
            self.complete(request).expect("accepted");
            self.act();
        }
        job
    }

    /// Pauses, resumes, cancels or updates a job.
    pub(crate) fn change(&mut self, event: impl FnOnce(ReplyId) -> Event) -> Result<v1::Job, Failure> {
        match self.ask(event) {
            Some(Answer::Changed(job)) => Ok(*job),
            Some(Answer::Refused(failure)) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Backups of several tables of many shards that all dump, one after the other made ready and paused meanwhile.
    pub(crate) fn all_dumping(&mut self, worker: &str, specs: Vec<v1::JobSpec>) -> Vec<String> {
        let mut jobs = Vec::new();
        for (number, spec) in specs.into_iter().enumerate() {
            let job = self.dumping_job(&format!("k{number}"), worker, spec);
            self.change(|reply| Event::Pause(reply, job.clone())).expect("paused");
            jobs.push(job);
        }
        for job in &jobs {
            self.change(|reply| Event::Resume(reply, job.clone())).expect("resumed");
        }
        jobs
    }
}

/// A worker with eight slots that reaches the cluster.
pub(crate) fn hello(worker: &str) -> v1::WorkerHello {
    v1::WorkerHello {
        worker_id: worker.into(),
        name: worker.into(),
        slots: 8,
        clusters: vec!["prod".into()],
        ..v1::WorkerHello::default()
    }
}

/// The progress of a lease that has counted no row yet.
pub(crate) fn renewal(assignment: &v1::Assignment) -> v1::LeaseProgress {
    v1::LeaseProgress { lease: assignment.lease.clone(), ..v1::LeaseProgress::default() }
}

/// Everything that an assignment asks for, in one message: each segment `s` of a dump has one chunk of `s + 1` rows, but
/// every fifth is empty.
pub(crate) fn whole(worker: &str, assignment: &v1::Assignment, cluster: &v1::InspectResult) -> v1::CompleteRequest {
    use v1::assignment::Work;
    let mut request = v1::CompleteRequest {
        worker_id: worker.into(),
        lease: assignment.lease.clone(),
        ended: true,
        ..v1::CompleteRequest::default()
    };
    match assignment.work.as_ref().expect("work") {
        Work::Inspect(_) => request.inspected = Some(cluster.clone()),
        Work::Capture(_) => {
            request.captured =
                Some(v1::CaptureResult { schema_identity: vec![7; 32].into(), ..v1::CaptureResult::default() });
        }
        Work::Apply(_) => request.applied = Some(v1::ApplyResult::default()),
        Work::Dump(shard) => {
            let segments = shard.segment_first..shard.segment_first + shard.segments;
            let name = shard.table.as_ref().and_then(|table| table.table.clone()).expect("a name").table;
            request.segments = segments.map(|segment| segment_done(&name, segment, true)).collect();
        }
        Work::Restore(shard) => request.chunks = shard.chunks.iter().map(chunk_done).collect(),
        Work::Verify(shard) => {
            let segments = shard.segment_first..shard.segment_first + shard.segments;
            request.verified = segments
                .map(|segment| v1::SegmentVerified { segment, equal: true, ..v1::SegmentVerified::default() })
                .collect();
        }
    }
    request
}

/// A dumped segment of the model.
pub(crate) fn segment_done(table: &str, segment: u64, closed: bool) -> v1::SegmentDone {
    let chunks = if segment % 5 == 4 { Vec::new() } else { vec![chunk_of(table, segment, 0, segment + 1)] };
    v1::SegmentDone { segment, chunks, closed }
}

/// A restored chunk of which no row is missing.
pub(crate) fn chunk_done(chunk: &v1::Chunk) -> v1::ChunkDone {
    let rows = chunk.rows + chunk.static_rows;
    v1::ChunkDone { segment: chunk.segment, part: chunk.part, rows, ..v1::ChunkDone::default() }
}
