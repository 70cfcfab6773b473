//! `ringvault restore`

use std::io::{BufRead, IsTerminal, stdin};

use ringvault_client::Client;

use super::Context;
use crate::{
    arguments::{jobs::Restore, usage},
    exit::Exit,
    job_run::{self, Asked},
    output::terminal,
    requests,
};

/// Restores a keyspace, here or by a fleet.
pub(super) async fn run(context: &Context, flags: &Restore) -> anyhow::Result<Exit> {
    if let Some(id) = &flags.backup {
        super::backup_id(id)?;
    }
    let spec = requests::restore_spec(&context.common, flags)?;
    if flags.drop && !flags.yes {
        confirm_drop(&spec.keyspace, stdin().is_terminal() && !context.output.json, &mut stdin().lock())?;
    }
    let asked =
        Asked { repository: spec.repository.clone(), spec: Client::restore(spec), submission: flags.submission };
    job_run::run(context, &asked).await
}

/// Asks for the keyspace's name, on a terminal; in a script only `--yes` will do.
fn confirm_drop(keyspace: &str, terminal: bool, answers: &mut dyn BufRead) -> anyhow::Result<()> {
    if !terminal {
        return Err(usage(format!(
            "--drop would drop keyspace {keyspace} and nobody is here to be asked; give --yes if that is meant"
        ))
        .into());
    }
    terminal::tell(format!(
        "--drop drops keyspace {keyspace} with all its data once every chunk of the backup is checked."
    ));
    terminal::tell("type the keyspace's name to drop it:");
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    if answer.trim() == keyspace {
        Ok(())
    } else {
        Err(usage("that is not the keyspace's name; nothing was done").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_needs_the_name_on_a_terminal_and_yes_in_a_script() {
        let confirm = |terminal, answer: &str| confirm_drop("shop", terminal, &mut answer.as_bytes());
        assert!(confirm(true, "shop\n").is_ok());
        assert!(confirm(true, "y\n").is_err());
        assert!(confirm(true, "").is_err());
        let error = confirm(false, "shop\n").expect_err("a script").to_string();
        assert!(error.contains("--yes"), "{error}");
    }
}
