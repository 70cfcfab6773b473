//! The `ringvault` binary: every subcommand.
//!
//! - [`arguments`]: what may be said on a command line; [`settings`]: what stands in files
//! - [`requests`]: from flags to what is asked of a coordinator
//! - [`commands`]: one file a command; [`job_run`]: a job from its submission to its end
//! - [`embedded`]: the only file that knows coordinator and worker; it wires processes together
//! - [`output`]: what people and programs read; [`exit`]: exit codes; [`interrupt`]: signals; [`again`]: commands to copy
//!
//! Deliberately absent: any decision about a job, any CQL, any row.

mod again;
mod arguments;
mod commands;
mod embedded;
mod exit;
mod interrupt;
mod job_run;
mod output;
mod requests;
mod settings;

use std::{process::ExitCode, time::Duration};

use ringvault_runtime::{tasks::Tasks, telemetry};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{Cli, usage},
    exit::{Exit, Told},
    output::Output,
    settings::Process,
};

/// The system's allocator keeps what threads have given back, up to twice what is in use. How many arenas this one has is
/// said where the binary is built, in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long tasks may take to end once the command has.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error).into(),
    };
    let output = Output { json: cli.common.telling.json };
    let exit = start(cli, output).unwrap_or_else(|error| {
        let told = Told::of(&error);
        output.error(&told);
        told.exit
    });
    exit.into()
}

/// Tells a usage error, or prints help and version.
fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let told = Told { exit: Exit::Usage, kind: "usage", message: exit::plain(error) };
        Output { json: true }.error(&told);
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

fn start(cli: Cli, output: Output) -> anyhow::Result<Exit> {
    let process = Process::read(&cli)?;
    let telling = telemetry::start(settings::telemetry(process.as_ref(), &cli.common.telling)).map_err(usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let tasks = Tasks::under(&shutdown);
        let exit = commands::run(cli, process, output, tasks.clone()).await;
        tasks.drain(DRAIN_GRACE).await;
        exit
    });
    // A thread that is blocked on a slow disk or a dead mount must not keep the process.
    runtime.shutdown_timeout(DRAIN_GRACE);
    // Spans of the command end with it; they are sent now or never.
    telling.stop();
    exit
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_allocator_is_built_with_two_arenas() {
        assert_eq!(tikv_jemalloc_ctl::opt::narenas::read().expect("jemalloc is the allocator"), 2);
    }
}
