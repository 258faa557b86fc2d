//! The command line: what the operator asked for, and the exit code that answers.
//!
//! Owns the texts on both outputs and the exit codes (0 done, 1 failed, 2 wrong usage); decides nothing about serving.
//! Called by `main` only.

mod arguments;
pub(crate) mod console;
mod file;

use crate::{demo, runtime};
use arguments::{Arguments, Check, Command, File, Shell};
use clap::{CommandFactory, Parser};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The configuration file that is used when none is given.
const DEFAULT_CONFIG: &str = "/etc/spooky/config.yaml";
/// The exit code for wrong usage; the parser of the arguments exits with the same.
const USAGE: u8 = 2;

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    match Arguments::parse().into_command() {
        Command::Run(file) => with_file(file, run),
        Command::Check(Check { file, json }) => with_file(file, |path| check(path, json)),
        Command::Demo { port } => demo::run(port),
        Command::Schema => console::print(&spooky_config::schema()),
        Command::Defaults { config: None } => console::print(&spooky_config::defaults()),
        Command::Defaults { config: Some(path) } => defaults(&path),
        Command::Completions { shell } => console::print(&completions(shell)),
        Command::Version => console::print(&version()),
    }
}

/// Acts on the file that was named, or on the default one.
fn with_file(file: File, act: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    // A file that cannot even be looked for is not missing: the attempt to read it says why.
    let exists = || Path::new(DEFAULT_CONFIG).try_exists().unwrap_or(true);
    let Some(path) = file.config.or_else(|| exists().then(|| PathBuf::from(DEFAULT_CONFIG))) else {
        console::complain(&format!("no --config provided and default config '{DEFAULT_CONFIG}' was not found."));
        return ExitCode::from(USAGE);
    };
    act(&path)
}

fn run(path: &Path) -> ExitCode {
    match file::usable(path) {
        Some(config) => runtime::serve(config),
        None => ExitCode::FAILURE,
    }
}

fn check(path: &Path, json: bool) -> ExitCode {
    let problems = file::problems(path);
    let passed = problems.errors() == 0;
    if !json {
        console::show(&problems);
    }
    let printed = match (json, passed) {
        (true, _) => console::print(&problems.json()),
        (false, true) => console::print(&problems.verdict()),
        (false, false) => {
            console::complain(&problems.verdict());
            ExitCode::FAILURE
        }
    };
    if passed { printed } else { ExitCode::FAILURE }
}

fn defaults(path: &Path) -> ExitCode {
    match file::valid(path) {
        Some(config) => console::print(&config.to_yaml()),
        None => ExitCode::FAILURE,
    }
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut Arguments::command(), "spooky", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// What this program is. The first line is that of `--version`.
fn version() -> String {
    let features = match env!("SPOOKY_FEATURES") {
        "" => "none",
        features => features,
    };
    format!(
        "spooky {}\ncommit: {}\ntarget: {}\nfeatures: {features}\n",
        env!("CARGO_PKG_VERSION"),
        env!("SPOOKY_COMMIT"),
        env!("SPOOKY_TARGET"),
    )
}

#[cfg(test)]
mod tests;
