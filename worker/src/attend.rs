//! The loop of a worker: one task owns the lease keeper and the running work. It reports, asks for work while slots are
//! free, starts it, abandons it when its lease is lost, and gives everything back when it stops.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use ringvault_proto::{
    error::{Failure, Verdict},
    v1,
};
use ringvault_runtime::{clock::Clock, entropy::Entropy, retry::Backoff, tasks::Tasks};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::{
    execute::{self, Progress},
    lease_keeper::{Action, Event, Lease, LeaseKeeper},
    link::{Link, Reporter, lease_of},
    places::Places,
    settings::Settings,
};

/// The TTL before the coordinator says its own.
const TTL_ASSUMED: Duration = Duration::from_secs(30);
/// How long one poll for work may wait.
const POLL_MS: u64 = 20_000;
/// How long running work may take to end once it was told to.
const DRAIN_GRACE: Duration = Duration::from_secs(10);
/// How often progress is reported while work runs; leases need it only at a third of the TTL.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Reports that may wait to be sent.
const REPORTS_QUEUED_MAX: usize = 4;

/// What a worker is given to work with.
#[derive(Clone, Debug)]
pub struct Components {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Entropy,
}

/// Runs a worker until `shutdown`, then gives its leases back. A coordinator that can't be reached is waited for.
///
/// # Errors
/// Where the settings are invalid.
pub async fn run(
    settings: Settings,
    components: Components,
    channel: tonic::transport::Channel,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    settings.validate()?;
    let worker_id = components.entropy.uuid().to_string();
    tracing::info!(%worker_id, name = settings.name, slots = settings.slots, "worker starts");
    let link = Link::new(channel, &worker_id, components.entropy.clone());
    let places = Arc::new(Places::new(&settings));
    let tasks = Tasks::under(&shutdown);
    let (events, mailbox) = mpsc::channel(64);
    let worker = Attendance {
        hello: hello(&settings, &worker_id),
        keeper: LeaseKeeper::new(TTL_ASSUMED),
        running: BTreeMap::new(),
        proofs: Vec::new(),
        sequence: 0,
        stream: None,
        reconnects: 0,
        reconnect_at: Duration::ZERO,
        polling: None,
        poll_at: Duration::ZERO,
        polls_failed: 0,
        progress_at: Duration::ZERO,
        draining: false,
        slots: usize::try_from(settings.slots).expect("at most SLOTS_MAX"),
        components,
        link,
        places,
        tasks,
        events,
    };
    worker.attend(mailbox, shutdown).await;
    Ok(())
}

