//! The two outputs of the command line, for a person and for pipes.
//!
//! Owns how text leaves the process, and when it may be coloured. A reader that went away (`spooky schema | head`) is no
//! failure. Called by every command.

use spooky_config::Problems;
use std::{
    io::{ErrorKind, IsTerminal, Write},
    process::ExitCode,
};

/// Prints what a command is for, with a final newline, and gives its exit code.
pub(super) fn print(text: &str) -> ExitCode {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line on the way. Nobody who listens is no reason to stop.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _nobody_listens = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line to standard error; there is nobody left to tell when that fails.
pub(crate) fn complain(line: &str) {
    let _nobody_listens = writeln!(std::io::stderr().lock(), "{line}");
}

/// Shows problems on standard error: with the source line on a terminal, else one to a line.
pub(crate) fn show(problems: &Problems) {
    if problems.is_empty() {
        return;
    }
    let mut out = std::io::stderr().lock();
    let text = if out.is_terminal() { problems.terminal(is_colored()) } else { problems.plain() };
    let _nobody_listens = out.write_all(text.as_bytes());
}

/// Whether a terminal is shown colours.
fn is_colored() -> bool {
    let value = |name| std::env::var_os(name).unwrap_or_default();
    value("NO_COLOR").is_empty() && value("TERM") != "dumb"
}
