//! What goes together on a command line and what does not; each refusal says why and what to give instead.
//!
//! Here: how a command reaches a cluster. [`chosen`]: what of a backup it is about, and how that is to be changed.

mod chosen;

use super::{Cli, Command, clusters::ClusterAction, jobs::JobAction, jobs::Submission, usage};

/// What a subcommand has to do with a cluster and with a coordinator.
enum Needs {
    /// A cluster: `--hosts` here, or `--coordinator` with `--cluster`.
    Cluster,
    /// A cluster that this process reads itself: `--hosts`.
    ClusterHere,
    /// A coordinator only.
    Coordinator,
    /// Neither: it reads the repository, or it is a process with its own settings.
    Neither,
}

/// Refuses flags that contradict each other.
pub(super) fn go_together(cli: &Cli) -> Result<(), clap::Error> {
    let name = cli.command.name();
    let fleet = &cli.common.fleet;
    match needs(&cli.command) {
        Needs::Cluster if fleet.coordinator.is_some() => fleet_job(cli, name),
        Needs::Cluster => embedded_job(cli, name),
        Needs::ClusterHere => cluster_here(cli, name),
        Needs::Coordinator => coordinator_only(cli, name),
        Needs::Neither => neither(cli, name),
    }?;
    certificates(cli, name)?;
    memory(cli, name)?;
    changes(cli)?;
    chosen::make_sense(&cli.command)
}

/// Certificates are for what talks to a coordinator, or is one.
fn certificates(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    let fleet = &cli.common.fleet;
    let used = fleet.coordinator.is_some() || matches!(&cli.command, Command::Coordinator(_) | Command::Worker(_));
    match fleet.certificates.given().first() {
        Some(flag) if !used => Err(usage(format!(
            "{flag} is for the way to a coordinator and goes with --coordinator; {name} has its own --ssl and --ca-cert \
             for the way to the database"
        ))),
        _ => fleet.certificates.files().map(drop),
    }
}

/// A limit on memory is for processes that move rows.
fn memory(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    let given = cli.common.lean.memory_limit.is_some() && std::env::var_os("RINGVAULT_MEMORY_LIMIT").is_none();
    let moves_rows = match &cli.command {
        Command::Worker(worker) => worker.action.is_none(),
        command => matches!(needs(command), Needs::Cluster) && cli.common.fleet.coordinator.is_none(),
    };
    if !given || moves_rows {
        return Ok(());
    }
    Err(usage(match cli.common.fleet.coordinator {
        Some(_) => {
            "--memory-limit is each worker's own: give it to `ringvault worker`, or set memory_limit in its file"
                .to_owned()
        }
        None => format!("--memory-limit is for jobs that run in this process and for workers; {name} is neither"),
    }))
}

fn needs(command: &Command) -> Needs {
    match command {
        Command::Backup(_) | Command::Restore(_) | Command::Rehearse(_) | Command::Plan(_) => Needs::Cluster,
        Command::Verify(verify) if verify.against_cluster => Needs::Cluster,
        Command::Diff(diff) if diff.against_cluster => Needs::ClusterHere,
        Command::Job(_) | Command::Worker(_) | Command::Cluster(_) => Needs::Coordinator,
        Command::List(_)
        | Command::Show(_)
        | Command::Verify(_)
        | Command::Diff(_)
        | Command::Cat(_)
        | Command::Import(_)
        | Command::Coordinator(_) => Needs::Neither,
    }
}

fn fleet_job(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    no_connection(
        cli,
        "with --coordinator the workers connect by the profile that --cluster names; hosts and secrets stand in the \
         workers' settings only",
    )?;
    if cli.common.fleet.cluster.is_none() {
        return Err(usage(format!(
            "{name} --coordinator needs --cluster NAME: which cluster, as the workers' settings name it (see `ringvault \
             worker list`)"
        )));
    }
    Ok(())
}

fn embedded_job(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    let common = &cli.common;
    if common.fleet.cluster.is_some() && std::env::var_os("RINGVAULT_CLUSTER").is_none() {
        return Err(usage("--cluster names a profile of a fleet's workers; it goes with --coordinator URL"));
    }
    if common.connection.hosts.is_empty() {
        return Err(usage(format!(
            "{name} needs --hosts H1,H2 to reach the cluster from here, or --coordinator URL --cluster NAME to have a \
             fleet do it"
        )));
    }
    if let Some(submission) = submission(&cli.command) {
        let fleet_only = ["--detach", "--priority", "--workers"];
        let given = submission.given();
        if let Some((flag, _)) = given.iter().find(|(flag, given)| *given && fleet_only.contains(flag)) {
            return Err(usage(format!(
                "{flag} goes with --coordinator: without one the job runs in this process, alone"
            )));
        }
    }
    connection(cli)
}

/// How a command hands its job over, if it has one.
fn submission(command: &Command) -> Option<&Submission> {
    match command {
        Command::Backup(backup) => Some(&backup.submission),
        Command::Restore(restore) => Some(&restore.submission),
        Command::Rehearse(rehearse) => Some(&rehearse.submission),
        Command::Verify(verify) => Some(&verify.submission),
        _ => None,
    }
}

