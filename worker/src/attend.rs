//! The loop of a worker: one task owns the lease keeper and the running work. It reports, asks for work while slots are
//! free, starts it, abandons it when its lease is lost, and gives everything back when it stops.
//!
//! A coordinator that is gone is waited for: running work goes on as long as its leases last, what it finishes is told when
//! the coordinator is back, and no poll goes out before it has answered a report, since one that was started anew knows
//! no worker.

mod stream;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ringvault_proto::{
    error::{Failure, Verdict},
    v1,
};
use ringvault_runtime::{
    clock::Clock,
    entropy::Entropy,
    lease_keeper::{Action, Event, Lease, LeaseKeeper},
    net::Channel,
    retry::Backoff,
    tasks::Tasks,
    telemetry::{self, metrics},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::stream::AttendStream;
use crate::{
    execute::{self, Progress},
    link::{Link, RECONNECT_MAX, Reporter, lease_of},
    memory,
    places::Places,
    settings::Settings,
    watch::LeaseWatch,
};

/// The TTL before the coordinator says its own.
const TTL_ASSUMED: Duration = Duration::from_secs(30);
/// How long one poll for work may wait.
const POLL_MS: u64 = 20_000;
/// How long giving leases back may take, of a worker that stops.
const GIVE_BACK_GRACE: Duration = Duration::from_secs(3);
/// How long threads may take to end once their work was abandoned.
const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// How often progress is reported while work runs; leases need it only at a third of the TTL.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

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
    channel: Channel,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    settings.validate()?;
    let fit = memory::fit(settings.slots, settings.memory_bytes_max)?;
    if let Some(most) = settings.memory_bytes_max {
        let (slots, chunk_bytes_max) = (fit.slots, fit.chunk_bytes_max);
        tracing::info!(memory_bytes_max = most, slots, chunk_bytes_max, "memory is limited");
    }
    let settings = Settings { slots: fit.slots, ..settings };
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
        stream: AttendStream::new(),
        polling: false,
        poll_at: Duration::ZERO,
        polls_failed: 0,
        progress_at: Duration::ZERO,
        draining: false,
        slots: settings.slots,
        chunk_bytes_max: fit.chunk_bytes_max,
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
    /// The answer to a poll, and when that was sent.
    Leased(Duration, Result<v1::LeaseResponse, Failure>),
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
    watch: LeaseWatch,
}

struct Attendance {
    hello: v1::WorkerHello,
    keeper: LeaseKeeper,
    running: BTreeMap<String, Running>,
    proofs: Vec<v1::Proof>,
    sequence: u64,
    stream: AttendStream,
    /// From the question until the loop has heard the answer: what that brings takes slots that look free before.
    polling: bool,
    poll_at: Duration,
    polls_failed: u32,
    progress_at: Duration,
    draining: bool,
    slots: u32,
    chunk_bytes_max: u64,
    components: Components,
    link: Link,
    places: Arc<Places>,
    tasks: Tasks,
    events: mpsc::Sender<News>,
}

impl Attendance {
    async fn attend(mut self, mut mailbox: mpsc::Receiver<News>, shutdown: CancellationToken) {
        loop {
            if self.stream.open(self.now(), &self.link) {
                self.report();
            }
            self.poll();
            let wake = self.wait(&mut mailbox, &shutdown).await;
            if matches!(wake, Wake::Shutdown) {
                break;
            }
            // Whatever woke it: a process that stood still must see first what has ended meanwhile.
            self.tick();
            match wake {
                Wake::News(news) => self.hear(news),
                Wake::Answer(answer) => self.answered(answer),
                Wake::Tick | Wake::Shutdown => {}
            }
        }
        self.leave(mailbox).await;
    }

    async fn wait(&mut self, mailbox: &mut mpsc::Receiver<News>, shutdown: &CancellationToken) -> Wake {
        let pause = self.pause();
        tokio::select! {
            biased; // work that ends since it was told to must not be taken for finished
            () = shutdown.cancelled() => Wake::Shutdown,
            Some(news) = mailbox.recv() => Wake::News(news),
            answer = self.stream.next() => Wake::Answer(answer),
            () = tokio::time::sleep(pause) => Wake::Tick,
        }
    }

    fn now(&self) -> Duration {
        self.components.clock.now()
    }

    /// Until the next thing that time alone brings.
    fn pause(&self) -> Duration {
        let now = self.now();
        let poll = (!self.polling && self.poll_at > now).then_some(self.poll_at);
        let progress = (!self.running.is_empty()).then_some(self.progress_at);
        let next = [self.keeper.next_tick(), self.stream.due(), poll, progress].into_iter().flatten().min();
        next.map_or(PROGRESS_EVERY, |at| at.saturating_sub(now)).clamp(Duration::from_millis(5), PROGRESS_EVERY * 5)
    }

