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

use ringvault_runtime::{
    tasks::Tasks,
    telemetry::{self, LogFormat, Telemetry},
};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{Cli, Command, usage},
    exit::{Exit, Told},
    output::Output,
};

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
    let long_running = match &cli.command {
        Command::Coordinator(_) => true,
        Command::Worker(worker) => worker.action.is_none(),
        _ => false,
    };
    let level = cli.common.telling.log_level.as_deref().unwrap_or(if long_running { "info" } else { "warn" });
    let format = if output.json && long_running { LogFormat::Json } else { LogFormat::Text };
    let _telling = telemetry::start(Telemetry {
        level: level.to_owned(),
        format,
        otlp_endpoint: None,
        prometheus: None,
        service_name: "ringvault-client",
        instance: String::new(),
    })
    .map_err(usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let tasks = Tasks::under(&shutdown);
        let exit = commands::run(cli, output, tasks.clone()).await;
        tasks.drain(DRAIN_GRACE).await;
        exit
    });
    // A thread that is blocked on a slow disk or a dead mount must not keep the process.
    runtime.shutdown_timeout(DRAIN_GRACE);
    exit
}
