//! The command line. Exit codes: 0 success, 1 failure, 2 wrong usage.

mod arguments;
pub(crate) mod console;
mod file;

use crate::{
    demo,
    diagnose::{self, Checked, system},
    runtime,
};
use arguments::{Arguments, Check, Command, Diagnose, File, Run, Shell};
use clap::{CommandFactory, Parser};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The configuration file that is used when none is given.
const DEFAULT_CONFIG: &str = "/etc/spooky/config.yaml";
/// The exit code for wrong usage, also that of the argument parser.
const USAGE: u8 = 2;

/// Parses the arguments of the process and runs the command.
pub fn main() -> ExitCode {
    // First, while little of the heap is in use. If the system refuses, the process only uses more memory.
    let _refused = spooky_net::heap::avoid_huge_pages();
    match Arguments::parse().into_command() {
        Command::Run(Run { file, tls_keylog }) => with_file(file, |path| run(path, tls_keylog)),
        Command::Check(Check { file, json, system: true }) => check_system(file.config.as_deref(), json),
        Command::Check(Check { file, json, system: false }) => with_file(file, |path| check(path, json)),
        Command::Diagnose(Diagnose { file, output }) => with_file(file, |path| diagnose(path, output)),
        Command::Demo { port } => demo::run(port),
        Command::Schema => console::print(&spooky_config::schema()),
        Command::Defaults { config: None } => console::print(&spooky_config::defaults()),
        Command::Defaults { config: Some(path) } => defaults(&path),
        Command::Completions { shell } => console::print(&completions(shell)),
        Command::Man { directory } => manual(&directory),
        Command::Version => console::print(&format!("spooky {}", arguments::VERSION)),
    }
}

/// Calls `act` with the given file, or with the default one.
fn with_file(file: File, act: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    // If the check fails, reading the file reports the reason.
    let exists = || Path::new(DEFAULT_CONFIG).try_exists().unwrap_or(true);
    let Some(path) = file.config.or_else(|| exists().then(|| PathBuf::from(DEFAULT_CONFIG))) else {
        console::print_error(&format!("no --config provided and default config '{DEFAULT_CONFIG}' was not found."));
        return ExitCode::from(USAGE);
    };
    act(&path)
}

fn run(path: &Path, tls_keylog: bool) -> ExitCode {
    if tls_keylog {
        allow_key_log();
    }
    match file::load_checked(path) {
        Some(config) => runtime::serve(config, path),
        None => ExitCode::FAILURE,
    }
}

/// Enables the key log, and prints that: with the file, the traffic can be decrypted.
fn allow_key_log() {
    match std::env::var_os("SSLKEYLOGFILE").filter(|file| !file.is_empty()) {
        Some(file) => {
            spooky_net::tls::allow_key_log();
            console::print_error(&format!("TLS secrets are appended to '{}'", file.display()));
        }
        None => console::print_error("--tls-keylog has no effect: SSLKEYLOGFILE is not set"),
    }
}

fn check(path: &Path, json: bool) -> ExitCode {
    let found = file::check(path);
    let passed = found.errors() == 0;
    if json {
        let printed = console::print(&found.json());
        return if passed { printed } else { ExitCode::FAILURE };
    }
    console::print_problems(&found);
    if passed {
        return console::print(&found.summary());
    }
    console::print_error(&found.summary());
    ExitCode::FAILURE
}

/// Prints the settings of the kernel with a verdict each. Like warnings, low values do not change the exit code.
fn check_system(path: Option<&Path>, json: bool) -> ExitCode {
    let config = match path {
        Some(path) => file::load_unchecked(path),
        None => Some(spooky_config::default_config()),
    };
    let Some(config) = config else { return ExitCode::FAILURE };
    let found = system::judge(&system::machine, &config);
    console::print(&if json { system::json(&found) } else { system::text(&found) })
}

/// Writes the archive also for a configuration with errors: they may be the problem.
fn diagnose(path: &Path, output: Option<PathBuf>) -> ExitCode {
    let (problems, config) = file::check_loaded(path);
    match diagnose::write(&Checked { problems, config }, arguments::VERSION, output) {
        Ok(archive) => console::print(&format!(
            "{} written; it has paths and addresses of clients from the log, but no secrets of the configuration",
            archive.display()
        )),
        Err(error) => {
            console::print_error(&format!("error: the archive cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn defaults(path: &Path) -> ExitCode {
    match file::load_unchecked(path) {
        Some(config) => console::print(&config.to_yaml()),
        None => ExitCode::FAILURE,
    }
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut Arguments::command(), "spooky", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn manual(directory: &Path) -> ExitCode {
    match clap_mangen::generate_to(Arguments::command(), directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::print_error(&format!(
                "error: the manual pages cannot be written to '{}': {error}",
                directory.display()
            ));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
