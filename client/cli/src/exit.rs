//! Exit codes, and what an error of a command comes to.

use std::process::ExitCode;

use ringvault_client::{ErrorKind, Failure};

/// How the process ends; the numbers are documented in README and `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked for is done.
    Done = 0,
    /// It failed; the error says why.
    Failed = 1,
    /// The command line or the settings file makes no sense.
    Usage = 2,
    /// What was compared differs.
    Mismatch = 3,
    /// It was interrupted; the same command goes on.
    Interrupted = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error as it is told: its exit code, its kind, its message.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) exit: Exit,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

impl Told {
    /// What to tell of `error`. A failure's message is complete; any other error is told with its causes.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            return Self { exit: Exit::Usage, kind: "usage", message: plain(usage) };
        }
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Self { exit: Exit::Failed, kind: word(failure.kind), message: failure.message.clone() };
        }
        Self { exit: Exit::Failed, kind: word(ErrorKind::Internal), message: format!("{error:#}") }
    }
}

/// The first paragraph of a usage error, without clap's "error: ".
pub(crate) fn plain(usage: &clap::Error) -> String {
    let text = usage.to_string();
    let text = text.split("\n\nUsage:").next().unwrap_or(&text);
    text.trim_start_matches("error: ").trim().to_owned()
}

/// An error kind as `--json` writes it.
pub(crate) fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Overloaded => "overloaded",
        ErrorKind::Fenced => "fenced",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::usage;

    #[test]
    fn a_usage_error_exits_2_and_a_failure_1() {
        let told = Told::of(&usage("--x contradicts --y").into());
        assert_eq!((told.exit, told.message.as_str()), (Exit::Usage, "--x contradicts --y"));
        let told = Told::of(&Failure::new(ErrorKind::NotFound, "no keyspace shop").into());
        assert_eq!((told.exit, told.kind, told.message.as_str()), (Exit::Failed, "not_found", "no keyspace shop"));
    }
}