    fn free_slots(&self) -> u32 {
        self.slots.saturating_sub(u32::try_from(self.running.len()).unwrap_or(u32::MAX))
    }

    /// Asks for work while slots are free; one poll at a time.
    fn poll(&mut self) {
        let free = self.free_slots();
        if self.draining || free == 0 || self.polling || !self.stream.is_attended() || self.now() < self.poll_at {
            return;
        }
        let request = v1::LeaseRequest {
            worker_id: self.link.worker_id(),
            assignments_max: free,
            wait_ms: POLL_MS,
            proofs: std::mem::take(&mut self.proofs),
        };
        let (link, events, asked) = (self.link.clone(), self.events.clone(), self.now());
        let cancelled = self.tasks.cancelled().clone();
        self.polling = true;
        self.tasks.spawn(async move {
            tokio::select! {
                answer = link.lease(request) => drop(events.send(News::Leased(asked, answer)).await),
                () = cancelled.cancelled() => {}
            }
        });
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Leased(asked, Ok(answer)) => {
                self.polling = false;
                self.polls_failed = 0;
                let since = asked + Duration::from_millis(answer.waited_ms);
                for assignment in answer.assignments {
                    self.start(assignment, since);
                }
                if !answer.probes.is_empty() {
                    self.prove(answer.probes);
                }
            }
            News::Leased(_, Err(failure)) => {
                self.polling = false;
                let pause = Backoff::peer().pause(self.polls_failed, self.link.entropy()).min(RECONNECT_MAX);
                self.poll_at = self.now() + pause;
                self.polls_failed += 1;
                tracing::debug!(error = %failure, ?pause, "asking for work failed; asking again");
            }
            News::Proved(proofs) => {
                self.polling = false;
                self.proofs.extend(proofs);
            }
            News::Ended(lease) => {
                // a later lease of the same assignment may run already
                if self.running.get(lease.assignment.as_str()).is_some_and(|running| running.lease == lease) {
                    self.running.remove(lease.assignment.as_str());
                }
                metrics::slots(self.slots, self.slots - self.free_slots());
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
        self.polling = true;
        self.tasks.spawn(async move {
            tokio::select! {
                () = prove => {}
                () = cancelled.cancelled() => {}
            }
        });
    }

    /// Begins work whose lease counts from `since`.
    fn start(&mut self, assignment: v1::Assignment, since: Duration) {
        let lease = match assignment.lease.as_ref().map(lease_of) {
            Some(Ok(lease)) => lease,
            Some(Err(failure)) => return tracing::error!(error = %failure, "refused an assignment"),
            None => return tracing::error!("refused an assignment without a lease"),
        };
        if self.running.get(lease.assignment.as_str()).is_some_and(|running| running.lease.epoch >= lease.epoch) {
            return tracing::debug!(assignment = %lease.assignment, "a late repetition of an older grant");
        }
        let ttl = Duration::from_millis(assignment.lease_ttl_ms.max(1));
        let clock = self.components.clock.clone();
        let watch = LeaseWatch::new(clock.clone(), since + ttl * 2 / 3, self.tasks.cancelled().child_token());
        if watch.is_over() {
            return tracing::info!(assignment = %lease.assignment, "a grant came too late; its lease ends by itself");
        }
        let progress = Arc::new(Progress::default());
        let running = Running { lease: lease.clone(), progress: progress.clone(), watch: watch.clone() };
        if let Some(older) = self.running.insert(lease.assignment.to_string(), running) {
            older.watch.end();
        }
        let allowance = assignment.allowance.clone().unwrap_or_default();
        let pace = self.places.pace(&assignment.job_id, &allowance, &clock);
        self.apply(Event::Granted { lease: lease.clone(), ttl, since });
        metrics::slots(self.slots, self.slots - self.free_slots());
        let context = execute::Context {
            places: self.places.clone(),
            pace,
            clock: clock.clone(),
            entropy: self.components.entropy.clone(),
            tasks: self.tasks.clone(),
            progress,
            chunk_bytes_max: self.chunk_bytes_max,
            reporter: Reporter::new(self.link.clone(), lease.clone(), watch.clone()),
        };
        let span = tracing::info_span!(
            "shard",
            job = assignment.job_id,
            assignment = %lease.assignment,
            table = execute::table_of(&assignment),
            epoch = lease.epoch.0,
        );
        telemetry::continue_trace(&span, &assignment.trace_parent);
        let (link, events) = (self.link.clone(), self.events.clone());
        let work = async move {
            let began = clock.now();
            let outcome = Box::pin(watch.guard(execute::execute(context, assignment))).await;
            let took = clock.now().saturating_sub(began);
            tracing::debug!(assignment = %lease.assignment, ?took, ok = outcome.is_ok(), "work ended");
            if let Err(failure) = outcome {
                tell(&link, &lease, failure, &watch).await;
            }
            let _ = events.send(News::Ended(lease)).await;
        };
        self.tasks.spawn(work.instrument(span));
    }

    fn apply(&mut self, event: Event) {
        let now = self.now();
        for action in self.keeper.apply(now, event) {
            match action {
                Action::Report => self.report(),
                Action::Abandon(lease) => {
                    if let Some(running) = self.running.get(lease.assignment.as_str())
                        && running.lease == lease
                    {
                        tracing::info!(assignment = %lease.assignment, epoch = %lease.epoch, "lease lost, work abandoned");
                        running.watch.end();
                    }
                }
            }
        }
        for running in self.running.values() {
            if let Some(stop_at) = self.keeper.stops_at(&running.lease) {
                running.watch.extend(stop_at);
            }
        }
    }

    /// Reports what goes on. A lease whose work was abandoned is not named: it is not to be renewed.
    fn report(&mut self) {
        let now = self.now();
        let sequence = self.sequence + 1;
        let held = self.running.values().filter(|running| !running.watch.is_over());
        let report = v1::AttendRequest {
            hello: Some(self.hello.clone()),
            sequence,
            leases: held.map(|running| running.progress.message(&running.lease)).collect(),
            draining: self.draining,
        };
        self.progress_at = now + PROGRESS_EVERY;
        if self.stream.send(report) {
            self.sequence = sequence;
            self.keeper.apply(now, Event::Reported { sequence });
        }
    }

    fn answered(&mut self, answer: Option<Result<v1::AttendResponse, Failure>>) {
        let failure = match answer {
            Some(Ok(answer)) => {
                if self.stream.answered() {
                    self.poll_at = Duration::ZERO;
                    self.polls_failed = 0;
                }
                return self.acknowledged(&answer);
            }
            Some(Err(failure)) => Some(failure),
            None => None,
        };
        let pause = self.stream.broke(self.now(), self.link.entropy());
        match (self.stream.broken(), &failure) {
            (1, Some(error)) => tracing::warn!(%error, "the coordinator can't be reached; trying on"),
            _ => tracing::debug!(error = ?failure, ?pause, "the link to the coordinator broke; connecting again"),
        }
    }

    fn acknowledged(&mut self, answer: &v1::AttendResponse) {
        let leases = |messages: &[v1::LeaseId]| messages.iter().filter_map(|lease| lease_of(lease).ok()).collect();
        for allowance in &answer.allowances {
            self.places.allow(allowance);
        }
        self.apply(Event::Acknowledged {
            sequence: answer.acknowledged,
            renewed: leases(&answer.renewed),
            lost: leases(&answer.lost),
            ttl: Duration::from_millis(answer.lease_ttl_ms.max(1)),
        });
        let draining = (self.draining || answer.drain) && !answer.undrain;
        if draining != self.draining {
            let (message, held) =
                (if draining { "told to take no more work" } else { "takes work again" }, self.running.len());
            tracing::info!(held, "{message}");
            self.draining = draining;
            self.report(); // from now on it says so itself, to a coordinator that was started anew too
        }
    }

    fn tick(&mut self) {
        self.apply(Event::Tick);
        if !self.running.is_empty() && self.now() >= self.progress_at {
            self.report();
        }
    }

    /// Abandons all work, gives its leases back at once, and waits for what still runs.
    async fn leave(mut self, mut mailbox: mpsc::Receiver<News>) {
        self.tasks.cancelled().cancel();
        let mut leases: Vec<Lease> = self.keeper.held().collect();
        while let Ok(news) = mailbox.try_recv() {
            if let News::Leased(_, Ok(answer)) = news {
                // granted, but never begun
                leases.extend(answer.assignments.iter().filter_map(|a| lease_of(a.lease.as_ref()?).ok()));
            }
        }
        drop(mailbox); // nobody hears of ends any more
        self.stream.close();
        if tokio::time::timeout(GIVE_BACK_GRACE, self.link.give_back(&leases, true)).await.is_err() {
            tracing::info!(leases = leases.len(), "the coordinator can't be reached; the leases end by themselves");
        }
        if !self.tasks.drain(DRAIN_GRACE).await {
            tracing::warn!("some work did not end in time");
        }
        tracing::info!(leases = leases.len(), "worker has left");
    }
}

/// Tells the coordinator how work ended early, unless nobody waits for it any more.
async fn tell(link: &Link, lease: &Lease, failure: Failure, watch: &LeaseWatch) {
    match failure.kind.verdict() {
        Verdict::Abandon => {}
        Verdict::Retry | Verdict::Stop => {
            tracing::info!(error = %failure, assignment = %lease.assignment, "work failed");
            link.fail(lease, failure, watch).await;
        }
    }
}

#[cfg(test)]
mod tests;
