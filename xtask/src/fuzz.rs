//! `cargo xtask fuzz`: runs libFuzzer on the stable toolchain.
//!
//! Reads the committed corpus. New inputs go to the target directory unless `--keep` merges them into the corpus.

use std::path::{Path, PathBuf};

use crate::{
    files::{create, text},
    step::{Step, host},
};

/// The flags of cargo-fuzz without the address sanitizer, which needs a nightly toolchain. The targets have no `unsafe`.
const INSTRUMENTATION: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Default run time in seconds.
const DEFAULT_SECONDS: u32 = 60;
/// Seed of the runs in [`run_all`]. Fixed, so that a failure there repeats; single runs print a seed of their own.
const SEED: &str = "-seed=1";
/// Inputs for each target in [`run_all`], if they do not take longer than its time.
const RUNS: &str = "-runs=200000";
/// Maximum length of an input in bytes.
const MAX_INPUT: &str = "-max_len=16384";

/// Parsed arguments.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    target: &'a str,
    seconds: u32,
    keep: bool,
}

pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let targets = targets(root)?;
    if arguments.is_empty() {
        println!("{}", targets.join("\n"));
        return Ok(());
    }
    let request = parse(arguments)?;
    if !targets.iter().any(|target| target == request.target) {
        return Err(format!("no fuzz target '{}'; there are {}", request.target, targets.join(", ")));
    }
    fuzz(root, &request)
}

fn parse<'a>(arguments: &[&'a str]) -> Result<Request<'a>, String> {
    let Some((target, mut rest)) = arguments.split_first() else { return Err("name a target".to_owned()) };
    let mut request = Request { target, seconds: DEFAULT_SECONDS, keep: false };
    loop {
        rest = match rest {
            [] => return Ok(request),
            ["--keep", more @ ..] => {
                request.keep = true;
                more
            }
            ["--seconds", seconds, more @ ..] => {
                request.seconds = seconds.parse().map_err(|_| format!("'{seconds}' is no number of seconds"))?;
                more
            }
            [unknown, ..] => return Err(format!("unknown argument '{unknown}'")),
        };
    }
}

/// Returns the names of the targets, which are those of their source files.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            path.extension().is_some_and(|extension| extension == "rs").then_some(name)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Runs each target for [`RUNS`] inputs, at most this number of seconds. Stops at the first failure.
pub(crate) fn run_all(root: &Path, seconds: u32) -> Result<(), String> {
    let programs = build(root, &[])?;
    for target in targets(root)? {
        Programs { repeats: true, ..programs.clone() }.run(root, &Request { target: &target, seconds, keep: false })?;
    }
    Ok(())
}

fn fuzz(root: &Path, request: &Request<'_>) -> Result<(), String> {
    build(root, &["--bin", request.target])?.run(root, request)
}

/// The built targets.
#[derive(Clone)]
struct Programs {
    build: PathBuf,
    release: PathBuf,
    /// Runs with [`SEED`] and [`RUNS`], prints only the final statistics.
    repeats: bool,
}

/// Builds all targets, or those selected by `arguments`.
fn build(root: &Path, arguments: &[&str]) -> Result<Programs, String> {
    let triple = host(root)?;
    let build = root.join("fuzz/target");
    let all = ["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &triple];
    Step::cargo(root, &[&all, arguments].concat())
        .env("RUSTFLAGS", INSTRUMENTATION)
        .env("CARGO_TARGET_DIR", &build.to_string_lossy())
        .run()?;
    let release = build.join(&triple).join("release");
    Ok(Programs { build, release, repeats: false })
}

impl Programs {
    fn run(&self, root: &Path, request: &Request<'_>) -> Result<(), String> {
        let binary = self.release.join(request.target);
        let found = folder(&self.build.join("found").join(request.target))?;
        let corpus = folder(&root.join("fuzz/corpus").join(request.target))?;
        let artifacts = folder(&root.join("fuzz/artifacts").join(request.target))?;
        let time = format!("-max_total_time={}", request.seconds);
        let prefix = format!("-artifact_prefix={artifacts}/");
        let arguments = [MAX_INPUT, "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", &time, &prefix];
        let repeats: &[&str] = if self.repeats { &["-verbosity=0", SEED, RUNS] } else { &[] };
        Step::program(root, &binary, &[&arguments[..], repeats, &[&found, &corpus]].concat()).run()?;
        if request.keep {
            Step::program(root, &binary, &["-merge=1", MAX_INPUT, &corpus, &found]).run()?;
        }
        Ok(())
    }
}

fn folder(path: &Path) -> Result<String, String> {
    create(path)?;
    Ok(text(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        assert_eq!(parse(&["qpack"]), Ok(Request { target: "qpack", seconds: 60, keep: false }));
        let all = parse(&["qpack", "--keep", "--seconds", "5"]);
        assert_eq!(all, Ok(Request { target: "qpack", seconds: 5, keep: true }));
        assert!(parse(&["qpack", "--seconds", "soon"]).is_err());
        assert!(parse(&["qpack", "--fast"]).is_err());
    }

    #[test]
    fn every_target_has_an_entry_in_the_manifest() {
        let root = crate::root();
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for target in targets(&root).unwrap() {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
        }
    }
}
