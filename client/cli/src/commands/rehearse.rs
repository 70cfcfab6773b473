//! `ringvault rehearse`: a restore into a scratch keyspace, compared and dropped again. Proves a backup without touching
//! what is there.

use ringvault_client::Client;

use super::Context;
use crate::{
    arguments::restore::Rehearse,
    exit::Exit,
    job_run::{self, Asked},
    requests,
};

/// Rehearses a restore, here or by a fleet.
pub(super) async fn run(context: &Context, flags: &Rehearse) -> anyhow::Result<Exit> {
    if let Some(id) = &flags.backup {
        super::backup_id(id)?;
    }
    let spec = requests::rehearsal_spec(&context.common, flags)?;
    let asked = Asked::new(spec.repository.clone(), Client::restore(spec), &flags.submission);
    job_run::run(context, &asked).await
}
