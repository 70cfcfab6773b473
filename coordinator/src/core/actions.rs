//! What a job wants done in its repository, and what comes of it: one action at a time, retried with growing pauses.

use ringvault_proto::{
    error::{ErrorKind, Failure, Verdict},
    v1::JobState,
};
use ringvault_runtime::retry::Backoff;

use super::{
    event::{Action, Effect, Outcome, Output, ParentIndex},
    job::{Context, Job},
    ms,
};
use crate::{name::TableKey, settings::Settings};

/// An action in the repository that a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Open,
    Parents,
    Backup,
    Publish,
}

impl Job {
    /// Asks for an action in the repository, unless one is under way or a pause lasts.
    pub(super) fn want(&mut self, waiting: Waiting, ctx: &Context<'_>, out: &mut Output, action: Action) {
        if self.run.waiting.is_some() || ctx.now.ms < self.run.pause_until_ms {
            return;
        }
        self.run.waiting = Some(waiting);
        self.act(action, out);
    }

    pub(super) fn act(&self, action: Action, out: &mut Output) {
        let (job, run, repository) = (self.id.clone(), self.run.number, self.repository().to_owned());
        out.effects.push(Effect::Act { job, run, repository, action });
    }

    /// An action ended.
    pub(super) fn acted(&mut self, run: u64, outcome: Result<Outcome, Failure>, ctx: &Context<'_>, out: &mut Output) {
        if !(self.is_active() || self.is_paused()) || run != self.run.number {
            return;
        }
        let Some(waiting) = self.run.waiting.take() else { return };
        if self.is_paused() && outcome.is_err() {
            // It is asked for again once the job goes on.
            return;
        }
        match (waiting, outcome) {
            (Waiting::Open, Ok(Outcome::Opened { nonce, object })) => {
                self.run.opened = true;
                self.run.nonce = Some((nonce, object));
            }
            (Waiting::Parents, Ok(Outcome::Parents(parents))) => {
                let named = |parent: ParentIndex| (TableKey::of(parent.index.table()), parent);
                self.run.parents = Some(parents.into_iter().map(named).collect());
            }
            (Waiting::Backup, Ok(Outcome::Backup(backup))) => {
                if let Err(failure) = self.take_backup(*backup, out) {
                    self.finish(JobState::Failed, Some(failure), ctx, out);
                    return;
                }
            }
            (Waiting::Publish, Ok(Outcome::Published)) => {
                self.finish(JobState::Done, None, ctx, out);
                return;
            }
            (_, Err(failure)) => {
                self.action_failed(failure, ctx, out);
                return;
            }
            (_, Ok(_)) => {
                let failure = Failure::new(ErrorKind::Internal, "a repository action gave the outcome of another");
                self.finish(JobState::Failed, Some(failure), ctx, out);
                return;
            }
        }
        self.run.failures = 0;
        self.run.trouble = None;
        self.progressed_ms = ctx.now.ms;
        out.work = true;
        out.changed.insert(self.id.clone());
        self.advance(ctx, out);
    }

    fn action_failed(&mut self, failure: Failure, ctx: &Context<'_>, out: &mut Output) {
        self.run.failures += 1;
        let retry = failure.kind.verdict() == Verdict::Retry && self.run.failures < ctx.settings.attempts_max;
        if !retry {
            self.finish(JobState::Failed, Some(failure), ctx, out);
            return;
        }
        self.run.pause_until_ms = ctx.now.ms + pause_ms(ctx.settings, self.run.failures, &self.id, 0);
        self.run.trouble = Some(failure.message);
        out.changed.insert(self.id.clone());
    }
}

/// The pause behind the `failures`th failure (1-based) of something of a job, with a jitter that comes from its name.
pub(super) fn pause_ms(settings: &Settings, failures: u32, job: &str, ordinal: u32) -> u64 {
    let Ok(backoff) = Backoff::new(settings.backoff_first, settings.backoff_max) else { return 1000 };
    let bare = ms(backoff.bare(failures.saturating_sub(1)));
    let seed = job.bytes().chain(ordinal.to_le_bytes()).chain(failures.to_le_bytes());
    // FNV-1a: chance would have no place in the core, and neighbours only must not wake together.
    let hash =
        seed.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    bare / 2 + (hash >> 16) % (bare / 2 + 1)
}
