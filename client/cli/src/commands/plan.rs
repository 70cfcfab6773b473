//! `ringvault plan`: a dry run of a backup. Reads the cluster, writes nothing, also no journal.

use serde::Serialize;

use super::Context;
use crate::{
    arguments::jobs::PlanBackup,
    embedded::{Embedded, Journal},
    exit::Exit,
    interrupt::Interrupt,
    output::{
        fidelity::{Fidelity, FidelityLine},
        json::Kind,
        summary,
    },
    requests::{self, failed},
};

#[derive(Serialize)]
struct PlanLine<'a> {
    cluster_name: &'a str,
    server_version: &'a str,
    tables: Vec<TableLine<'a>>,
}

#[derive(Serialize)]
struct TableLine<'a> {
    keyspace: &'a str,
    table: &'a str,
    bytes_estimated: u64,
    partitions_estimated: u64,
    estimated_by: &'a str,
    grid_exponent: u32,
    shards: u32,
    parent_backup_id: &'a str,
    #[serde(flatten)]
    fidelity: FidelityLine<'a>,
}

/// Shows what a backup would do.
pub(super) async fn run(context: &Context, flags: &PlanBackup) -> anyhow::Result<Exit> {
    let spec = requests::backup_spec(&context.common, &flags.what)?;
    super::backup::tell_of_ignored_flags(context, &flags.what);
    let interrupt = Interrupt::listen(&context.tasks, "interrupted")?;
    let plan = if context.common.fleet.coordinator.is_some() {
        let client = context.client()?;
        tokio::select! {
            plan = client.plan(spec) => plan,
            () = interrupt.asked() => return Ok(Exit::Interrupted),
        }
    } else {
        let mut embedded = Embedded::start(&context.common, Journal::InMemory)?;
        let client = embedded.client();
        let plan = tokio::select! {
            plan = client.plan(spec) => Some(plan),
            failure = embedded.failed() => Some(Err(failure)),
            () = interrupt.asked() => None,
        };
        embedded.stop().await;
        let Some(plan) = plan else { return Ok(Exit::Interrupted) };
        plan
    };
    let plan = plan.map_err(failed)?;
    let tables = plan.tables.iter().map(table_line).collect();
    let record = PlanLine { cluster_name: &plan.cluster_name, server_version: &plan.server_version, tables };
    context.output.answer(Kind::Plan, &record, || summary::plan(&plan));
    Ok(Exit::Done)
}

fn table_line(table: &ringvault_client::v1::TablePlan) -> TableLine<'_> {
    let name = table.table.as_ref();
    TableLine {
        keyspace: name.map_or("", |name| &name.keyspace),
        table: name.map_or("", |name| &name.table),
        bytes_estimated: table.bytes_estimated,
        partitions_estimated: table.partitions_estimated,
        estimated_by: &table.estimated_by,
        grid_exponent: table.grid_exponent,
        shards: table.shards,
        parent_backup_id: &table.parent_backup_id,
        fidelity: Fidelity::expected(&table.approximations).line(),
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(Kind, String)> {
    use ringvault_client::v1::{Approximation, TablePlan};
    let table = TablePlan { approximations: vec![Approximation::default()], ..TablePlan::default() };
    let line = PlanLine { cluster_name: "c", server_version: "5", tables: vec![table_line(&table)] };
    vec![(Kind::Plan, crate::output::json::text(Kind::Plan, &line))]
}