fn hello(settings: &Settings, worker_id: &str) -> v1::WorkerHello {
    v1::WorkerHello {
        worker_id: worker_id.to_owned(),
        name: settings.name.clone(),
        slots: settings.slots,
        data_center: settings.data_center.clone(),
        clusters: settings.clusters.keys().cloned().collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What the loop's own tasks tell it.
enum News {
    Leased(Result<v1::LeaseResponse, Failure>),
    Proved(Vec<v1::Proof>),
    Ended(Lease),
}

/// What the loop waits for.
enum Wake {
    Shutdown,
    News(News),
    Answer(Option<Result<v1::AttendResponse, Failure>>),
    Tick,
}

struct Running {
    lease: Lease,
    progress: Arc<Progress>,
    cancelled: CancellationToken,
}

struct AttendStream {
    reports: mpsc::Sender<v1::AttendRequest>,
    answers: BoxStream<'static, Result<v1::AttendResponse, Failure>>,
}

struct Attendance {
    hello: v1::WorkerHello,
    keeper: LeaseKeeper,
    running: BTreeMap<String, Running>,
    proofs: Vec<v1::Proof>,
    sequence: u64,
    stream: Option<AttendStream>,
    reconnects: u32,
    reconnect_at: Duration,
    polling: Option<JoinHandle<()>>,
    poll_at: Duration,
    polls_failed: u32,
    progress_at: Duration,
    draining: bool,
    slots: usize,
    components: Components,
    link: Link,
    places: Arc<Places>,
    tasks: Tasks,
    events: mpsc::Sender<News>,
}

impl Attendance {
    async fn attend(mut self, mut mailbox: mpsc::Receiver<News>, shutdown: CancellationToken) {
        loop {
            self.connect();
            self.poll();
            match self.wait(&mut mailbox, &shutdown).await {
                Wake::Shutdown => break,
                Wake::News(news) => self.hear(news),
                Wake::Answer(answer) => self.answered(answer),
                Wake::Tick => self.tick(),
            }
        }
        self.leave().await;
    }

    async fn wait(&mut self, mailbox: &mut mpsc::Receiver<News>, shutdown: &CancellationToken) -> Wake {
        let pause = self.pause();
        let answer = async {
            match self.stream.as_mut() {
                Some(stream) => stream.answers.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => Wake::Shutdown,
            Some(news) = mailbox.recv() => Wake::News(news),
            answer = answer => Wake::Answer(answer),
            () = tokio::time::sleep(pause) => Wake::Tick,
        }
    }

    /// Until the next thing that time alone brings.
    fn pause(&self) -> Duration {
        let now = self.components.clock.now();
        let reconnect = self.stream.is_none().then_some(self.reconnect_at);
        let poll = (self.polling.is_none() && self.poll_at > now).then_some(self.poll_at);
        let progress = (!self.running.is_empty()).then_some(self.progress_at);
        let next = [self.keeper.next_tick(), reconnect, poll, progress].into_iter().flatten().min();
        next.map_or(PROGRESS_EVERY, |at| at.saturating_sub(now)).clamp(Duration::from_millis(5), PROGRESS_EVERY * 5)
    }

    /// Opens the Attend stream where there is none; tonic connects lazily, so a failure shows as a broken stream.
    fn connect(&mut self) {
        let now = self.components.clock.now();
        if self.stream.is_some() || now < self.reconnect_at {
            return;
        }
        let (reports, outgoing) = mpsc::channel(REPORTS_QUEUED_MAX);
        let mut client = self.link.client();
        let opening = async move {
            client.attend(ReceiverStream::new(outgoing)).await.map_err(|status| Failure::of_status(&status))
        };
        let answers = futures::stream::once(opening)
            .flat_map(|opened| match opened {
                Ok(answer) => {
                    answer.into_inner().map(|item| item.map_err(|status| Failure::of_status(&status))).boxed()
                }
                Err(failure) => futures::stream::once(async { Err(failure) }).boxed(),
            })
            .boxed();
        self.stream = Some(AttendStream { reports, answers });
        self.report();
    }

    /// Asks for work while slots are free; one poll at a time.
    fn poll(&mut self) {
        let free = self.slots.saturating_sub(self.running.len());
        let idle = self.polling.as_ref().is_none_or(JoinHandle::is_finished);
        if self.draining || free == 0 || !idle || self.components.clock.now() < self.poll_at {
            return;
        }
        let request = v1::LeaseRequest {
            worker_id: self.link.worker_id(),
            assignments_max: u32::try_from(free).unwrap_or(u32::MAX),
            wait_ms: POLL_MS,
            proofs: std::mem::take(&mut self.proofs),
        };
        let (link, events) = (self.link.clone(), self.events.clone());
        let cancelled = self.tasks.cancelled().clone();
        self.polling = Some(self.tasks.spawn(async move {
            tokio::select! {
                answer = link.lease(request) => drop(events.send(News::Leased(answer)).await),
                () = cancelled.cancelled() => {}
            }
        }));
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Leased(Ok(answer)) => {
                self.polling = None;
                self.polls_failed = 0;
                for assignment in answer.assignments {
                    self.start(assignment);
                }
                if !answer.probes.is_empty() {
                    self.prove(answer.probes);
                }
            }
            News::Leased(Err(failure)) => {
                self.polling = None;
                self.poll_at =
                    self.components.clock.now() + Backoff::peer().pause(self.polls_failed, self.link.entropy());
                self.polls_failed += 1;
                if self.polls_failed == 5 {
                    tracing::warn!(error = %failure, "the coordinator does not answer; trying on");
                }
            }
            News::Proved(proofs) => {
                self.polling = None;
                self.proofs.extend(proofs);
            }
            News::Ended(lease) => {
                self.running.remove(lease.assignment.as_str());
                self.apply(Event::Ended(lease));
            }
        }
    }

    /// Reads the nonces that the coordinator asks for. No poll goes out meanwhile, so the answer comes with the next.
    fn prove(&mut self, probes: Vec<v1::Probe>) {
        let (places, events) = (self.places.clone(), self.events.clone());
        self.poll_at = Duration::ZERO;
        let cancelled = self.tasks.cancelled().clone();
        let prove = async move {
            let mut proofs = Vec::with_capacity(probes.len());
            for probe in probes {
                proofs.push(places.prove(probe).await);
            }
            let _ = events.send(News::Proved(proofs)).await;
        };
        self.polling = Some(self.tasks.spawn(async move {
            tokio::select! {
                () = prove => {}
                () = cancelled.cancelled() => {}
            }
        }));
    }

    fn start(&mut self, assignment: v1::Assignment) {
        let lease = match assignment.lease.as_ref().map(lease_of) {
            Some(Ok(lease)) => lease,
            Some(Err(failure)) => return tracing::error!(error = %failure, "refused an assignment"),
            None => return tracing::error!("refused an assignment without a lease"),
        };
        let ttl = Duration::from_millis(assignment.lease_ttl_ms.max(1));
        let cancelled = self.tasks.cancelled().child_token();
        let progress = Arc::new(Progress::default());
        let running = Running { lease: lease.clone(), progress: progress.clone(), cancelled: cancelled.clone() };
        if let Some(older) = self.running.insert(lease.assignment.to_string(), running) {
            older.cancelled.cancel();
        }
        self.apply(Event::Granted { lease: lease.clone(), ttl });
        let reporter = Reporter::new(self.link.clone(), lease.clone(), cancelled.clone());
        let context = execute::Context {
            places: self.places.clone(),
            clock: self.components.clock.clone(),
            entropy: self.components.entropy.clone(),
            tasks: self.tasks.clone(),
            progress,
            reporter,
        };
        let (link, events, clock) = (self.link.clone(), self.events.clone(), self.components.clock.clone());
        self.tasks.spawn(async move {
            let began = clock.now();
            let outcome = tokio::select! {
                outcome = execute::execute(context, assignment) => outcome,
                () = cancelled.cancelled() => Err(crate::link::abandoned()),
            };
            let took = clock.now().saturating_sub(began);
            tracing::debug!(assignment = %lease.assignment, ?took, ok = outcome.is_ok(), "work ended");
            if let Err(failure) = outcome {
                tell(&link, &lease, failure, &cancelled).await;
            }
            let _ = events.send(News::Ended(lease)).await;
        });
    }

    fn apply(&mut self, event: Event) {
        let now = self.components.clock.now();
        for action in self.keeper.apply(now, event) {
            match action {
                Action::Report => self.report(),
                Action::Abandon(lease) => {
                    if let Some(running) = self.running.get(lease.assignment.as_str())
                        && running.lease == lease
                    {
                        tracing::info!(assignment = %lease.assignment, epoch = %lease.epoch, "lease lost, work abandoned");
                        running.cancelled.cancel();
                    }
                }
            }
        }
    }

    fn report(&mut self) {
        let Some(stream) = self.stream.as_ref() else { return };
        let sequence = self.sequence + 1;
        let report = v1::AttendRequest {
            hello: Some(self.hello.clone()),
            sequence,
            leases: self.running.values().map(|running| running.progress.message(&running.lease)).collect(),
            draining: self.draining,
        };
        if stream.reports.try_send(report).is_ok() {
            self.sequence = sequence;
            self.progress_at = self.components.clock.now() + PROGRESS_EVERY;
            let now = self.components.clock.now();
            self.keeper.apply(now, Event::Reported { sequence });
        }
    }

    fn answered(&mut self, answer: Option<Result<v1::AttendResponse, Failure>>) {
        let failure = match answer {
            Some(Ok(answer)) => {
                self.reconnects = 0;
                return self.acknowledged(&answer);
            }
            Some(Err(failure)) => Some(failure),
            None => None,
        };
        tracing::debug!(error = ?failure, "the link to the coordinator broke; connecting again");
        self.stream = None;
        self.reconnect_at = self.components.clock.now() + Backoff::peer().pause(self.reconnects, self.link.entropy());
        self.reconnects = self.reconnects.saturating_add(1);
    }

    fn acknowledged(&mut self, answer: &v1::AttendResponse) {
        let leases = |messages: &[v1::LeaseId]| messages.iter().filter_map(|lease| lease_of(lease).ok()).collect();
        self.draining |= answer.drain;
        let event = Event::Acknowledged {
            sequence: answer.acknowledged,
            renewed: leases(&answer.renewed),
            lost: leases(&answer.lost),
            ttl: Duration::from_millis(answer.lease_ttl_ms.max(1)),
        };
        self.apply(event);
    }

    fn tick(&mut self) {
        self.apply(Event::Tick);
        if !self.running.is_empty() && self.components.clock.now() >= self.progress_at {
            self.report();
        }
    }

    /// Stops all work, waits for it, and gives its leases back.
    async fn leave(mut self) {
        let leases: Vec<Lease> = self.running.values().map(|running| running.lease.clone()).collect();
        self.stream = None;
        if !self.tasks.drain(DRAIN_GRACE).await {
            tracing::warn!("some work did not end in time; its leases end by themselves");
        }
        let _ = tokio::time::timeout(DRAIN_GRACE, self.link.give_back(&leases, true)).await;
        tracing::info!(leases = leases.len(), "worker has left");
    }
}

/// Tells the coordinator how work ended early, unless nobody waits for it any more.
async fn tell(link: &Link, lease: &Lease, failure: Failure, cancelled: &CancellationToken) {
    match failure.kind.verdict() {
        Verdict::Abandon => {}
        Verdict::Retry | Verdict::Stop => {
            tracing::info!(error = %failure, assignment = %lease.assignment, "work failed");
            link.fail(lease, failure, cancelled).await;
        }
    }
}
