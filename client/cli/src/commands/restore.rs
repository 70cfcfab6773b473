//! `ringvault restore`

use std::io::{BufRead, IsTerminal, stdin};

use ringvault_client::{
    Client,
    v1::{IfExists, RestoreSpec},
};

use super::Context;
use crate::{
    arguments::{restore::Restore, usage},
    exit::Exit,
    job_run::{self, Asked},
    output::terminal,
    requests,
};

/// Restores keyspaces, here or by a fleet.
pub(super) async fn run(context: &Context, flags: &Restore) -> anyhow::Result<Exit> {
    if let Some(id) = &flags.backup {
        super::backup_id(id)?;
    }
    let spec = requests::restore_spec(&context.common, flags)?;
    if let Some(question) = question(flags, &spec).filter(|_| !flags.yes) {
        confirm(&question, stdin().is_terminal() && !context.output.json, &mut stdin().lock())?;
    }
    let asked =
        Asked { repository: spec.repository.clone(), spec: Client::restore(spec), submission: flags.submission };
    job_run::run(context, &asked).await
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