/// A command that changes limits changes one at least.
fn changes(cli: &Cli) -> Result<(), clap::Error> {
    let lean = &cli.common.lean;
    match &cli.command {
        Command::Job(job) => match &job.action {
            JobAction::Limit { change, .. } => {
                let own = change.priority.is_some() || change.workers.is_some() || change.ranges.is_some();
                if own || lean.rate.is_some() || lean.pace.is_some() {
                    return Ok(());
                }
                Err(usage("job limit changes nothing; give --priority, --workers, --ranges, --rate or --pace"))
            }
            _ => Ok(()),
        },
        Command::Cluster(cluster) => match &cluster.action {
            ClusterAction::Limit { change, .. } => {
                if lean.pace.is_some() {
                    return Err(usage(
                        "--pace is a job's: ringvault job limit ID --pace …; a cluster has --requests-per-node",
                    ));
                }
                if change.ranges.is_some() || change.requests_per_node.is_some() || lean.rate.is_some() {
                    return Ok(());
                }
                Err(usage("cluster limit changes nothing; give --rate, --ranges or --requests-per-node"))
            }
            ClusterAction::List => Ok(()),
        },
        _ => Ok(()),
    }
}

fn cluster_here(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    if cli.common.fleet.coordinator.is_some() && std::env::var_os("RINGVAULT_COORDINATOR").is_none() {
        return Err(usage(format!(
            "{name} reads repository and cluster from here, since rows never pass a coordinator; give --hosts H1,H2, or have \
             a fleet compare sums with `ringvault verify --against-cluster`"
        )));
    }
    if cli.common.connection.hosts.is_empty() {
        return Err(usage(format!("{name} --against-cluster needs --hosts H1,H2 to reach the cluster from here")));
    }
    connection(cli)
}

fn connection(cli: &Cli) -> Result<(), clap::Error> {
    let common = &cli.common;
    tls(cli)?;
    if common.connection.password.is_some() && common.connection.password_file.is_some() {
        return Err(usage("--password and --password-file contradict each other; give one"));
    }
    let password = common.connection.password.is_some() || common.connection.password_file.is_some();
    match (common.connection.username.is_some(), password) {
        (true, false) => Err(usage(
            "--username needs a password: RINGVAULT_PASSWORD in the environment, --password-file FILE or --password",
        )),
        (false, true) => Err(usage("a password needs --username")),
        _ => Ok(()),
    }
}

fn tls(cli: &Cli) -> Result<(), clap::Error> {
    let connection = &cli.common.connection;
    let files = [
        ("--ca-cert", connection.ca_cert.is_some()),
        ("--client-cert", connection.client_cert.is_some()),
        ("--client-key", connection.client_key.is_some()),
        ("--ssl-no-verify", connection.ssl_no_verify),
    ];
    if let Some((flag, _)) = files.into_iter().find(|(_, given)| *given)
        && !connection.ssl
    {
        return Err(usage(format!("{flag} has no effect without --ssl; give --ssl too")));
    }
    if connection.client_cert.is_some() != connection.client_key.is_some() {
        return Err(usage("--client-cert and --client-key belong together; give both"));
    }
    if connection.ca_cert.is_some() && connection.ssl_no_verify {
        return Err(usage("--ca-cert says whom to trust, --ssl-no-verify trusts anybody; give one"));
    }
    Ok(())
}

fn coordinator_only(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    no_connection(
        cli,
        &match &cli.command {
            Command::Worker(worker) if worker.action.is_none() => {
                "a worker finds its clusters in its settings: [clusters.NAME] with hosts, username, …".to_owned()
            }
            _ => format!("{name} talks to a coordinator, not to a cluster"),
        },
    )?;
    // A worker may have the address in its settings file.
    let worker_with_file = matches!(&cli.command, Command::Worker(worker) if worker.action.is_none());
    if cli.common.fleet.coordinator.is_none() && !worker_with_file {
        return Err(usage(format!(
            "{name} needs --coordinator URL (or RINGVAULT_COORDINATOR): a job without a coordinator lives and ends in \
             the process that runs it"
        )));
    }
    no_cluster(cli, name)
}

fn neither(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    let why = match &cli.command {
        Command::Coordinator(_) => "a coordinator speaks no CQL; clusters stand in the workers' settings".to_owned(),
        Command::Verify(_) | Command::Diff(_) => {
            format!("{name} reads the repository and no cluster; --against-cluster compares with one")
        }
        _ => format!("{name} reads the repository and no cluster"),
    };
    no_connection(cli, &why)?;
    if cli.common.fleet.coordinator.is_some() && std::env::var_os("RINGVAULT_COORDINATOR").is_none() {
        return Err(usage(match &cli.command {
            Command::Coordinator(_) => {
                "a coordinator listens (--listen); --coordinator is for clients and workers".into()
            }
            _ => format!("{name} reads the repository from here, without a coordinator; leave --coordinator out"),
        }));
    }
    no_cluster(cli, name)
}

fn no_connection(cli: &Cli, why: &str) -> Result<(), clap::Error> {
    match cli.common.connection.given().as_slice() {
        [] => Ok(()),
        [flag] => Err(usage(format!("{flag} doesn't belong here: {why}"))),
        flags => Err(usage(format!("{} don't belong here: {why}", flags.join(", ")))),
    }
}

fn no_cluster(cli: &Cli, name: &str) -> Result<(), clap::Error> {
    match cli.common.fleet.cluster {
        Some(_) if std::env::var_os("RINGVAULT_CLUSTER").is_none() => {
            Err(usage(format!("--cluster doesn't belong here: {name} is about no single cluster")))
        }
        _ => Ok(()),
    }
}
