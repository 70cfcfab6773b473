//! One file a command. Each turns flags into what is asked, asks it, and tells the answer.

mod backup;
mod cat;
mod clusters;
mod coordinator;
mod diff;
mod import;
mod job;
mod list;
mod plan;
mod rehearse;
mod restore;
mod show;
mod verify;
mod worker;
mod workers;

use std::path::PathBuf;

use ringvault_archive::repository::{Location, Repository};
use ringvault_client::Client;
use ringvault_proto::ids::BackupId;
use ringvault_runtime::tasks::Tasks;

use crate::{
    arguments::{Cli, Command, common::Common, usage},
    embedded,
    exit::Exit,
    output::Output,
    requests::{self, failed},
    settings::Process,
};

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) common: Common,
    pub(crate) output: Output,
    pub(crate) tasks: Tasks,
}

/// Runs one command, or a long-running process by its settings.
pub(crate) async fn run(cli: Cli, process: Option<Process>, output: Output, tasks: Tasks) -> anyhow::Result<Exit> {
    let context = Context { common: cli.common, output, tasks };
    context.tell_of_ignored_flags();
    match process {
        Some(Process::Coordinator(settings)) => return Box::pin(coordinator::run(&context, *settings)).await,
        Some(Process::Worker(settings)) => return Box::pin(worker::run(&context, *settings)).await,
        None => {}
    }
    match cli.command {
        Command::Backup(flags) => Box::pin(backup::run(&context, &flags)).await,
        Command::Restore(flags) => Box::pin(restore::run(&context, &flags)).await,
        Command::Rehearse(flags) => Box::pin(rehearse::run(&context, &flags)).await,
        Command::Plan(flags) => Box::pin(plan::run(&context, &flags)).await,
        Command::List(flags) => list::run(&context, &flags).await,
        Command::Show(flags) => show::run(&context, &flags).await,
        Command::Verify(flags) => Box::pin(verify::run(&context, &flags)).await,
        Command::Cat(flags) => Box::pin(cat::run(&context, &flags)).await,
        Command::Diff(flags) => Box::pin(diff::run(&context, &flags)).await,
        Command::Import(flags) => Box::pin(import::run(&context, &flags)).await,
        Command::Job(flags) => job::run(&context, &flags.action).await,
        Command::Cluster(flags) => clusters::run(&context, &flags.action).await,
        Command::Worker(flags) => match &flags.action {
            Some(action) => workers::run(&context, action).await,
            None => Err(anyhow::anyhow!("a worker was started without its settings")),
        },
        Command::Coordinator(_) => Err(anyhow::anyhow!("a coordinator was started without its settings")),
    }
}

impl Context {
    fn tell_of_ignored_flags(&self) {
        if self.common.reading.protocol_version.is_some() {
            self.output.note("--protocol-version is ignored: driver and server agree on the version");
        }
    }

    /// A client of the coordinator that the flags name.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let Some(address) = &self.common.fleet.coordinator else {
            return Err(usage("this needs --coordinator URL").into());
        };
        let tls = embedded::certificates(self.common.fleet.certificates.files()?, &self.tasks)?;
        Client::connect(address, tls.as_ref()).map_err(|failure| usage(failure.message).into())
    }
}

/// Opens the repository that a read-only command names.
async fn open_repository(text: &str) -> anyhow::Result<Repository> {
    Repository::open(&location(&requests::repository(text, false)?)?).await.map_err(failed)
}

/// Where a repository is, from its normalised text.
pub(crate) fn location(text: &str) -> anyhow::Result<Location> {
    text.parse().map_err(failed)
}

/// A backup's id as the user wrote it.
fn backup_id(text: &str) -> anyhow::Result<BackupId> {
    text.parse().map_err(|e: ringvault_proto::ids::BadId| usage(format!("{e}; see `ringvault list`")).into())
}

/// Where this user's programs keep state: `$XDG_STATE_HOME/ringvault`, by default `~/.local/state/ringvault` (XDG Base
/// Directory Specification).
pub(crate) fn state_home() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local").join("state"));
    match absolute("XDG_STATE_HOME").or_else(home) {
        Some(state) => Ok(state.join("ringvault")),
        None => Err(usage("neither HOME nor XDG_STATE_HOME is set; set one: the job's journal is kept there").into()),
    }
}

/// A line of every kind that commands print.
#[cfg(test)]
pub(crate) fn samples() -> Vec<(crate::output::json::Kind, String)> {
    let all = [
        clusters::samples(),
        import::samples(),
        list::samples(),
        plan::samples(),
        show::samples(),
        verify::samples(),
        workers::samples(),
    ];
    all.into_iter().flatten().collect()
}
