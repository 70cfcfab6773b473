//! `ringvault coordinator`: a long-running process.

use super::Context;
use crate::{
    arguments::processes::Coordinator, embedded, exit::Exit, interrupt::Interrupt, settings::CoordinatorSettings,
};

/// Coordinates until it is asked to stop; its journal keeps every job.
pub(super) async fn run(context: &Context, flags: &Coordinator) -> anyhow::Result<Exit> {
    let settings = CoordinatorSettings::read(flags, &context.common.fleet.certificates)?;
    let interrupt =
        Interrupt::listen(&context.tasks, "stopping: jobs go on at the next start (again to stop at once)")?;
    embedded::run_coordinator(settings, &context.tasks, interrupt.token()).await?;
    Ok(Exit::Done)
}
