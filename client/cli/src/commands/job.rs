//! `ringvault job`

use ringvault_client::{
    Client, state,
    v1::{self, Job, UpdateJobRequest},
};

use super::Context;
use crate::{
    arguments::{
        common::Lean,
        jobs::{Change, JobAction},
        values::Rate,
    },
    exit::Exit,
    interrupt::Interrupt,
    job_run,
    output::{
        board,
        fidelity::{self, Fidelity},
        format::{count, moment, percent, plural, size, table},
        json::{self, Kind},
        table_name, terminal,
        totals::Totals,
    },
    requests::{Subject, failed},
};

/// Jobs at work whose progress `list` asks for one by one.
const ASKED_MAX: usize = 32;

/// Does to jobs of a coordinator what was asked.
pub(super) async fn run(context: &Context, action: &JobAction) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let told = |job: Job, what: String| {
        context.output.answer(Kind::Job, &json::JobLine::of(&job), || vec![format!("job {}: {what}", job.job_id)]);
        Ok(Exit::Done)
    };
    match action {
        JobAction::List { limit } => list(context, &client, *limit).await,
        JobAction::Show { id } => {
            let job = client.get(id).await.map_err(failed)?;
            context.output.answer(Kind::Job, &json::JobLine::of(&job), || shown(&job));
            Ok(Exit::Done)
        }
        JobAction::Watch { id } => {
            let interrupt = Interrupt::listen(&context.tasks, "no longer watching; the job goes on")?;
            tokio::select! {
                ended = job_run::follow(context.output, client.watch(id)) => {
                    job_run::conclude(context, &ended?)
                }
                () = interrupt.asked() => Ok(Exit::Interrupted),
            }
        }
        JobAction::Cancel { id } => {
            let job = client.cancel(id).await.map_err(failed)?;
            let what = format!("{}; what it stored stays", state::word(job.state()));
            told(job, what)
        }
        JobAction::Pause { id } => {
            let job = client.pause(id).await.map_err(failed)?;
            let what =
                format!("{}; what it stored stays, `ringvault job resume` lets it go on", state::word(job.state()));
            told(job, what)
        }
        JobAction::Resume { id } => {
            let job = client.resume(id).await.map_err(failed)?;
            let what = state::word(job.state()).to_owned();
            told(job, what)
        }
        JobAction::Limit { id, change } => {
            let job = client.update(update(id, *change, &context.common.lean)).await.map_err(failed)?;
            let what = board::limits(&job);
            told(job, what)
        }
    }
}

/// What to change of a job. A rate is changed as a whole: rows and bytes.
fn update(job_id: &str, change: Change, lean: &Lean) -> UpdateJobRequest {
    let rate = lean.rate.map(|rate| Rate::limits(Some(rate)));
    UpdateJobRequest {
        job_id: job_id.to_owned(),
        priority: change.priority.map(|priority| v1::Priority::from(priority).into()),
        workers_max: change.workers,
        ranges_max: change.ranges,
        rows_per_second_max: rate.map(|(rows, _)| rows),
        bytes_per_second_max: rate.map(|(_, bytes)| bytes),
        pace: lean.pace.map(|pace| v1::Pace::from(pace).into()),
    }
}

async fn list(context: &Context, client: &Client, limit: u32) -> anyhow::Result<Exit> {
    let mut jobs = client.list(usize::try_from(limit).unwrap_or(usize::MAX)).await.map_err(failed)?;
    // A list comes without tables, and how far a job is stands there.
    for job in jobs.iter_mut().filter(|job| !state::has_ended(job.state())).take(ASKED_MAX) {
        if let Ok(whole) = client.get(&job.job_id).await {
            *job = whole;
        }
    }
    if context.output.json {
        jobs.iter().for_each(|job| json::print(Kind::Job, &json::JobLine::of(job)));
    } else {
        listed(&jobs).iter().for_each(terminal::say);
    }
    Ok(Exit::Done)
}

fn listed(jobs: &[Job]) -> Vec<String> {
    if jobs.is_empty() {
        return vec!["no jobs".to_owned()];
    }
    let row = |job: &Job| {
        let subject = Subject::of(job);
        vec![
            job.job_id.clone(),
            format!("{} {}", subject.work, subject.keyspaces).trim_end().to_owned(),
            subject.cluster.to_owned(),
            subject.repository.to_owned(),
            state::word(job.state()).to_owned(),
            Totals::of(job).fraction(job.state()).map_or_else(|| "-".to_owned(), percent),
            moment(job.submitted_unix_ms),
            job.stage.clone(),
        ]
    };
    let headers = ["job", "work", "cluster", "repository", "state", ">%", "submitted", "stage"];
    table(&headers, &jobs.iter().map(row).collect::<Vec<_>>())
}

