//! Tests of the argument parser.

use super::{
    arguments::{Arguments, Check, Command, Diagnose, File, Run, Shell, VERSION},
    completions,
};
use clap::{CommandFactory, Parser, error::ErrorKind};

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = std::iter::once("spooky").chain(line.split_whitespace());
    Arguments::try_parse_from(words).map(Arguments::into_command)
}

fn file(path: &str) -> File {
    File { config: (!path.is_empty()).then(|| path.into()) }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(super::manual(directory.path()), std::process::ExitCode::SUCCESS);
    for command in Arguments::command().get_subcommands() {
        let name = format!("spooky-{}.1", command.get_name());
        let page = std::fs::read_to_string(directory.path().join(&name)).expect(&name);
        assert!(page.contains(".SH NAME"), "{name}");
    }
    assert_eq!(super::manual(&directory.path().join("missing")), std::process::ExitCode::FAILURE);
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn the_short_forms_mean_their_commands() {
    for line in ["--config f", "-c f", "run --config f", "run -c f"] {
        assert_eq!(parse(line).unwrap(), Command::Run(Run { file: file("f"), tls_keylog: false }), "{line}");
    }
    for line in ["--tls-keylog -c f", "run --config f --tls-keylog"] {
        assert_eq!(parse(line).unwrap(), Command::Run(Run { file: file("f"), tls_keylog: true }), "{line}");
    }
    for line in ["--config f --check", "--check -c f", "check --config f"] {
        assert_eq!(
            parse(line).unwrap(),
            Command::Check(Check { file: file("f"), json: false, system: false }),
            "{line}"
        );
    }
    for line in ["--check --json", "check --json"] {
        assert_eq!(parse(line).unwrap(), Command::Check(Check { file: file(""), json: true, system: false }), "{line}");
    }
    assert_eq!(parse("").unwrap(), Command::Run(Run { file: file(""), tls_keylog: false }));
}

#[test]
fn the_other_commands() {
    let system = Check { file: file(""), json: false, system: true };
    assert_eq!(parse("check --system").unwrap(), Command::Check(system));
    for (line, output) in [("diagnose -c f", None), ("diagnose --config f --output o", Some("o".into()))] {
        assert_eq!(parse(line).unwrap(), Command::Diagnose(Diagnose { file: file("f"), output }), "{line}");
    }
    assert_eq!(parse("demo").unwrap(), Command::Demo { port: 9889 });
    assert_eq!(parse("demo --port 1").unwrap(), Command::Demo { port: 1 });
    assert_eq!(parse("schema").unwrap(), Command::Schema);
    assert_eq!(parse("defaults").unwrap(), Command::Defaults { config: None });
    assert_eq!(parse("defaults -c f").unwrap(), Command::Defaults { config: Some("f".into()) });
    assert_eq!(parse("completions fish").unwrap(), Command::Completions { shell: Shell::Fish });
    assert_eq!(parse("version").unwrap(), Command::Version);
}

#[test]
fn wrong_usage_is_code_2_and_help_is_not() {
    for line in [
        "--confg f",
        "--config",
        "serve",
        "--json",
        "run --json",
        "--check --tls-keylog",
        "check --tls-keylog",
        "--config f check",
        "demo --port 0",
        "demo --port 65536",
        "completions",
        "completions powershell",
        "version --json",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
    }
    for line in ["--help", "-h", "run --help", "demo -h", "completions --help"] {
        let error = parse(line).expect_err(line);
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::DisplayHelp, 0), "{line}");
    }
}

#[test]
fn the_version_comes_first() {
    let first = format!("spooky {}", env!("CARGO_PKG_VERSION"));
    for line in ["--version", "-V"] {
        let error = parse(line).expect_err(line);
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::DisplayVersion, 0), "{line}");
        assert_eq!(error.to_string().trim_end(), format!("spooky {VERSION}"), "{line}");
    }
    let version = format!("spooky {VERSION}");
    let names: Vec<_> = version.lines().map(|line| line.split([' ', ':']).next().unwrap()).collect();
    assert_eq!(version.lines().next(), Some(first.as_str()));
    assert_eq!(names, ["spooky", "commit", "target", "features"]);
    let empty = version.lines().find(|line| line.ends_with(": "));
    assert_eq!(empty, None);
}

#[test]
fn every_shell_completes_every_command() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = completions(shell);
        for word in ["run", "check", "demo", "schema", "defaults", "completions", "version", "config"] {
            assert!(script.contains(word), "{shell:?}: {word}");
        }
    }
}
