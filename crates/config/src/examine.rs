//! Loads a file and runs the preflight checks on it. Called by `check`, at start and before a reload.

use std::cell::RefCell;
use std::path::Path;

use crate::load::{Loaded, Parsed, read_file, read_text};
use crate::preflight::{PreflightMode, preflight};
use crate::problem::{Problem, Problems, Severity};

/// Runs [`crate::load`] and [`preflight`]. If the file has errors, its valid keys still go through preflight, without
/// binding ports, so that all problems are reported at once.
///
/// The second returned value contains all warnings.
pub fn examine(path: &Path, mode: PreflightMode) -> Result<(Loaded, Problems), Problems> {
    examine_parsed(read_file(path), mode)
}

/// As [`examine`], for a text of somebody who may not know the environment: problems do not show values of variables. `file`
/// is the file name in problems.
pub fn examine_text(text: &str, file: &str, mode: PreflightMode) -> Result<(Loaded, Problems), Problems> {
    let variables = RefCell::new(Vec::new());
    let env = |name: &str| {
        let value = std::env::var(name).ok()?;
        variables.borrow_mut().push((name.to_owned(), value.clone()));
        Some(value)
    };
    let parsed = read_text(text, file, &env);
    let mut variables = variables.take();
    variables.sort_unstable();
    variables.dedup();
    match examine_parsed(parsed, mode) {
        Ok((loaded, problems)) => Ok((loaded, problems.without(&variables))),
        Err(problems) => Err(problems.without(&variables)),
    }
}

fn examine_parsed(parsed: Parsed, mode: PreflightMode) -> Result<(Loaded, Problems), Problems> {
    let Parsed { problems, values } = parsed;
    let (wrong, suppressed) = (problems.errors() > 0, problems.suppressed());
    let Some((config, tree)) = values.filter(|_| suppressed.errors == 0) else { return Err(problems) };
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let refused: Vec<String> = errors.map(|problem| problem.path.clone()).collect();
    let loaded = Loaded::new(config, tree, &problems);
    let mode = if wrong { PreflightMode::Start } else { mode };
    let about_valid_keys = |found: &Problem| !refused.iter().any(|path| is_within(&found.path, path));
    let found = preflight(&loaded, mode).into_iter().filter(about_valid_keys).collect();
    let all = problems.and(found);
    if all.errors() > 0 { Err(all) } else { Ok((loaded, all)) }
}

/// Whether the key `path` is `block` or inside it.
fn is_within(path: &str, block: &str) -> bool {
    path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
