//! A coordinator behind real gRPC over the in-memory transport, with a real repository in a directory, a journal on
//! disk, and a worker made of a client. No database: what such a worker dumps is made up.

use std::{path::Path, sync::Arc, time::Duration};

use ringvault_archive::{
    digest::Identity,
    names::{ChunkAddress, data_object},
    repository::{Location, Repository},
    schema::{SchemaDocument, SchemaKind, SchemaObject},
};
use ringvault_coordinator::{Components, Coordinator, Handle, Journal, Settings};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    ids::BackupId,
    pattern::Patterns,
    v1::{self, JobState, admin_client::AdminClient, assignment::Work, fleet_client::FleetClient, job_spec},
};
use ringvault_runtime::{
    clock::SystemClock,
    entropy::Entropy,
    net::{self, Channel},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// A coordinator's process.
struct Process {
    channel: Channel,
    handle: Option<Handle>,
    shutdown: CancellationToken,
}

impl Process {
    fn start(settings: Settings, state: &Path) -> Self {
        let shutdown = CancellationToken::new();
        let components = Components {
            clock: Arc::new(SystemClock::new()),
            entropy: Entropy::from_os(),
            journal: Journal::open(state).expect("a journal"),
        };
        let handle = Coordinator::start(settings, components, &shutdown).expect("a coordinator");
        let routes = Routes::new(handle.admin_service()).add_service(handle.fleet_service());
        let (ours, listener) = net::in_memory();
        tokio::spawn(net::serve(listener, routes, v1::DESCRIPTOR_SET, shutdown.clone()));
        Self { channel: ours.channel(), handle: Some(handle), shutdown }
    }

    fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let handle = self.handle.take().expect("stopped once");
        handle.stopped().await.expect("a clean end");
    }
}

/// Does all work it is given until the test drops it.
fn start_worker(channel: Channel, repository: &Path) -> CancellationToken {
    let ended = CancellationToken::new();
    let repository: Location = repository.display().to_string().parse().expect("a location");
    let until = ended.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = until.cancelled() => {}
            result = work(channel, repository) => result.expect("a worker"),
        }
    });
    ended
}

async fn work(channel: Channel, location: Location) -> Result<(), Failure> {
    let mut fleet = FleetClient::new(channel);
    let (reports, stream) = tokio::sync::mpsc::channel(1);
    let hello = v1::WorkerHello {
        worker_id: "w1".into(),
        name: "w1".into(),
        slots: 2,
        clusters: vec!["prod".into()],
        ..v1::WorkerHello::default()
    };
    reports.send(v1::AttendRequest { hello: Some(hello), ..v1::AttendRequest::default() }).await.expect("a stream");
    let mut answers = fleet.attend(ReceiverStream::new(stream)).await.map_err(|e| Failure::of_status(&e))?.into_inner();
    answers.message().await.expect("an answer").expect("not ended");
    let mut proofs = Vec::new();
    loop {
        let request = v1::LeaseRequest {
            worker_id: "w1".into(),
            assignments_max: 2,
            wait_ms: 5000,
            proofs: std::mem::take(&mut proofs),
        };
        let response = fleet.lease(request).await.map_err(|e| Failure::of_status(&e))?.into_inner();
        for probe in response.probes {
            let repository = Repository::open(&location).await?;
            let nonce = repository.read_probe(&probe.job_id.parse().expect("an id")).await?;
            proofs.push(v1::Proof { job_id: probe.job_id, nonce, failure: None });
        }
        for assignment in response.assignments {
            let request = perform(&location, &assignment).await?;
            fleet.complete(request).await.map_err(|e| Failure::of_status(&e))?;
        }
    }
}

