//! The one task that owns the core: it drains its mailbox, applies what it finds, commits all changes in one journal
//! transaction, then performs the effects. A failed commit ends it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};
use ringvault_runtime::{clock::Clock, entropy::Entropy, telemetry::metrics};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use crate::{
    core::{
        Core,
        event::{Action, Answer, Effect, Event, Now, Output, ReplyId},
        ms,
    },
    error::Result,
    journal::Journal,
    repository::Repositories,
    settings::Settings,
};

/// Messages that wait for the owner; beyond it, callers wait.
const MAILBOX_MAX: usize = 1024;

/// Messages applied before one commit.
const BATCH_MAX: usize = 256;

/// How exactly deadlines are kept.
const TICK: Duration = Duration::from_millis(200);

/// How often figures are told, in ms.
const TELL_EVERY_MS: u64 = 2000;

/// How often a watcher sees a job at most, in ms.
const SHOW_EVERY_MS: u64 = 250;

type Query = Box<dyn FnOnce(&Core) + Send>;
type Follower = oneshot::Sender<Option<watch::Receiver<v1::Job>>>;

/// Those who only look; they see what is committed.
#[derive(Default)]
struct Lookers {
    queries: Vec<Query>,
    followers: Vec<(String, Follower)>,
}

/// What the owner is sent.
enum Message {
    Ask(ReplyId, Event, oneshot::Sender<Answer>),
    Tell(Event),
    Query(Query),
    Watch(String, Follower),
}

/// The way to the owner; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    sender: mpsc::Sender<Message>,
    replies: Arc<AtomicU64>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Entropy,
}

