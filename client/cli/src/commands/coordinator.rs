//! `ringvault coordinator`: a long-running process.

use super::Context;
use crate::{embedded, exit::Exit, interrupt::Interrupt, settings::CoordinatorSettings};

/// Coordinates until it is asked to stop; its journal keeps every job.
pub(super) async fn run(context: &Context, settings: CoordinatorSettings) -> anyhow::Result<Exit> {
    let interrupt =
        Interrupt::listen(&context.tasks, "stopping: jobs go on at the next start (again to stop at once)")?;
    embedded::run_coordinator(settings, &context.tasks, interrupt.token()).await?;
    Ok(Exit::Done)
}
