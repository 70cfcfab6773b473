//! The core as the journal left it.

use std::collections::BTreeMap;

use ringvault_proto::{
    error::{ErrorKind, Failure},
    grid::Grid,
    v1,
};

use super::{
    Core,
    assignment::{Hold, Lease},
    event::{Now, Output},
    job::Job,
    ms,
    table::Table,
};
use crate::{
    record::{HoldKind, Loaded},
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
            workers: BTreeMap::new(),
            polls: Vec::new(),
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
        Ok(core)
    }

    fn take_records(&mut self, loaded: Loaded, now: Now) -> Result<(), Failure> {
        for record in loaded.jobs {
            if record.spec.as_ref().is_none_or(|spec| spec.work.is_none()) {
                return Err(corrupt(&record.job_id, "a job without a spec"));
            }
            self.sequence = self.sequence.max(record.sequence);
            self.runs += 1;
            self.jobs.insert(record.job_id.clone(), Job::new(record, self.runs));
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
        let deadline_ms = now.ms + ms(self.settings.lease_ttl);
        for record in loaded.assignments {
            let job = find(&mut self.jobs, &record.job_id)?;
            let (ordinal, worker) = (record.ordinal, record.worker_id.clone());
            let leased = record.hold() == HoldKind::Leased && survive && job.is_active();
            job.insert(record);
            if leased {
                job.keep_lease(ordinal, worker, deadline_ms, now);
            }
        }
        Ok(())
    }
}

impl Job {
    /// A lease that was granted before a restart goes on under its epoch.
    fn keep_lease(&mut self, ordinal: u32, worker: String, deadline_ms: u64, now: Now) {
        if let Some(assignment) = self.assignments.get_mut(&ordinal) {
            assignment.hold = Hold::Leased(Lease {
                worker,
                deadline_ms,
                progress_ms: now.ms,
                progress: v1::LeaseProgress::default(),
                rows_recorded: 0,
                bytes_recorded: 0,
            });
        }
        self.place(ordinal);
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
