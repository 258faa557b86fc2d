//! Forbids import cycles between the modules of a crate.
//!
//! Builds the graph of files that use items of other files, and reports its cycles. Follows re-exports to the file that
//! defines the item, so a `mod.rs` that only re-exports its children is not part of a cycle. Calling a method whose inherent
//! `impl` is in another file than its type is a use of that file. Ignores test code.

#![allow(clippy::indexing_slicing, reason = "indices of modules come from the list of modules itself")]

mod graph;
mod module;
mod resolve;

use std::collections::BTreeMap;

use super::{File, Problem};
use graph::components;
use module::Module;
use resolve::Crate;

const SOURCES: &str = "/src/";

pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let mut crates: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        if let Some((root, inside)) = file.path.split_once(SOURCES)
            && !inside.starts_with("bin/")
        {
            crates.entry(root).or_default().push(file);
        }
    }
    crates.values().flat_map(|files| check_crate(files)).collect()
}

fn check_crate(files: &[&File]) -> Vec<Problem> {
    let modules: Vec<Module> = files.iter().filter_map(|file| Module::read(file)).collect();
    let graph = Crate::new(&modules).uses();
    let mut problems = Vec::new();
    for component in components(&graph) {
        let names: Vec<&str> = component.iter().map(|at| modules[*at].name.as_str()).collect();
        let (from, to) = (component[0], component.iter().find(|to| graph[component[0]].contains_key(to)));
        let line = to.and_then(|to| graph[from].get(to)).copied().unwrap_or(1);
        let text = format!("modules form an import cycle: {}", names.join(", "));
        problems.push(Problem { path: modules[from].file.clone(), line, text });
    }
    problems
}

#[cfg(test)]
mod tests;
