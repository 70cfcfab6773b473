//! `ringvault backup`

use ringvault_client::Client;

use super::Context;
use crate::{
    arguments::{
        jobs::{BackedUp, Backup},
        values::consistency_name,
    },
    exit::Exit,
    job_run::{self, Asked},
    requests,
};

/// Backs up a keyspace, here or by a fleet.
pub(super) async fn run(context: &Context, flags: &Backup) -> anyhow::Result<Exit> {
    let spec = requests::backup_spec(&context.common, &flags.what)?;
    tell_of_ignored_flags(context, &flags.what);
    tracing::debug!(keyspaces = spec.keyspaces.join(","), read = consistency_name(spec.read_consistency()), "backup");
    let asked = Asked::new(spec.repository.clone(), Client::backup(spec), &flags.submission);
    job_run::run(context, &asked).await
}

/// Flags that the seed tool knows and that change nothing here.
pub(super) fn tell_of_ignored_flags(context: &Context, what: &BackedUp) {
    if what.estimate_progress {
        context.output.note("--estimate-progress is ignored: progress always comes with an estimate");
    }
    if context.common.reading.write_consistency.is_some() {
        context.output.note("--write-consistency is ignored: a backup writes nothing to the cluster");
    }
}
