//! A worker with a coordinator that does as the tests say, over real gRPC. Its work needs no database: segments without
//! chunks, verified against a repository, each of which takes one `Complete`.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::StreamExt;
use futures::stream::BoxStream;
use ringvault_archive::repository::Repository;
use ringvault_proto::v1::fleet_server::{Fleet, FleetServer};
use ringvault_runtime::{
    clock::SystemClock,
    net::{self, Listener},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::{Request, Response, Status, Streaming, service::Routes};

use super::*;
use crate::cql::profile::ClusterProfile;

const TTL_MS: u64 = 30_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// The machine's clock, moved ahead by the tests: as a process sees it that stood still.
#[derive(Debug)]
struct Jumping(SystemClock, AtomicU64);

impl Clock for Jumping {
    fn now(&self) -> Duration {
        self.0.now() + Duration::from_millis(self.1.load(Ordering::SeqCst))
    }

    fn unix_ms(&self) -> u64 {
        self.0.unix_ms()
    }
}

/// What the coordinator has heard, and what it is to say.
#[derive(Default)]
struct Said {
    reports: Vec<v1::AttendRequest>,
    polls: usize,
    completed: Vec<(u64, u64)>,
    returned: Vec<v1::ReturnRequest>,
    failed: Vec<String>,
    /// Leases that reports no longer renew.
    lost: Vec<v1::LeaseId>,
    /// Given out with the next polls.
    work: Vec<v1::Assignment>,
    drain: bool,
    undrain: bool,
}

/// A coordinator of the tests. Its state outlives its server, as a journal would.
#[derive(Clone)]
struct Fake {
    said: Arc<Mutex<Said>>,
    /// Whether completions are answered.
    answers: watch::Sender<bool>,
}

impl Fake {
    fn new() -> Self {
        Self { said: Arc::default(), answers: watch::channel(true).0 }
    }

    fn said<T>(&self, look: impl FnOnce(&mut Said) -> T) -> T {
        look(&mut self.said.lock().expect("no test panics in it"))
    }

    /// Waits until something is so.
    async fn until(&self, what: &str, so: impl Fn(&Said) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !self.said(|said| so(said)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let came = waited.await.is_ok();
        let failed = self.said(|said| said.failed.clone());
        assert!(came, "nothing came of it: {what}; failures told: {failed:?}");
    }
}

#[tonic::async_trait]
impl Fleet for Server {
    type AttendStream = BoxStream<'static, Result<v1::AttendResponse, Status>>;

    async fn attend(
        &self,
        request: Request<Streaming<v1::AttendRequest>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        let (fake, gone, known) = (self.fake.clone(), self.gone.clone(), self.known.clone());
        let answers = request.into_inner().take_until(gone.cancelled_owned()).map(move |report| {
            let report = report?;
            known.cancel();
            let answer = fake.said(|said| {
                let leases = report.leases.iter().filter_map(|progress| progress.lease.clone());
                let (lost, renewed) = leases.partition(|lease| said.lost.contains(lease));
                v1::AttendResponse {
                    acknowledged: report.sequence,
                    lease_ttl_ms: TTL_MS,
                    renewed,
                    lost,
                    drain: said.drain,
                    undrain: said.undrain,
                    allowances: Vec::new(),
                }
            });
            fake.said(|said| said.reports.push(report));
            Ok(answer)
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn lease(&self, request: Request<v1::LeaseRequest>) -> Result<Response<v1::LeaseResponse>, Status> {
        if !self.known.is_cancelled() {
            return Err(Status::unavailable("attend first"));
        }
        self.fake.said(|said| said.polls += 1);
        for _ in 0..20 {
            let most = request.get_ref().assignments_max as usize;
            let work = self.fake.said(|said| {
                let most = most.min(said.work.len());
                said.work.drain(..most).collect::<Vec<_>>()
            });
            if !work.is_empty() {
                return Ok(Response::new(v1::LeaseResponse { assignments: work, ..Default::default() }));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Response::new(Default::default()))
    }

    async fn complete(&self, request: Request<v1::CompleteRequest>) -> Result<Response<v1::CompleteResponse>, Status> {
        let mut answers = self.fake.answers.subscribe();
        let answered = async { answers.wait_for(|answers| *answers).await.is_ok() };
        tokio::select! {
            biased;
            () = self.gone.cancelled() => return Err(Status::unavailable("gone")),
            _ = answered => {}
        }
        let request = request.into_inner();
        let epoch = request.lease.map_or(0, |lease| lease.epoch);
        self.fake.said(|said| {
            said.completed.extend(request.verified.iter().map(|segment| (epoch, segment.segment)));
        });
        Ok(Response::new(v1::CompleteResponse { ended: request.ended }))
    }

    async fn fail(&self, request: Request<v1::FailRequest>) -> Result<Response<v1::FailResponse>, Status> {
        let failure = request.into_inner().failure.unwrap_or_default();
        self.fake.said(|said| said.failed.push(failure.message));
        Ok(Response::new(Default::default()))
    }

    async fn r#return(&self, request: Request<v1::ReturnRequest>) -> Result<Response<v1::ReturnResponse>, Status> {
        self.fake.said(|said| said.returned.push(request.into_inner()));
        Ok(Response::new(Default::default()))
    }
}

/// One life of the coordinator's process.
struct Server {
    fake: Fake,
    gone: CancellationToken,
    /// The worker has attended in this life.
    known: CancellationToken,
}

struct Serving {
    gone: CancellationToken,
    task: JoinHandle<()>,
}

impl Serving {
    async fn start(fake: &Fake, address: SocketAddr) -> (Self, SocketAddr) {
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let address = listener.local_addr().expect("bound");
        let gone = CancellationToken::new();
        let server = Server { fake: fake.clone(), gone: gone.clone(), known: CancellationToken::new() };
        let routes = Routes::new(FleetServer::new(server));
        let shutdown = gone.clone();
        let task = tokio::spawn(async move {
            let _ = net::serve(Listener::Tcp(listener), routes, ringvault_proto::v1::DESCRIPTOR_SET, shutdown).await;
        });
        (Self { gone, task }, address)
    }

    /// The process dies: nothing is answered any more.
    async fn kill(self) {
        self.gone.cancel();
        self.task.abort();
        let _ = self.task.await;
    }
}

struct Bench {
    fake: Fake,
    serving: Serving,
    address: SocketAddr,
    clock: Arc<Jumping>,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), Failure>>,
    directory: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let location = directory.path().to_str().expect("text").parse().expect("a location");
        Repository::open_or_create(&location).await.expect("a repository");
        let fake = Fake::new();
        let (serving, address) = Serving::start(&fake, "127.0.0.1:0".parse().expect("an address")).await;
        let clock = Arc::new(Jumping(SystemClock::new(), AtomicU64::new(0)));
        let settings = Settings {
            name: "w".into(),
            slots: 2,
            memory_bytes_max: None,
            data_center: String::new(),
            clusters: [("c".to_owned(), ClusterProfile::of_hosts(["127.0.0.1"]))].into(),
            repositories: BTreeMap::new(),
        };
        let components = Components { clock: clock.clone(), entropy: Entropy::seeded(1) };
        let channel = net::connect(&format!("http://{address}"), None).expect("an address");
        let shutdown = CancellationToken::new();
        let worker = tokio::spawn(run(settings, components, channel, shutdown.clone()));
        Self { fake, serving, address, clock, shutdown, worker, directory }
    }

    /// Work of so many segments.
    fn work(&self, epoch: u64, segments: u64) -> v1::Assignment {
        let column = v1::Column {
            name: "k".into(),
            kind: v1::ColumnKind::PartitionKey.into(),
            r#type: "int".into(),
            reversed: false,
        };
        let work = v1::VerifyShard {
            against: v1::verify_shard::Against::Repository.into(),
            table: Some(v1::InspectedTable {
                table: Some(v1::TableName { keyspace: "ks".into(), table: "t".into() }),
                columns: vec![column],
                ..Default::default()
            }),
            grid_exponent: 10,
            segments,
            ..Default::default()
        };
        v1::Assignment {
            lease: Some(lease(epoch)),
            job_id: "job".into(),
            lease_ttl_ms: TTL_MS,
            cluster: "c".into(),
            repository: self.directory.path().to_str().expect("text").into(),
            work: Some(v1::assignment::Work::Verify(work)),
            ..Default::default()
        }
    }

    /// Gives work out and waits until its first piece is told, which is not answered.
    async fn hold_work(&self, epoch: u64, segments: u64) {
        self.fake.answers.send_replace(false);
        let work = self.work(epoch, segments);
        self.fake.said(|said| said.work.push(work));
        self.fake.until("the lease is reported", |said| said.reports.iter().any(|report| names(report, epoch))).await;
    }

    async fn end(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.worker).await;
        ended.expect("it ends").expect("no panic").expect("no failure");
        self.serving.kill().await;
    }
}

fn lease(epoch: u64) -> v1::LeaseId {
    v1::LeaseId { assignment_id: "job-1".into(), epoch }
}

fn names(report: &v1::AttendRequest, epoch: u64) -> bool {
    report.leases.iter().any(|progress| progress.lease == Some(lease(epoch)))
}

fn last_report(said: &Said) -> &v1::AttendRequest {
    said.reports.last().expect("it has reported")
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_done_piece_by_piece_and_drains_by_order() {
    let bench = Bench::start().await;
    bench.fake.said(|said| said.work.push(bench.work(1, 3)));
    bench.fake.until("all pieces are told", |said| said.completed == [(1, 0), (1, 1), (1, 2)]).await;

    bench.hold_work(2, 2).await;
    bench.fake.said(|said| said.drain = true);
    bench.fake.until("it says that it drains", |said| last_report(said).draining).await;
    bench.fake.said(|said| said.drain = false);
    bench.fake.answers.send_replace(true);
    bench.fake.until("what it held is finished", |said| said.completed.len() == 5).await;
    tokio::time::sleep(Duration::from_millis(500)).await; // an older poll ends
    let polls = bench.fake.said(|said| {
        said.work.push(bench.work(3, 1));
        said.polls
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bench.fake.said(|said| assert_eq!((said.polls, last_report(said).draining), (polls, true)));

    bench.fake.said(|said| said.undrain = true);
    bench.fake.until("it takes work again", |said| said.completed.last() == Some(&(3, 0))).await;
    bench.fake.said(|said| assert!(!last_report(said).draining));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_returns_its_leases_though_its_work_hangs() {
    let bench = Bench::start().await;
    bench.hold_work(1, 2).await;
    let fake = bench.fake.clone();
    bench.end().await;
    fake.said(|said| {
        let returned: Vec<_> = said.returned.iter().map(|request| (request.leases.clone(), request.leaving)).collect();
        assert_eq!(returned, [(vec![lease(1)], true)]);
        assert_eq!(said.completed, []);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_although_its_coordinator_is_gone() {
    let bench = Bench::start().await;
    bench.hold_work(1, 2).await;
    let Bench { serving, shutdown, worker, .. } = bench;
    serving.kill().await;
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, worker).await.expect("it ends").expect("no panic").expect("no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_under_its_lease_when_the_coordinator_comes_back() {
    let mut bench = Bench::start().await;
    bench.hold_work(1, 3).await;
    let before = bench.fake.said(|said| said.reports.len());
    bench.serving.kill().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    bench.fake.answers.send_replace(true);
    (bench.serving, _) = Serving::start(&bench.fake, bench.address).await;
    bench.fake.until("all pieces are told once", |said| said.completed == [(1, 0), (1, 1), (1, 2)]).await;
    bench.fake.until("it attends again", |said| said.reports.len() > before).await;
    bench.fake.said(|said| said.work.push(bench.work(2, 1)));
    bench.fake.until("it asks for work again", |said| said.completed.last() == Some(&(2, 0))).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_beyond_its_lease_tells_nothing_more() {
    let bench = Bench::start().await;
    bench.hold_work(1, 3).await;
    bench.clock.1.store(TTL_MS, Ordering::SeqCst);
    bench.fake.answers.send_replace(true);
    bench.fake.until("it no longer names the lease", |said| last_report(said).leases.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await; // a poll of before ends
    // at most the piece that was under way when it stood still
    bench.fake.said(|said| {
        assert!(said.completed.len() <= 1, "{:?}", said.completed);
        said.work.push(bench.work(2, 1));
    });
    bench.fake.until("it goes on with a later lease", |said| said.completed.contains(&(2, 0))).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_is_abandoned_and_a_later_one_of_the_same_work_is_not() {
    let bench = Bench::start().await;
    bench.hold_work(1, 2).await;
    bench.fake.said(|said| said.work.push(bench.work(2, 2)));
    bench.fake.until("the later lease is held", |said| names(last_report(said), 2)).await;
    bench.fake.said(|said| said.lost.push(lease(1)));
    bench.fake.answers.send_replace(true);
    bench.fake.until("the later lease's work is done", |said| said.completed.contains(&(2, 1))).await;
    bench.fake.said(|said| said.lost.push(lease(3)));
    bench.fake.answers.send_replace(false);
    bench.fake.said(|said| said.work.push(bench.work(3, 2)));
    let given_up = |said: &Said| said.reports.iter().any(|report| names(report, 3)) && !names(last_report(said), 3);
    bench.fake.until("a lost lease is given up", given_up).await;
    bench.fake.said(|said| assert!(!said.completed.iter().any(|(epoch, _)| *epoch == 3)));
    bench.end().await;
}
