//! The arguments: commands, options and their help texts.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// The version, and below it the build information.
pub(super) const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("SPOOKY_COMMIT"),
    "\ntarget: ",
    env!("SPOOKY_TARGET"),
    "\nfeatures: ",
    env!("SPOOKY_FEATURES"),
);

/// HTTP/3 edge reverse proxy and load balancer
///
/// Without a command, loads, checks and serves the configuration file.
#[derive(Debug, Parser)]
#[command(name = "spooky", version = VERSION, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    run: Run,
    /// Check the configuration and exit, like the command `check`
    #[arg(long, conflicts_with = "tls_keylog")]
    check: bool,
    /// With --check: print the problems as a JSON array
    #[arg(long, requires = "check")]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct File {
    /// The configuration file [default: /etc/spooky/config.yaml]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) file: File,
    /// Append TLS secrets to the file named by SSLKEYLOGFILE, to decrypt packet captures
    #[arg(long)]
    pub(super) tls_keylog: bool,
}

#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) file: File,
    /// Print the problems as a JSON array
    #[arg(long)]
    pub(super) json: bool,
    /// Check the settings of the kernel instead, for the configuration file if one is given
    #[arg(long)]
    pub(super) system: bool,
}

#[derive(Debug, PartialEq, Eq, Args)]
pub(super) struct Diagnose {
    #[command(flatten)]
    pub(super) file: File,
    /// The archive [default: spooky-diagnose-<time>.tar.gz in the working directory]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) output: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Command {
    /// Load, check and serve the configuration (the default command)
    Run(Run),
    /// Check the configuration, its files, accounts and ports, and exit
    Check(Check),
    /// Write an archive for a support case: version, configuration without secrets, system, metrics, last log lines
    Diagnose(Diagnose),
    /// Run a demo on loopback: an embedded backend, a self-signed certificate, one HTTP/3 request
    Demo {
        /// The UDP port on 127.0.0.1
        #[arg(long, value_name = "PORT", default_value_t = 9889, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Print the JSON Schema (2020-12) of the configuration file
    Schema,
    /// Print the configuration in effect as YAML, every key present, secrets redacted
    Defaults {
        /// The configuration file [default: the smallest valid configuration]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
    },
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages, `spooky.1` and one for each command
    Man {
        /// The directory, which must exist
        #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
    /// Print version, commit, target and features
    Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// bash(1)
    Bash,
    /// zsh(1)
    Zsh,
    /// fish(1)
    Fish,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

impl Arguments {
    /// Returns the command; without one, `run`, or `check` for `--check`.
    pub(super) fn into_command(self) -> Command {
        let Self { run, check, json, command } = self;
        match command {
            Some(command) => command,
            None if check => Command::Check(Check { file: run.file, json, system: false }),
            None => Command::Run(run),
        }
    }
}