async fn perform(location: &Location, assignment: &v1::Assignment) -> Result<v1::CompleteRequest, Failure> {
    let mut request = v1::CompleteRequest {
        worker_id: "w1".into(),
        lease: assignment.lease.clone(),
        ended: true,
        ..v1::CompleteRequest::default()
    };
    match assignment.work.as_ref().expect("work") {
        Work::Inspect(_) => request.inspected = Some(inspected()),
        Work::Capture(capture) => request.captured = Some(write_schema(location, &capture.backup_id).await?),
        Work::Apply(_) => request.applied = Some(v1::ApplyResult::default()),
        Work::Dump(shard) => {
            for segment in shard.segment_first..shard.segment_first + shard.segments {
                let chunks = vec![write_chunk(location, shard, segment).await?];
                request.segments.push(v1::SegmentDone { segment, chunks, closed: true });
            }
        }
        Work::Restore(shard) => {
            request.chunks = shard
                .chunks
                .iter()
                .map(|chunk| v1::ChunkDone {
                    segment: chunk.segment,
                    part: chunk.part,
                    rows: chunk.rows + chunk.static_rows,
                    ..v1::ChunkDone::default()
                })
                .collect();
        }
        Work::Verify(shard) => {
            request.verified = (shard.segment_first..shard.segment_first + shard.segments)
                .map(|segment| v1::SegmentVerified { segment, equal: true, ..v1::SegmentVerified::default() })
                .collect();
        }
    }
    Ok(request)
}

fn inspected() -> v1::InspectResult {
    let column = |name: &str, kind: v1::ColumnKind| v1::Column {
        name: name.into(),
        kind: kind.into(),
        r#type: "int".into(),
        reversed: false,
    };
    v1::InspectResult {
        cluster_name: "Test Cluster".into(),
        server_version: "5.0.6".into(),
        nodes: vec![v1::InspectedNode { data_center: "dc1".into(), up: true, ..v1::InspectedNode::default() }],
        tables: vec![v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "shop".into(), table: "orders".into() }),
            table_id: "00000000-0000-0000-0000-000000000001".into(),
            fingerprint: "f".into(),
            columns: vec![column("id", v1::ColumnKind::PartitionKey), column("n", v1::ColumnKind::Regular)],
            bytes_estimated: 32 << 20,
            estimated_by: "size_estimates".into(),
            ..v1::InspectedTable::default()
        }],
        keyspaces: vec!["shop".into()],
        ..v1::InspectResult::default()
    }
}

async fn write_schema(location: &Location, backup: &str) -> Result<v1::CaptureResult, Failure> {
    let object = |kind, name: &str, table: Option<&str>, cql: &str| SchemaObject {
        kind,
        keyspace: "shop".into(),
        name: name.into(),
        table: table.map(str::to_owned),
        cql: cql.into(),
    };
    let schema = SchemaDocument {
        keyspaces: vec!["shop".into()],
        server_version: "5.0.6".into(),
        objects: vec![
            object(SchemaKind::Keyspace, "shop", None, "CREATE KEYSPACE shop WITH replication = {}"),
            object(SchemaKind::Table, "orders", None, "CREATE TABLE shop.orders (id int PRIMARY KEY, n int)"),
        ],
    };
    let id: BackupId = backup.parse().expect("an id");
    let record = Repository::open(location).await?.write_schema(&id, &schema).await?;
    Ok(v1::CaptureResult {
        schema_identity: record.identity.0.to_vec().into(),
        schema_bytes: record.encoded_bytes,
        objects: 2,
        warnings: vec![],
    })
}

/// An object with the name and length of a chunk; nobody in these tests reads its bytes.
async fn write_chunk(location: &Location, shard: &v1::DumpShard, segment: u64) -> Result<v1::Chunk, Failure> {
    let stored = format!("rows of segment {segment}");
    let identity = Identity::of(stored.as_bytes());
    let grid = Grid::try_from(shard.grid_exponent).expect("small");
    let address = ChunkAddress { keyspace: "shop", table: "orders", grid, segment, part: 0 };
    let object = data_object(&address, identity, v1::Compression::Zstd, 0);
    let stored_bytes = stored.len() as u64;
    Repository::open(location).await?.put_new(&object, stored.into_bytes().into()).await?;
    Ok(v1::Chunk {
        segment,
        part: 0,
        identity: identity.0.to_vec().into(),
        object,
        compression: v1::Compression::Zstd.into(),
        rows: 3,
        static_rows: 0,
        encoded_bytes: 60,
        stored_bytes,
        value_sum: vec![1; 32].into(),
        time_sum: vec![2; 32].into(),
        ..v1::Chunk::default()
    })
}