impl Mailbox {
    /// A mailbox, and where its messages arrive.
    pub(crate) fn new(settings: Arc<Settings>, clock: Arc<dyn Clock>, entropy: Entropy) -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(MAILBOX_MAX);
        (Self { sender, replies: Arc::default(), settings, clock, entropy }, Inbox(receiver))
    }

    /// Asks the core; the answer comes once its changes are committed. Cancelled, the event happens all the same.
    ///
    /// # Errors
    /// What the core refused with; `Unavailable` where the owner has ended.
    pub(crate) async fn ask(&self, event: impl FnOnce(ReplyId) -> Event) -> Result<Answer, Failure> {
        let reply = ReplyId(self.replies.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.sender.send(Message::Ask(reply, event(reply), sender)).await.map_err(|_| ended())?;
        match answer.await.map_err(|_| ended())? {
            Answer::Refused(failure) => Err(failure),
            answer => Ok(answer),
        }
    }

    /// Looks at the core as it is committed.
    ///
    /// # Errors
    /// `Unavailable` where the owner has ended.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, answer) = oneshot::channel();
        let query = Box::new(move |core: &Core| drop(sender.send(look(core))));
        self.sender.send(Message::Query(query)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Follows a job; nothing where there is none of that id.
    ///
    /// # Errors
    /// `Unavailable` where the owner has ended.
    pub(crate) async fn watch(&self, job: String) -> Result<Option<watch::Receiver<v1::Job>>, Failure> {
        let (sender, answer) = oneshot::channel();
        self.sender.send(Message::Watch(job, sender)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}

/// What a caller is told when the owner is gone.
pub(crate) fn ended() -> Failure {
    Failure::new(ErrorKind::Unavailable, "the coordinator is shutting down; try again once it is back")
}

/// Where the messages of a mailbox arrive.
pub(crate) struct Inbox(mpsc::Receiver<Message>);

/// The owner and all it holds.
pub(crate) struct Owner {
    core: Core,
    journal: Journal,
    clock: Arc<dyn Clock>,
    repositories: Repositories,
    mailbox: Mailbox,
    inbox: Inbox,
    replies: HashMap<ReplyId, oneshot::Sender<Answer>>,
    watchers: BTreeMap<String, watch::Sender<v1::Job>>,
    /// Watched jobs that changed since they were shown.
    unshown: BTreeSet<String>,
    shown_ms: u64,
    /// When figures were told.
    told_ms: Option<u64>,
    /// Grants whose caller was gone.
    undelivered: Vec<v1::LeaseId>,
}

impl Owner {
    /// The owner of what the journal holds.
    ///
    /// # Errors
    /// `Corrupt` where the journal's records don't fit together.
    pub(crate) fn new(
        mut journal: Journal,
        mailbox: Mailbox,
        inbox: Inbox,
        repositories: Repositories,
    ) -> Result<(Self, Output)> {
        let mut out = Output::default();
        let settings = mailbox.settings.as_ref().clone();
        let core = Core::load(settings, journal.take_loaded(), now(mailbox.clock.as_ref()), &mut out)
            .map_err(|failure| crate::error::Error::new(failure.kind, failure.message))?;
        let owner = Self {
            core,
            journal,
            clock: Arc::clone(&mailbox.clock),
            repositories,
            mailbox,
            inbox,
            replies: HashMap::new(),
            watchers: BTreeMap::new(),
            unshown: BTreeSet::new(),
            shown_ms: 0,
            told_ms: None,
            undelivered: Vec::new(),
        };
        Ok((owner, out))
    }

    /// Runs until `shutdown`. `first` is what came of loading.
    ///
    /// # Errors
    /// What the journal said to a commit.
    pub(crate) async fn run(mut self, first: Output, shutdown: CancellationToken) -> Result<()> {
        self.settle(first, Lookers::default()).await?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                received = self.inbox.0.recv_many(&mut batch, BATCH_MAX) => if received == 0 { return Ok(()) },
                _ = ticks.tick() => batch.push(Message::Tell(Event::Tick)),
            }
            self.take(batch).await?;
        }
    }

    /// Applies a batch and settles what comes of it.
    async fn take(&mut self, batch: Vec<Message>) -> Result<()> {
        let now = now(self.clock.as_ref());
        let mut out = Output::default();
        let mut lookers = Lookers::default();
        if !self.undelivered.is_empty() {
            let leases = std::mem::take(&mut self.undelivered);
            self.core.apply(now, Event::Undelivered(leases), &mut out);
        }
        for message in batch {
            match message {
                Message::Ask(reply, event, sender) => {
                    self.replies.insert(reply, sender);
                    self.core.apply(now, event, &mut out);
                }
                Message::Tell(event) => self.core.apply(now, event, &mut out),
                Message::Query(query) => lookers.queries.push(query),
                Message::Watch(job, follower) => lookers.followers.push((job, follower)),
            }
        }
        self.settle(out, lookers).await
    }

    /// Commits, then performs the effects, then answers those who only look.
    async fn settle(&mut self, out: Output, lookers: Lookers) -> Result<()> {
        if !out.changes.is_empty() {
            self.journal.commit(out.changes).await?;
        }
        for effect in out.effects {
            self.perform(effect);
        }
        for query in lookers.queries {
            query(&self.core);
        }
        for (job, follower) in lookers.followers {
            // A follower that is gone needs no receiver.
            let _ = follower.send(self.follow(&job));
        }
        let ended = out.changed.iter().any(|job| self.core.is_over(job));
        self.show(out.changed);
        self.tell(ended);
        Ok(())
    }

    /// Tells how things stand: every few seconds, and when a job has ended.
    fn tell(&mut self, ended: bool) {
        let now = now(self.clock.as_ref());
        if ended || self.told_ms.is_none_or(|told| now.ms.saturating_sub(told) >= TELL_EVERY_MS) {
            self.told_ms = Some(now.ms);
            metrics::publish(self.core.figures(now));
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(reply, answer) => self.answer(reply, answer),
            Effect::Act { job, run, repository, action } => {
                let (repositories, mailbox) = (self.repositories.clone(), self.mailbox.clone());
                let cancelled = self.repositories.tasks.cancelled().clone();
                self.repositories.tasks.spawn(async move {
                    if action == Action::DeleteProbe {
                        // Not cancelled: a command ends right behind its job, and the nonce would stay.
                        if let Err(failure) = repositories.act(&job, &repository, action).await {
                            tracing::debug!(job, repository, "the nonce was not removed: {failure}");
                        }
                        return;
                    }
                    let outcome = tokio::select! {
                        () = cancelled.cancelled() => return,
                        outcome = repositories.act(&job, &repository, action) => outcome,
                    };
                    // An owner that has ended needs no outcome: it will act again at its next start.
                    let _ = mailbox.sender.send(Message::Tell(Event::Acted { job, run, outcome })).await;
                });
            }
        }
    }

    fn answer(&mut self, reply: ReplyId, answer: Answer) {
        let Some(sender) = self.replies.remove(&reply) else { return };
        if let Err(Answer::Leased(response)) = sender.send(answer) {
            self.undelivered.extend(response.assignments.into_iter().filter_map(|assignment| assignment.lease));
        }
    }

    /// A receiver of a job's states, the present one first.
    fn follow(&mut self, job: &str) -> Option<watch::Receiver<v1::Job>> {
        if let Some(watched) = self.watchers.get(job) {
            return Some(watched.subscribe());
        }
        let (sender, receiver) = watch::channel(self.core.job(job)?);
        self.watchers.insert(job.to_owned(), sender);
        Some(receiver)
    }

    /// Shows changed jobs to their watchers: ended ones at once, others a few times a second.
    fn show(&mut self, changed: BTreeSet<String>) {
        self.watchers.retain(|_, watched| watched.receiver_count() > 0);
        self.unshown.extend(changed.into_iter().filter(|job| self.watchers.contains_key(job)));
        let now_ms = ms(self.clock.now());
        let due = now_ms.saturating_sub(self.shown_ms) >= SHOW_EVERY_MS;
        for id in std::mem::take(&mut self.unshown) {
            if !due && !self.core.is_over(&id) {
                self.unshown.insert(id);
            } else if let (Some(watched), Some(job)) = (self.watchers.get(&id), self.core.job(&id)) {
                watched.send_replace(job);
                self.shown_ms = now_ms;
            }
        }
    }
}

/// Whether a watcher need not wait for more.
pub(crate) fn has_ended(job: &v1::Job) -> bool {
    match job.state() {
        v1::JobState::Done | v1::JobState::Failed | v1::JobState::Cancelled | v1::JobState::Interrupted => true,
        v1::JobState::Unspecified
        | v1::JobState::Preparing
        | v1::JobState::Running
        | v1::JobState::Publishing
        | v1::JobState::Verifying
        | v1::JobState::Paused => false,
    }
}

fn now(clock: &dyn Clock) -> Now {
    Now { ms: ms(clock.now()), unix_ms: clock.unix_ms() }
}
