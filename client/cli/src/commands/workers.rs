//! `ringvault worker list`

use std::time::Duration;

use ringvault_client::v1::Worker;
use ringvault_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use super::Context;
use crate::{
    exit::Exit,
    output::{
        format::{age, table},
        json, terminal,
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

/// Lists the workers that attend now.
pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let workers = context.client()?.workers().await.map_err(failed)?;
    if context.output.json {
        workers.iter().for_each(|worker| json::print("worker", &line(worker)));
    } else {
        text(&workers, SystemClock::new().unix_ms()).iter().for_each(terminal::say);
    }
    Ok(Exit::Done)
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
