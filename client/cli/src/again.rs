//! Commands to copy: the one that goes on, the one that restores, those that watch and cancel. Secrets are never part of
//! them.

use crate::arguments::common::{Common, Fleet};

/// Stands for a partition key, which is a value of the database and is not repeated.
const KEY_WORD: &str = "'…the same key…'";

/// The command line of this process as it may be run again to go on: without `--fresh`, without a password, and without a
/// partition key.
pub(crate) fn same_command(arguments: impl IntoIterator<Item = String>) -> String {
    let mut words = vec!["ringvault".to_owned()];
    let mut arguments = arguments.into_iter().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--fresh" => {}
            "--password" => {
                arguments.next();
                words.push(password_word());
            }
            other if other.starts_with("--password=") => words.push(password_word()),
            "--partition-key" => {
                arguments.next();
                words.extend(["--partition-key".to_owned(), KEY_WORD.to_owned()]);
            }
            other if other.starts_with("--partition-key=") => {
                words.extend(["--partition-key".to_owned(), KEY_WORD.to_owned()]);
            }
            other => words.push(quoted(other)),
        }
    }
    words.join(" ")
}

/// The shell takes the password from where it is kept; it was given by a flag here.
fn password_word() -> String {
    "--password \"$RINGVAULT_PASSWORD\"".to_owned()
}

/// The command that restores a backup to where it came from.
pub(crate) fn restore(common: &Common, keyspace: &str, repository: &str, backup_id: &str) -> String {
    let mut words = vec!["ringvault".to_owned(), "restore".to_owned(), quoted(keyspace), quoted(repository)];
    words.extend(["--backup".to_owned(), backup_id.to_owned()]);
    match &common.fleet.coordinator {
        Some(_) => {
            words.extend(fleet_words(&common.fleet));
            let cluster = common.fleet.cluster.as_deref().unwrap_or_default();
            words.extend(["--cluster".to_owned(), quoted(cluster)]);
        }
        None => words.extend(connection_words(common)),
    }
    words.join(" ")
}

/// The command that does `action` (watch, cancel) to a coordinator's job.
pub(crate) fn job(fleet: &Fleet, action: &str, job_id: &str) -> String {
    let mut words = vec![format!("ringvault job {action} {}", quoted(job_id))];
    words.extend(fleet_words(fleet));
    words.join(" ")
}

/// The way to the coordinator; certificates as far as the environment does not name them anyway.
fn fleet_words(fleet: &Fleet) -> Vec<String> {
    let given = fleet.certificates.given();
    let certificates = &fleet.certificates;
    let files = [
        ("--tls-ca", &certificates.tls_ca),
        ("--tls-cert", &certificates.tls_cert),
        ("--tls-key", &certificates.tls_key),
    ];
    let address = fleet.coordinator.iter().map(|address| ("--coordinator", address.clone()));
    let files = files.into_iter().filter(|(flag, _)| given.contains(flag));
    let files = files.filter_map(|(flag, file)| Some((flag, file.as_ref()?.display().to_string())));
    address.chain(files).flat_map(|(flag, value)| [flag.to_owned(), quoted(&value)]).collect()
}

fn connection_words(common: &Common) -> Vec<String> {
    let connection = &common.connection;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let values = [
        ("--hosts", (!connection.hosts.is_empty()).then(|| connection.hosts.join(","))),
        ("--port", connection.port.map(|port| port.to_string())),
        ("--username", connection.username.clone()),
        ("--password-file", path(&connection.password_file)),
        ("--local-dc", connection.local_dc.clone()),
        ("--timeout", connection.timeout.map(|timeout| format!("{}", timeout.as_secs_f64()))),
        ("--ca-cert", path(&connection.ca_cert)),
        ("--client-cert", path(&connection.client_cert)),
        ("--client-key", path(&connection.client_key)),
    ];
    let mut words: Vec<String> = values
        .into_iter()
        .filter_map(|(flag, value)| value.map(|value| [flag.to_owned(), quoted(&value)]))
        .flatten()
        .collect();
    let switches = [("--ssl", connection.ssl), ("--ssl-no-verify", connection.ssl_no_verify)];
    words.extend(switches.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_owned()));
    if connection.password.is_some() && std::env::var_os("RINGVAULT_PASSWORD").is_none() {
        words.push(password_word());
    }
    words
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Cli;

    #[test]
    fn the_command_that_goes_on_holds_no_password_and_does_not_start_over() {
        let line =
            ["/usr/bin/ringvault", "backup", "shop", "/my bk", "--password", "canary", "--fresh", "--hosts", "h"];
        let command = same_command(line.map(str::to_owned));
        assert_eq!(command, "ringvault backup shop '/my bk' --password \"$RINGVAULT_PASSWORD\" --hosts h");
        for flag in ["--password=canary", "--partition-key=canary", "--partition-key canary"] {
            let words = ["ringvault", "list"].into_iter().chain(flag.split(' ')).map(str::to_owned);
            let command = same_command(words);
            assert!(!command.contains("canary") && command.starts_with("ringvault list --pa"), "{command}");
        }
    }

    #[test]
    fn the_restore_command_parses_and_names_the_backup() {
        let line =
            "ringvault backup shop /bk --hosts h1,h2 --port 9043 --username u --password canary --ssl --ca-cert /ca";
        let cli = Cli::read(line.split(' ')).expect("parses");
        let command = restore(&cli.common, "shop", "/bk", "20261122T145053Z-7k3f");
        assert!(!command.contains("canary"), "{command}");
        let words = command.replace("\"$RINGVAULT_PASSWORD\"", "x");
        let again = Cli::read(words.split(' ')).expect("parses");
        assert_eq!(again.common.connection.hosts, ["h1", "h2"]);
        assert_eq!(again.common.connection.port, Some(9043));
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("s3://b/p"), "s3://b/p");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(rm -rf /)"), "'$(rm -rf /)'");
    }
}
