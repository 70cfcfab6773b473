//! `ringvault worker`: a long-running process.

use super::Context;
use crate::{embedded, exit::Exit, interrupt::Interrupt, output::terminal, settings::WorkerSettings};

/// Works for a coordinator until it is asked to stop; then it gives its leases back.
pub(super) async fn run(context: &Context, settings: WorkerSettings) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen(&context.tasks, "stopping: giving leases back (again to stop at once)")?;
    terminal::tell(format!(
        "worker {} works for {} with {} slots; clusters: {}",
        settings.name,
        settings.coordinator,
        settings.slots,
        settings.clusters.keys().cloned().collect::<Vec<_>>().join(", ")
    ));
    embedded::run_worker(settings, &context.tasks, interrupt.token()).await?;
    Ok(Exit::Done)
}
