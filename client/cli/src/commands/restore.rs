//! `ringvault restore`

use std::{
    io::{BufRead, IsTerminal, stdin},
    path::Path,
    time::Duration,
};

use ringvault_archive::{manifest::Manifest, repository::Repository, seed::SeedDirectory};
use ringvault_client::{
    Client, ErrorKind, Failure,
    v1::{IfExists, RestoreSpec},
};
use ringvault_proto::pattern::Patterns;
use ringvault_runtime::tasks::Tasks;

use super::{Context, import};
use crate::{
    arguments::{restore::Restore, usage, values::names},
    exit::Exit,
    interrupt::Interrupt,
    job_run::{self, Asked},
    output::terminal,
    requests::{self, failed},
};

/// Restores keyspaces, here or by a fleet.
pub(super) async fn run(context: &Context, flags: &Restore) -> anyhow::Result<Exit> {
    if let Some(id) = &flags.backup {
        super::backup_id(id)?;
    }
    let mut spec = requests::restore_spec(&context.common, flags)?;
    let seed = import::seed_directory(context, Path::new(&flags.repository)).await?;
    if let Some(seed) = &seed {
        from_seed(context, flags, seed)?;
    }
    if let Some(question) = question(flags, &spec).filter(|_| !flags.yes) {
        confirm(&question, stdin().is_terminal() && !context.output.json, &mut stdin().lock())?;
    }
    let Some(seed) = seed else { return submit(context, flags, spec).await };
    let passage = import::passage(&seed)?;
    spec.repository = utf8(&passage)?;
    let Some(manifest) = through(context, &seed, &spec).await? else { return Ok(Exit::Interrupted) };
    // Only a complete backup is found without its id. A complete one is left to be found: so the same command, which imports
    // the same rows under another id, asks for the same and goes on.
    if !manifest.is_complete() {
        spec.backup_id = manifest.backup_id.to_string();
    }
    let exit = submit(context, flags, spec).await?;
    if matches!(exit, Exit::Done | Exit::Mismatch) {
        let removed = context.tasks.spawn_blocking(move || std::fs::remove_dir_all(&passage)).await?;
        if let Err(error) = removed {
            tracing::warn!(%error, "the repository of the import could not be removed");
        }
    }
    Ok(exit)
}

async fn submit(context: &Context, flags: &Restore, spec: RestoreSpec) -> anyhow::Result<Exit> {
    let asked = Asked::new(spec.repository.clone(), Client::restore(spec), &flags.submission);
    job_run::run(context, &asked).await
}

/// Whether a directory of cassandra-backup-tool can be restored as these flags ask.
fn from_seed(context: &Context, flags: &Restore, seed: &SeedDirectory) -> anyhow::Result<()> {
    let directory = seed.path().display();
    if context.common.fleet.coordinator.is_some() {
        return Err(usage(format!(
            "{directory} was written by cassandra-backup-tool, and a fleet restores from repositories only; import it \
             first: ringvault import {directory} REPOSITORY"
        ))
        .into());
    }
    if let Some(id) = &flags.backup {
        return Err(usage(format!("{directory} was written by cassandra-backup-tool and holds no backup {id}")).into());
    }
    let patterns = Patterns::of_keyspaces(&names(&flags.keyspaces)).map_err(usage)?;
    let held = seed.keyspaces().join(", ");
    match patterns.only() {
        Some(name) if seed.keyspaces().contains(&name) => Ok(()),
        Some(name) => {
            let message = format!("{directory} holds no keyspace {name}; it holds {held}");
            Err(failed(Failure::new(ErrorKind::NotFound, message)))
        }
        None => {
            Err(usage(format!("{directory} is restored one keyspace at a time; name one of those it holds: {held}"))
                .into())
        }
    }
}

/// Imports a directory into the repository of the restore; nothing where it was asked to stop.
async fn through(context: &Context, seed: &SeedDirectory, spec: &RestoreSpec) -> anyhow::Result<Option<Manifest>> {
    // Of this part only: the job listens for itself.
    let tasks = Tasks::under(context.tasks.cancelled());
    let interrupt = Interrupt::listen(&tasks, "interrupted; nothing was written to the cluster yet")?;
    context.output.note(&format!(
        "{} was written by cassandra-backup-tool: importing it into {} first, which is removed after the restore",
        seed.path().display(),
        spec.repository
    ));
    let work = async {
        let repository = Repository::open_or_create(&super::location(&spec.repository)?).await.map_err(failed)?;
        import::import(context, seed, spec.keyspaces.first().map(String::as_str), &repository).await
    };
    let manifest = tokio::select! {
        manifest = Box::pin(work) => manifest,
        () = interrupt.asked() => return Ok(None),
    };
    tasks.drain(Duration::ZERO).await;
    let manifest = manifest?;
    manifest.warnings.iter().for_each(|warning| context.output.note(warning));
    Ok(Some(manifest))
}

