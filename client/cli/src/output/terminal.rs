//! The only place that writes to standard output and standard error.

use std::io::{self, Write};

/// A line of the answer, to standard output. A reader that went away is no error: nobody is left to tell.
pub(crate) fn say(line: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", line.as_ref());
}

/// A line about what happens, to standard error.
pub(crate) fn tell(line: impl AsRef<str>) {
    let mut out = io::stderr().lock();
    let _ = writeln!(out, "{}", line.as_ref());
}

/// Whether anybody reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It was taken.
    Taken,
    /// The reader went away, as `head` does.
    NobodyReads,
}

/// Whole lines of an answer at once, to standard output.
pub(crate) fn write(lines: &[u8]) -> Written {
    let mut out = io::stdout().lock();
    match out.write_all(lines).and_then(|()| out.flush()) {
        Ok(()) => Written::Taken,
        Err(_) => Written::NobodyReads,
    }
}
