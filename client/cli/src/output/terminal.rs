//! The only place that writes to standard output and standard error, and what is redrawn in place there.
//!
//! At the end of standard error there may be a *block* of lines that is drawn again and again. Whatever else is told is
//! put above it.

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use terminal_size::{Height, Width, terminal_size_of};

/// The block as it stands on the terminal; empty: none. The terminal is the process's, so this is, too.
static BLOCK: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A line of the answer, to standard output. A reader that went away is no error: nobody is left to tell.
pub(crate) fn say(line: impl AsRef<str>) {
    around_block(|| {
        let _ = writeln!(io::stdout().lock(), "{}", line.as_ref());
    });
}

/// A line about what happens, to standard error.
pub(crate) fn tell(line: impl AsRef<str>) {
    around_block(|| {
        let _ = writeln!(io::stderr().lock(), "{}", line.as_ref());
    });
}

/// Rows and columns of the terminal behind standard error; nothing where there is none.
pub(crate) fn size() -> Option<(usize, usize)> {
    terminal_size_of(io::stderr()).map(|(Width(columns), Height(rows))| (rows.into(), columns.into()))
}

/// Draws the block anew where it stands; no lines: takes it away. Lines must be narrower than the terminal, and fewer
/// than it has rows.
pub(crate) fn redraw(lines: Vec<String>) {
    let mut block = block();
    let text = redrawn(block.len(), &lines);
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    *block = lines;
}

fn block() -> MutexGuard<'static, Vec<String>> {
    BLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes something above the block.
fn around_block(write: impl FnOnce()) {
    let block = block();
    if block.is_empty() {
        write();
        return;
    }
    let mut out = io::stderr().lock();
    let _ = out.write_all(redrawn(block.len(), &[]).as_bytes()).and_then(|()| out.flush());
    drop(out);
    write();
    let _ = io::stderr().lock().write_all(redrawn(0, &block).as_bytes());
}

/// What is sent to draw `lines` over a block of so many lines, with the cursor below it before and after (ECMA-48: CUU
/// up, EL clear to the end of the line, ED clear what is below). Written in one piece, so that nothing flickers.
fn redrawn(lines_before: usize, lines: &[String]) -> String {
    let mut text = String::new();
    if lines_before > 0 {
        text.push_str(&format!("\r\x1b[{lines_before}A"));
    }
    for line in lines {
        text.push_str(line);
        text.push_str("\x1b[K\n");
    }
    if lines.len() < lines_before {
        text.push_str("\x1b[J");
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_drawn_over_itself_and_what_is_left_of_it_is_cleared() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(redrawn(0, &lines), "a\x1b[K\nb\x1b[K\n");
        assert_eq!(redrawn(2, &lines), "\r\x1b[2Aa\x1b[K\nb\x1b[K\n");
        assert_eq!(redrawn(3, &lines[..1]), "\r\x1b[3Aa\x1b[K\n\x1b[J");
        assert_eq!(redrawn(2, &[]), "\r\x1b[2A\x1b[J");
    }
}
