//! The core as the journal left it.

use std::collections::{BTreeMap, BTreeSet};

use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    v1,
};

use super::{
    Core,
    assignment::{Hold, Lease},
    event::{Now, Output},
    figures::Tally,
    job::{Context, Job},
    ms,
    table::Table,
};
use crate::{
    record::{AssignmentRecord, HoldKind, Loaded},
    settings::Settings,
};

impl Core {
    /// Takes up what was journaled: unfinished jobs go on or are interrupted, outstanding leases get a full TTL or are
    /// released, as the settings say.
    ///
    /// # Errors
    /// `Corrupt` where records don't fit together.
    pub(crate) fn load(settings: Settings, loaded: Loaded, now: Now, out: &mut Output) -> Result<Self, Failure> {
        let mut core = Self {
            settings,
            jobs: BTreeMap::new(),
            active: BTreeSet::new(),
            workers: BTreeMap::new(),
            polls: BTreeMap::new(),
            polled: 0,
            rings: BTreeMap::new(),
            limits: BTreeMap::new(),
            successes: BTreeMap::new(),
            tally: Tally::default(),
            pass: 0,
            sequence: 0,
            runs: 0,
            sweep_at: 0,
        };
        core.take_records(loaded, now)?;
        let resume = core.settings.resume_jobs_on_start;
        let (ctx, jobs) = core.split(now);
        for job in jobs.values_mut().filter(|job| job.is_active()) {
            if resume {
                job.advance(&ctx, out);
            } else {
                Self::interrupt(job, &mut out.changes);
            }
        }
        core.active = core.jobs.values().filter(|job| job.is_active()).map(|job| job.id.clone()).collect();
        core.settle(out);
        Ok(core)
    }

    fn take_records(&mut self, loaded: Loaded, now: Now) -> Result<(), Failure> {
        for record in loaded.clusters {
            self.limits.insert(record.cluster, record.limits.unwrap_or_default());
        }
        for record in loaded.successes {
            self.successes.insert((record.cluster.clone(), record.keyspace.clone()), record);
        }
        for record in loaded.jobs {
            if record.spec.as_ref().is_none_or(|spec| spec.work.is_none()) {
                return Err(corrupt(&record.job_id, "a job without a spec"));
            }
            self.sequence = self.sequence.max(record.sequence);
            self.runs += 1;
            let mut job = Job::new(record, self.runs);
            job.progressed_ms = now.ms;
            self.jobs.insert(job.id.clone(), job);
        }
        for record in loaded.tables {
            let grid = record.plan.as_ref().map_or(0, |plan| plan.grid_exponent);
            Grid::try_from(grid).map_err(|e| corrupt(&record.job_id, &e.to_string()))?;
            let job = find(&mut self.jobs, &record.job_id)?;
            job.tables.insert(record.ordinal, Table::planned(&record));
        }
        for (job_id, table, piece) in loaded.pieces {
            find(&mut self.jobs, &job_id)?.tables.entry(table).or_default().record(piece);
        }
        let survive = self.settings.leases_survive_restart;
        let (ctx, jobs) = self.split(now);
        for record in loaded.assignments {
            let job = find(jobs, &record.job_id)?;
            job.insert(&record);
            if record.hold() == HoldKind::Leased && survive && job.is_active() {
                job.keep_lease(&record, &ctx);
            }
        }
        Ok(())
    }
}

impl Job {
    /// A lease that was granted before a restart goes on under its epoch, with a full TTL.
    fn keep_lease(&mut self, record: &AssignmentRecord, ctx: &Context<'_>) {
        let lease = Lease {
            worker: record.worker_id.clone(),
            deadline_ms: ctx.now.ms + ms(ctx.settings.lease_ttl),
            progress_ms: ctx.now.ms,
            progress: v1::LeaseProgress::default(),
            rows_recorded: 0,
            bytes_recorded: 0,
        };
        self.change_hold(record.ordinal, Hold::Leased(Box::new(lease)));
    }
}

fn find<'a>(jobs: &'a mut BTreeMap<String, Job>, id: &str) -> Result<&'a mut Job, Failure> {
    jobs.get_mut(id).ok_or_else(|| corrupt(id, "a row of a job that is not there"))
}

fn corrupt(job: &str, what: &str) -> Failure {
    Failure::new(
        ErrorKind::Corrupt,
        format!("the journal holds {what} (job {job}); move the state directory away to start without it"),
    )
}
