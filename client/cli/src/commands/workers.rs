//! `ringvault worker list` and `worker drain`

use std::time::Duration;

use ringvault_client::{Client, v1::Worker};
use ringvault_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use super::Context;
use crate::{
    arguments::processes::WorkerAction,
    exit::Exit,
    interrupt::Interrupt,
    output::{
        format::{age, table},
        json::{self, Kind},
        terminal,
    },
    requests::failed,
};

#[derive(Serialize)]
struct WorkerLine<'a> {
    worker_id: &'a str,
    name: &'a str,
    data_center: &'a str,
    slots: u32,
    slots_busy: u32,
    clusters: &'a [String],
    last_report_unix_ms: u64,
    draining: bool,
    version: &'a str,
    notes: &'a [String],
}

/// Pause between looks at a worker that drains.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Does to workers of a coordinator what was asked.
pub(super) async fn run(context: &Context, action: &WorkerAction) -> anyhow::Result<Exit> {
    let client = context.client()?;
    match action {
        WorkerAction::List => {
            let workers = client.workers().await.map_err(failed)?;
            if context.output.json {
                workers.iter().for_each(|worker| json::print(Kind::Worker, &line(worker)));
            } else {
                text(&workers, SystemClock::new().unix_ms()).iter().for_each(terminal::say);
            }
            Ok(Exit::Done)
        }
        WorkerAction::Drain { worker, undo, wait } => {
            let interrupt = Interrupt::listen(&context.tasks, "no longer waiting; the worker drains all the same")?;
            let drained = client.drain_worker(worker, *undo).await.map_err(failed)?;
            tell(context, &drained);
            if !wait {
                return Ok(Exit::Done);
            }
            tokio::select! {
                done = until_drained(context, &client, drained) => done.map(|()| Exit::Done),
                () = interrupt.asked() => Ok(Exit::Interrupted),
            }
        }
    }
}

/// Waits until a worker holds nothing, or has left, which comes to the same.
async fn until_drained(context: &Context, client: &Client, mut worker: Worker) -> anyhow::Result<()> {
    while worker.slots_busy > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
        let attending = client.workers().await.map_err(failed)?;
        let now = attending.into_iter().find(|other| other.worker_id == worker.worker_id);
        let now = now.unwrap_or_else(|| Worker { slots_busy: 0, ..worker.clone() });
        if now.slots_busy != worker.slots_busy {
            tell(context, &now);
        }
        worker = now;
    }
    Ok(())
}

fn tell(context: &Context, worker: &Worker) {
    context.output.answer(Kind::Worker, &line(worker), || vec![standing(worker)]);
}

fn standing(worker: &Worker) -> String {
    let Worker { name, slots, slots_busy, draining, .. } = worker;
    match (draining, slots_busy) {
        (false, _) => format!("worker {name}: takes work"),
        (true, 0) => format!("worker {name}: drained, it holds nothing and takes nothing"),
        (true, busy) => format!("worker {name}: draining, {busy} of {slots} slots are busy"),
    }
}

fn line(worker: &Worker) -> WorkerLine<'_> {
    WorkerLine {
        worker_id: &worker.worker_id,
        name: &worker.name,
        data_center: &worker.data_center,
        slots: worker.slots,
        slots_busy: worker.slots_busy,
        clusters: &worker.clusters,
        last_report_unix_ms: worker.last_report_unix_ms,
        draining: worker.draining,
        version: &worker.version,
        notes: &worker.notes,
    }
}

fn text(workers: &[Worker], now_unix_ms: u64) -> Vec<String> {
    if workers.is_empty() {
        return vec!["no workers; start one with `ringvault worker --coordinator URL --config FILE`".to_owned()];
    }
    let row = |worker: &Worker| {
        let heard = Duration::from_millis(now_unix_ms.saturating_sub(worker.last_report_unix_ms));
        vec![
            worker.name.clone(),
            format!("{}/{}", worker.slots_busy, worker.slots),
            worker.data_center.clone(),
            worker.clusters.join(","),
            format!("{} ago", age(heard)),
            if worker.draining { "draining".to_owned() } else { "attends".to_owned() },
            worker.version.clone(),
        ]
    };
    let headers = ["worker", ">busy", "data centre", "clusters", "heard", "state", "version"];
    let mut lines = table(&headers, &workers.iter().map(row).collect::<Vec<_>>());
    for worker in workers {
        lines.extend(worker.notes.iter().map(|note| format!("  {}: {note}", worker.name)));
    }
    lines
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(Kind, String)> {
    vec![(Kind::Worker, json::text(Kind::Worker, &line(&Worker::default())))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_worker_says_what_it_still_holds() {
        let worker =
            |draining, slots_busy| Worker { name: "w".into(), slots: 4, slots_busy, draining, ..Default::default() };
        assert_eq!(standing(&worker(true, 3)), "worker w: draining, 3 of 4 slots are busy");
        assert!(standing(&worker(true, 0)).contains("drained"));
        assert_eq!(standing(&worker(false, 2)), "worker w: takes work");
        assert!(text(&[worker(true, 1)], 0)[1].contains("draining"));
    }
}
