//! Output to standard output and standard error, with colours on a terminal.
//!
//! A closed pipe (`spooky schema | head`) is not an error.

use spooky_config::Problems;
use std::{
    io::{ErrorKind, IsTerminal, Write},
    process::ExitCode,
};

/// Prints the result of a command, with a final newline. Returns the exit code.
pub(super) fn print(text: &str) -> ExitCode {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("error: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line of progress. Ignores errors.
pub(crate) fn print_line(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ignored = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a line to standard error. Ignores errors.
pub(crate) fn print_error(line: &str) {
    let _ignored = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints problems to standard error: with the source line on a terminal, else one per line.
pub(crate) fn print_problems(problems: &Problems) {
    if problems.is_empty() {
        return;
    }
    let mut out = std::io::stderr().lock();
    let text = if out.is_terminal() { problems.terminal(is_colored()) } else { problems.plain() };
    let _ignored = out.write_all(text.as_bytes());
}

fn is_colored() -> bool {
    let value = |name| std::env::var_os(name).unwrap_or_default();
    value("NO_COLOR").is_empty() && value("TERM") != "dumb"
}
