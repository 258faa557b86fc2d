//! The command line: what the operator asked for, and the exit code that answers.

use crate::runtime;
use clap::{Args, Parser, Subcommand};
use spooky_config::Problems;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The configuration file that is used when none is given.
const DEFAULT_CONFIG: &str = "/etc/spooky/config.yaml";
/// Wrong usage.
const USAGE: u8 = 2;

/// HTTP/3 edge reverse proxy and load balancer.
#[derive(Parser)]
#[command(name = "spooky", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    run: Run,
    /// Check the configuration, start nothing
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Run {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Load, check and serve (what happens without a command, too)
    Run(Run),
    /// Check the configuration file, start nothing
    Check(Run),
    /// Print the version
    Version,
}

/// Runs the command; called by `main` only.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None if cli.check => check(&cli.run),
        None => run(&cli.run),
        Some(Command::Run(run_args)) => run(&run_args),
        Some(Command::Check(run_args)) => check(&run_args),
        Some(Command::Version) => {
            println!("spooky {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

fn run(args: &Run) -> ExitCode {
    with_file(args, |path| match load(path) {
        Some(loaded) => runtime::serve(loaded.config),
        None => ExitCode::FAILURE,
    })
}

fn check(args: &Run) -> ExitCode {
    with_file(args, |path| match load(path) {
        Some(_) => {
            println!("Configuration validation passed successfully");
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    })
}

fn with_file(args: &Run, act: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    match &args.config {
        Some(path) => act(path),
        None if Path::new(DEFAULT_CONFIG).exists() => act(Path::new(DEFAULT_CONFIG)),
        None => {
            eprintln!("no --config provided and default config '{DEFAULT_CONFIG}' was not found.");
            ExitCode::from(USAGE)
        }
    }
}

/// Loads and checks the file; what is wrong with it goes to standard error, whatever the log level.
fn load(path: &Path) -> Option<spooky_config::Loaded> {
    match spooky_config::load(path) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| eprintln!("{warning}"));
            Some(loaded)
        }
        Err(problems) => {
            show(&problems);
            eprintln!("{}", problems.verdict());
            None
        }
    }
}

fn show(problems: &Problems) {
    if std::io::stderr().is_terminal() {
        let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        eprint!("{}", problems.terminal(color));
    } else {
        eprint!("{}", problems.plain());
    }
}
