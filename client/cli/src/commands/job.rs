//! `ringvault job`

use ringvault_client::{state, v1::Job};

use super::Context;
use crate::{
    arguments::jobs::JobAction,
    exit::Exit,
    interrupt::Interrupt,
    job_run,
    output::{
        fidelity::{self, Fidelity},
        format::{count, moment, size, table},
        json, table_name,
        totals::Totals,
    },
    requests::{Subject, failed},
};

/// Lists, shows, follows or stops jobs of a coordinator.
pub(super) async fn run(context: &Context, action: &JobAction) -> anyhow::Result<Exit> {
    let client = context.client()?;
    match action {
        JobAction::List { limit } => {
            let jobs = client.list(usize::try_from(*limit).unwrap_or(usize::MAX)).await.map_err(failed)?;
            if context.output.json {
                jobs.iter().for_each(|job| json::print("job", &json::JobLine::of(job)));
            } else {
                listed(&jobs).iter().for_each(crate::output::terminal::say);
            }
            Ok(Exit::Done)
        }
        JobAction::Show { id } => {
            let job = client.get(id).await.map_err(failed)?;
            context.output.answer("job", &json::JobLine::of(&job), || shown(&job));
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
            context.output.answer("job", &json::JobLine::of(&job), || {
                vec![format!("job {id}: {}; what it stored stays", state::word(job.state()))]
            });
            Ok(Exit::Done)
        }
    }
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
            moment(job.submitted_unix_ms),
            job.stage.clone(),
        ]
    };
    let headers = ["job", "work", "cluster", "repository", "state", "submitted", "stage"];
    table(&headers, &jobs.iter().map(row).collect::<Vec<_>>())
}

fn shown(job: &Job) -> Vec<String> {
    let subject = Subject::of(job);
    let into = match subject.keyspace_as {
        "" => String::new(),
        name => format!(" as {name}"),
    };
    let mut lines = vec![
        format!("job         {}", job.job_id),
        format!("work        {} of {}{into}, cluster {}", subject.work, subject.what(), subject.cluster),
        format!("repository  {}", subject.repository),
        format!("backup      {}", if job.backup_id.is_empty() { "-" } else { &job.backup_id }),
        format!("state       {} {}", state::word(job.state()), job.stage),
        format!("submitted   {}", moment(job.submitted_unix_ms)),
        format!("started     {}", moment(job.started_unix_ms)),
        format!("finished    {}", moment(job.finished_unix_ms)),
    ];
    if let Some(failure) = &job.failure {
        lines.push(format!("failure     {}", failure.message));
    }
    lines.extend(job.warnings.iter().map(|warning| format!("warning     {warning}")));
    lines.extend(job.mismatches.iter().map(|mismatch| format!("mismatch    {mismatch}")));
    if !job.tables.is_empty() {
        lines.push(String::new());
        lines.extend(tables(job));
        lines.push(String::new());
        lines.extend(fidelity::report(job.tables.iter().map(|table| (table_name(job, table), Fidelity::of(table)))));
    }
    lines
}

fn tables(job: &Job) -> Vec<String> {
    let row = |(name, totals, shards): (String, Totals, String)| {
        vec![
            name,
            shards,
            count(totals.rows),
            size(totals.encoded_bytes),
            size(totals.stored_bytes),
            count(totals.chunks_new),
            count(totals.chunks_reused),
            count(totals.retries),
        ]
    };
    let single = |table: &ringvault_client::v1::TableProgress| {
        let name = table_name(job, table);
        let shards = format!("{}/{}", table.shards_done, table.shards);
        row((name, Totals::of(&Job { tables: vec![table.clone()], ..Job::default() }), shards))
    };
    let mut rows: Vec<Vec<String>> = job.tables.iter().map(single).collect();
    rows.push(row(("total".to_owned(), Totals::of(job), String::new())));
    let headers = ["table", ">shards", ">rows", ">encoded", ">stored", ">chunks new", ">reused", ">retries"];
    table(&headers, &rows)
}