fn shown(job: &Job) -> Vec<String> {
    let subject = Subject::of(job);
    let totals = Totals::of(job);
    let into = match subject.keyspace_as {
        "" => String::new(),
        name => format!(" as {name}"),
    };
    let mut lines = vec![
        format!("job         {}", job.job_id),
        format!("work        {} of {}{into}, cluster {}", subject.work, subject.what(), subject.cluster),
        format!("repository  {}", subject.repository),
        format!("backup      {}", if job.backup_id.is_empty() { "-" } else { &job.backup_id }),
        format!("state       {}", standing(job)),
        format!("submitted   {}", moment(job.submitted_unix_ms)),
        format!("started     {}", moment(job.started_unix_ms)),
        format!("finished    {}", moment(job.finished_unix_ms)),
        format!("limits      {}", board::limits(job)),
        format!("at work     {} at {}", plural(job.leases.into(), "range"), plural(job.workers.into(), "worker")),
    ];
    if totals.chunks_new + totals.chunks_reused > 0 {
        let (new, reused) = (count(totals.chunks_new), count(totals.chunks_reused));
        lines.push(format!("stored      {} in {new} new chunks; {reused} chunks reused", size(totals.stored_bytes)));
    }
    let trace = Some(&job.trace_id).filter(|id| !id.is_empty());
    lines.extend(trace.map(|id| format!("trace       {id}")));
    if let Some(failure) = &job.failure {
        lines.push(format!("failure     {}", failure.message));
    }
    lines.extend(job.warnings.iter().map(|warning| format!("warning     {warning}")));
    lines.extend(job.mismatches.iter().map(|mismatch| format!("mismatch    {mismatch}")));
    if !job.tables.is_empty() {
        lines.push(String::new());
        lines.extend(board::whole(job));
        lines.push(String::new());
        lines.extend(fidelity::report(job.tables.iter().map(|table| (table_name(job, table), Fidelity::of(table)))));
    }
    lines
}

/// State and stage, without saying one word twice.
fn standing(job: &Job) -> String {
    let state = state::word(job.state());
    if job.stage.starts_with(state) { job.stage.clone() } else { format!("{state}: {}", job.stage) }
}

#[cfg(test)]
mod tests {
    use ringvault_client::v1::{BackupSpec, JobState, TableName, TableProgress, TableState};

    use super::*;
    use crate::arguments::{Cli, Command};

    fn job() -> Job {
        let spec = BackupSpec {
            keyspaces: vec!["shop".into()],
            cluster: "prod".into(),
            repository: "s3://b/p".into(),
            rows_per_second_max: 9_000,
            ..Default::default()
        };
        let table = TableProgress {
            table: Some(TableName { keyspace: "shop".into(), table: "orders".into() }),
            state: TableState::Running.into(),
            rows: 10,
            encoded_bytes: 50,
            bytes_estimated: 100,
            chunks_new: 2,
            stored_bytes: 7,
            ..Default::default()
        };
        Job {
            job_id: "j-1".into(),
            state: JobState::Running.into(),
            spec: Some(Client::backup(spec)),
            stage: "dumping".into(),
            leases: 2,
            workers: 1,
            trace_id: "4bf92f3577b34da6".into(),
            tables: vec![table],
            ..Default::default()
        }
    }

    #[test]
    fn a_list_tells_state_and_progress() {
        let lines = listed(&[job()]);
        assert_eq!(lines[0].split_whitespace().nth(5), Some("%"), "{lines:?}");
        assert!(lines[1].contains("running  50%"), "{lines:?}");
        assert_eq!(listed(&[]), ["no jobs"]);
        let paused = Job { state: JobState::Paused.into(), stage: "paused while dumping".into(), ..job() };
        assert_eq!(standing(&paused), "paused while dumping");
    }

    #[test]
    fn a_job_is_shown_with_limits_workers_trace_and_its_table() {
        let text = shown(&job()).join("\n");
        for line in [
            "state       running: dumping",
            "limits      priority normal, polite, at most 9,000 rows/s",
            "at work     2 ranges at 1 worker",
            "stored      7 B in 2 new chunks; 0 chunks reused",
            "trace       4bf92f3577b34da6",
            "\ntable        state      %  rows  encoded  rows/s  left  retries  failures",
            "\norders       running  50%    10     50 B       -     -        0         0",
            "\ntotal (0/1)  running  50%",
        ] {
            assert!(text.contains(line), "{line}\nis missing in\n{text}");
        }
    }

    #[test]
    fn only_what_was_said_is_changed_and_a_rate_as_a_whole() {
        let asked = |line: &str| {
            let cli = Cli::read(format!("ringvault job limit j-1 --coordinator http://c:1 {line}").split_whitespace());
            let cli = cli.expect(line);
            let Command::Job(job) = &cli.command else { unreachable!("a job") };
            let JobAction::Limit { id, change } = &job.action else { unreachable!("its limits") };
            update(id, *change, &cli.common.lean)
        };
        let change = UpdateJobRequest { job_id: "j-1".into(), workers_max: Some(0), ..Default::default() };
        assert_eq!(asked("--workers none"), change);
        let change = asked("--rate 20MiB --priority low --pace full");
        assert_eq!((change.rows_per_second_max, change.bytes_per_second_max), (Some(0), Some(20 << 20)));
        assert_eq!((change.priority(), change.pace()), (v1::Priority::Low, v1::Pace::Full));
        assert_eq!((change.workers_max, change.ranges_max), (None, None));
    }
}