fn utf8(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().ok_or_else(|| usage(format!("{} is not UTF-8; set XDG_STATE_HOME", path.display())))?;
    Ok(text.to_owned())
}

/// What would be deleted, and the name that says it is meant.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    flag: &'static str,
    would: String,
    name: String,
}

/// What to ask before anything is deleted; nothing where nothing is.
fn question(flags: &Restore, spec: &RestoreSpec) -> Option<Question> {
    let name = match spec.keyspace_as.as_str() {
        "" => spec.keyspaces.join(","),
        name => name.to_owned(),
    };
    let truncates = spec.if_exists() == IfExists::Truncate;
    let (flag, would) = match (flags.drop, truncates) {
        (true, _) if spec.tables.is_empty() => ("--drop", format!("drop {} with all its data", keyspaces(&name))),
        (true, _) => ("--drop", format!("drop tables of {} with all their data", keyspaces(&name))),
        (false, true) => {
            ("--if-exists truncate", format!("delete all rows of the restored tables of {}", keyspaces(&name)))
        }
        (false, false) => return None,
    };
    Some(Question { flag, would, name })
}

fn keyspaces(name: &str) -> String {
    if name.contains([',', '*', '?', '!']) { format!("keyspaces {name}") } else { format!("keyspace {name}") }
}

/// Asks for the keyspace's name, on a terminal; in a script only `--yes` will do.
fn confirm(question: &Question, terminal: bool, answers: &mut dyn BufRead) -> anyhow::Result<()> {
    let Question { flag, would, name } = question;
    if !terminal {
        let message = format!("{flag} would {would}, and nobody is here to be asked; give --yes if that is meant");
        return Err(usage(message).into());
    }
    terminal::tell(format!("{flag} will {would}, once the backup is checked."));
    terminal::tell(format!("type {name} to go on:"));
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    if answer.trim() == name { Ok(()) } else { Err(usage(format!("that is not {name}; nothing was done")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Cli, Command};

    fn asked(line: &str) -> Option<Question> {
        let cli = Cli::read(format!("ringvault restore {line} --hosts h").split_whitespace()).expect(line);
        let Command::Restore(flags) = &cli.command else { unreachable!("a restore") };
        question(flags, &requests::restore_spec(&cli.common, flags).expect("valid"))
    }

    #[test]
    fn what_deletes_asks_by_the_name_of_what_is_deleted() {
        assert_eq!(asked("shop /bk"), None);
        assert_eq!(asked("shop /bk --if-exists append"), None);
        let question = asked("shop /bk --drop").expect("it drops");
        assert_eq!((question.would.as_str(), question.name.as_str()), ("drop keyspace shop with all its data", "shop"));
        let question = asked("shop /bk --drop --keyspace-as copy").expect("it drops");
        assert_eq!(question.name, "copy");
        let question = asked("shop,user_* /bk --drop").expect("it drops");
        assert!(question.would.contains("keyspaces shop,user_*"), "{question:?}");
        let question = asked("shop /bk --if-exists truncate").expect("it truncates");
        assert_eq!((question.flag, question.name.as_str()), ("--if-exists truncate", "shop"));
        let question = asked("shop /bk --drop --tables a").expect("it drops tables");
        assert!(question.would.contains("tables of keyspace shop"), "{question:?}");
    }

    #[test]
    fn a_drop_needs_the_name_on_a_terminal_and_yes_in_a_script() {
        let question = asked("shop /bk --drop").expect("it drops");
        let confirm = |terminal, answer: &str| confirm(&question, terminal, &mut answer.as_bytes());
        assert!(confirm(true, "shop\n").is_ok());
        assert!(confirm(true, "y\n").is_err());
        assert!(confirm(true, "").is_err());
        let error = confirm(false, "shop\n").expect_err("a script").to_string();
        assert!(error.contains("--yes"), "{error}");
    }
}
