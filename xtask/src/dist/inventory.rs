//! The crates that are linked into the program, from `cargo metadata`.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::step::Step;

/// A crate of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// SPDX expression.
    pub(super) licence: String,
    pub(super) folder: PathBuf,
    pub(super) repository: Option<String>,
    /// It belongs to the workspace.
    pub(super) is_ours: bool,
    /// Indexes of the crates that it uses.
    pub(super) uses: Vec<usize>,
}

/// Returns the crates that `program` links for `target`, itself included, in the order of their names.
pub(super) fn of(root: &Path, program: &str, target: &str) -> Result<Vec<Package>, String> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target];
    let output = Step::cargo(root, &arguments).output()?;
    let metadata = serde_json::from_slice(&output).map_err(|error| format!("cargo metadata: {error}"))?;
    linked(&metadata, program)
}

fn linked(metadata: &Value, program: &str) -> Result<Vec<Package>, String> {
    let by_id = |list: &[Value]| -> BTreeMap<String, Value> {
        list.iter().map(|entry| (text(entry, "id"), entry.clone())).collect()
    };
    let nodes = by_id(list(at(at(metadata, "resolve"), "nodes")));
    let packages = by_id(list(at(metadata, "packages")));

    let start = packages.iter().find(|(_, package)| text(package, "name") == program).map(|(id, _)| id.clone());
    let mut waiting = vec![start.ok_or_else(|| format!("no package '{program}'"))?];
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(id) = waiting.pop() {
        if found.contains_key(&id) {
            continue;
        }
        let node = nodes.get(&id).ok_or_else(|| format!("'{id}' is not resolved"))?;
        let dependencies: BTreeSet<String> =
            list(at(node, "deps")).iter().filter(|dep| is_linked(dep)).map(|dep| text(dep, "pkg")).collect();
        waiting.extend(dependencies.iter().cloned());
        found.insert(id, dependencies);
    }

    let mut sorted: Vec<(&String, &Value)> = packages.iter().filter(|(id, _)| found.contains_key(*id)).collect();
    sorted.sort_by_key(|(_, package)| (text(package, "name"), text(package, "version")));
    let place = |id: &String| sorted.iter().position(|(other, _)| *other == id);
    let uses = |id: &String| found.get(id).into_iter().flatten().filter_map(place).collect();
    Ok(sorted.iter().map(|(id, description)| package(description, uses(id))).collect())
}

/// Returns whether a dependency is one of the program, not only of its tests or build scripts.
fn is_linked(dependency: &Value) -> bool {
    list(at(dependency, "dep_kinds")).iter().any(|kind| at(kind, "kind").is_null())
}

fn package(description: &Value, uses: Vec<usize>) -> Package {
    let manifest = PathBuf::from(text(description, "manifest_path"));
    Package {
        name: text(description, "name"),
        version: text(description, "version"),
        licence: text(description, "license"),
        folder: manifest.parent().map(Path::to_owned).unwrap_or_default(),
        repository: at(description, "repository").as_str().map(str::to_owned),
        is_ours: at(description, "source").is_null(),
        uses,
    }
}

fn at<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    at(value, name).as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dependencies_of_tests_and_build_scripts_are_not_linked() {
        let package = |id: &str| json!({ "id": id, "name": id, "version": "1.0.0", "manifest_path": "/c/Cargo.toml" });
        let used = |id: &str, kind: Value| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [package("tool"), package("spooky"), package("base"), package("library")],
            "resolve": { "nodes": [
                { "id": "spooky", "deps": [used("library", Value::Null), used("tool", json!("dev"))] },
                { "id": "library", "deps": [used("base", Value::Null), used("tool", json!("build"))] },
                { "id": "base", "deps": [] },
                { "id": "tool", "deps": [] },
            ] },
        });
        let found = linked(&metadata, "spooky").unwrap();
        let names: Vec<_> = found.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["base", "library", "spooky"]);
        assert_eq!(found[2].uses, [1]);
        assert_eq!(linked(&metadata, "other").unwrap_err(), "no package 'other'");
    }
}