fn backup(repository: &Path) -> v1::JobSpec {
    let spec = v1::BackupSpec {
        keyspaces: vec!["shop".into()],
        cluster: "prod".into(),
        repository: repository.display().to_string(),
        ..v1::BackupSpec::default()
    };
    v1::JobSpec { work: Some(job_spec::Work::Backup(spec)), ..v1::JobSpec::default() }
}

fn restore(repository: &Path) -> v1::JobSpec {
    let spec = v1::RestoreSpec {
        keyspaces: vec!["shop".into()],
        cluster: "prod".into(),
        repository: repository.display().to_string(),
        drop: true,
        verify: true,
        ..v1::RestoreSpec::default()
    };
    v1::JobSpec { work: Some(job_spec::Work::Restore(spec)), ..v1::JobSpec::default() }
}

/// Submits a job and watches it to its end.
async fn run(process: &Process, key: &str, spec: v1::JobSpec) -> v1::Job {
    let mut admin = process.admin();
    let request = v1::SubmitRequest { idempotency_key: key.into(), spec: Some(spec), fresh: false };
    let job = admin.submit(request).await.expect("accepted").into_inner().job.expect("a job");
    watch(process, &job.job_id).await
}

async fn watch(process: &Process, job_id: &str) -> v1::Job {
    let request = v1::WatchJobRequest { job_id: job_id.to_owned() };
    let mut states = process.admin().watch_job(request).await.expect("a stream").into_inner();
    let mut last = None;
    let follow = async {
        while let Some(response) = states.message().await.expect("a state") {
            last = response.job;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), follow).await.expect("the stream ends with the job");
    last.expect("at least one state")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_and_its_restore_go_through_every_layer() {
    let (state, repository) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let process = Process::start(Settings::fleet(), state.path());
    let worker = start_worker(process.channel.clone(), repository.path());

    let plan = v1::PlanRequest {
        spec: match backup(repository.path()).work {
            Some(job_spec::Work::Backup(spec)) => Some(spec),
            _ => None,
        },
    };
    let plan = process.admin().plan(plan).await.expect("a plan").into_inner().plan.expect("a plan");
    assert_eq!((plan.tables[0].grid_exponent, plan.tables[0].shards), (3, 4));
    assert_eq!(std::fs::read_dir(repository.path()).expect("read").count(), 0, "a plan writes nothing");

    let made = run(&process, "nightly", backup(repository.path())).await;
    assert_eq!(made.state(), JobState::Done, "{made:?}");
    assert_eq!((made.tables[0].rows, made.tables[0].shards_done), (24, 4));
    let location: Location = repository.path().display().to_string().parse().expect("a location");
    let stored = Repository::open(&location).await.expect("a repository");
    let manifest =
        stored.newest(&Patterns::of_keyspaces(&["shop".to_owned()]).expect("a name")).await.expect("a manifest");
    assert_eq!(manifest.backup_id.as_str(), made.backup_id);
    assert_eq!((manifest.tables[0].sums.rows, manifest.tables[0].chunks), (24, 8));
    assert!(stored.list("probes").await.expect("a list").len() <= 1, "the nonce is removed soon");

    let restored = run(&process, "", restore(repository.path())).await;
    assert_eq!(restored.state(), JobState::Done, "{restored:?}");
    assert_eq!((restored.tables[0].rows, restored.tables[0].rows_expected), (24, 24));

    let spec = v1::VerifySpec {
        cluster: "prod".into(),
        repository: repository.path().display().to_string(),
        ..v1::VerifySpec::default()
    };
    let compared = v1::JobSpec { work: Some(job_spec::Work::Verify(spec)), ..v1::JobSpec::default() };
    let compared = run(&process, "", compared).await;
    assert_eq!(compared.state(), JobState::Done, "{compared:?}");
    assert_eq!((compared.tables[0].segments_verified, compared.tables[0].segments), (8, 8));

    let mut rehearsed = restore(repository.path());
    if let Some(job_spec::Work::Restore(spec)) = &mut rehearsed.work {
        (spec.drop, spec.rehearsal, spec.sample_per_million) = (false, true, 10_000);
    }
    let rehearsed = run(&process, "", rehearsed).await;
    assert_eq!(rehearsed.state(), JobState::Done, "{rehearsed:?}");
    assert_eq!((rehearsed.tables[0].rows, rehearsed.tables[0].rows_expected), (3, 3));
    let target = rehearsed.tables[0].target.clone().expect("elsewhere");
    assert_eq!(target.keyspace, format!("rv_rehearsal_{}", rehearsed.job_id));

    let missing = stored.list("data").await.expect("a list").remove(0).0;
    stored.delete(&missing).await.expect("deleted");
    let failed = run(&process, "", restore(repository.path())).await;
    let failure = failed.failure.expect("a failure");
    assert_eq!(failure.kind(), v1::ErrorKind::Corrupt);
    assert!(failure.message.contains(&missing), "{}", failure.message);

    worker.cancel();
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_coordinator_remembers_and_goes_on() {
    let (state, repository) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let process = Process::start(Settings::fleet(), state.path());
    let request =
        v1::SubmitRequest { idempotency_key: "nightly".into(), spec: Some(backup(repository.path())), fresh: false };
    let job = process.admin().submit(request).await.expect("accepted").into_inner().job.expect("a job");
    process.stop().await;

    let process = Process::start(Settings::fleet(), state.path());
    let worker = start_worker(process.channel.clone(), repository.path());
    let done = watch(&process, &job.job_id).await;
    assert_eq!((done.state(), done.backup_id), (JobState::Done, job.backup_id));
    worker.cancel();
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_coordinator_on_the_same_state_is_refused() {
    let state = tempfile::tempdir().expect("a directory");
    let process = Process::start(Settings::fleet(), state.path());
    assert_eq!(Journal::open(state.path()).expect_err("in use").kind(), ErrorKind::Conflict);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_with_their_kind() {
    let state = tempfile::tempdir().expect("a directory");
    let process = Process::start(Settings::fleet(), state.path());
    let mut admin = process.admin();
    let kind = |status: tonic::Status| Failure::of_status(&status).kind;

    let mut spec = backup(Path::new("/nowhere"));
    if let Some(job_spec::Work::Backup(backup)) = &mut spec.work {
        backup.keyspaces = vec!["system".into()];
    }
    let request = v1::SubmitRequest { spec: Some(spec), ..v1::SubmitRequest::default() };
    assert_eq!(kind(admin.submit(request).await.expect_err("system")), ErrorKind::Invalid);
    let unknown = v1::GetJobRequest { job_id: "nobody".into() };
    assert_eq!(kind(admin.get_job(unknown).await.expect_err("unknown")), ErrorKind::NotFound);
    let outside = v1::WatchJobRequest { job_id: "../x".into() };
    assert_eq!(kind(admin.watch_job(outside).await.expect_err("no id")), ErrorKind::Invalid);
    let page = v1::ListJobsRequest { page_size: 501, page_token: String::new() };
    assert_eq!(kind(admin.list_jobs(page).await.expect_err("too many")), ErrorKind::Invalid);

    let mut fleet = FleetClient::new(process.channel.clone());
    let poll = v1::LeaseRequest { worker_id: "w".into(), assignments_max: 1, wait_ms: 0, proofs: vec![] };
    assert_eq!(kind(fleet.lease(poll).await.expect_err("never attended")), ErrorKind::Unavailable);
    let stale = v1::CompleteRequest {
        worker_id: "w".into(),
        lease: Some(v1::LeaseId { assignment_id: "j.1".into(), epoch: 1 }),
        ended: true,
        ..v1::CompleteRequest::default()
    };
    assert_eq!(kind(fleet.complete(stale).await.expect_err("unknown")), ErrorKind::Fenced);
    process.stop().await;
}
