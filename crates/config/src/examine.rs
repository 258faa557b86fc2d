//! A file together with what it points to. Called by `check`, at start and before a reload.

use std::path::Path;

use crate::load::{Loaded, Reading, read_file};
use crate::problem::{Problem, Problems, Severity};
use crate::world::{Mode, check_world};

/// Reads and checks a file and what it points to, as [`crate::load`] and [`check_world`] together. In a file that is refused,
/// what its valid keys point to is looked at all the same, so that everything is told at once; ports are not tried then.
///
/// The second value holds all warnings.
pub fn examine(path: &Path, mode: Mode) -> Result<(Loaded, Problems), Problems> {
    let Reading { problems, values } = read_file(path);
    let (wrong, untold) = (problems.errors() > 0, problems.untold());
    let Some((config, tree)) = values.filter(|_| untold.errors == 0) else { return Err(problems) };
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let refused: Vec<String> = errors.map(|problem| problem.path.clone()).collect();
    let loaded = Loaded::new(config, tree, &problems);
    let mode = if wrong { Mode::Start } else { mode };
    let about_valid_keys = |found: &Problem| !refused.iter().any(|path| is_within(&found.path, path));
    let found = check_world(&loaded, mode).into_iter().filter(about_valid_keys).collect();
    let all = problems.and(found);
    if all.errors() > 0 { Err(all) } else { Ok((loaded, all)) }
}

/// Whether the key `path` is `block` or stands in it.
fn is_within(path: &str, block: &str) -> bool {
    path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
