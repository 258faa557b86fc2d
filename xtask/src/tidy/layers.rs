//! Layers of crates, checked on the dependency graph.
//!
//! Lists which crate may import which, and which third-party crates only some crates may import. Reads `cargo metadata`.

use std::path::Path;

use serde_json::Value;

use super::Problem;
use crate::step::Step;

/// The crates of the workspace from low to high layers, with those that each may import. A crate that is missing here is a
/// problem: add it to this table and to `ARCHITECTURE.md`.
const LAYERS: [(&str, &[&str]); 13] = [
    ("spooky-config", &[]),
    ("spooky-bridge", &[]),
    ("spooky-table", &[]),
    ("spooky-lb", &["spooky-config", "spooky-bridge"]),
    ("spooky-net", &["spooky-config"]),
    ("spooky-telemetry", &["spooky-config", "spooky-lb"]),
    ("spooky-edge", &["spooky-config", "spooky-bridge", "spooky-table", "spooky-net", "spooky-telemetry"]),
    ("spooky-transport", &["spooky-config", "spooky-bridge", "spooky-table", "spooky-net", "spooky-telemetry"]),
    ("spooky-control", &["spooky-config", "spooky-telemetry"]),
    ("spooky", &PRODUCT),
    ("spooky-testkit", &[]),
    ("spooky-bench", &PRODUCT_AND_PEERS),
    ("xtask", &[]),
];
const PRODUCT: [&str; 9] = [
    "spooky-config",
    "spooky-bridge",
    "spooky-table",
    "spooky-lb",
    "spooky-net",
    "spooky-telemetry",
    "spooky-edge",
    "spooky-transport",
    "spooky-control",
];
const PRODUCT_AND_PEERS: [&str; 11] = [
    "spooky-config",
    "spooky-bridge",
    "spooky-table",
    "spooky-lb",
    "spooky-net",
    "spooky-telemetry",
    "spooky-edge",
    "spooky-transport",
    "spooky-control",
    "spooky",
    "spooky-testkit",
];
/// Crates that are not part of the product.
const OUTSIDE: [&str; 3] = ["spooky-testkit", "spooky-bench", "xtask"];
/// The crate that tests of any crate may import.
const PEERS: &str = "spooky-testkit";

/// Third-party crates (by prefix of their names) that only some crates of the product may import, and why.
const RESTRICTED: [(&str, &[&str], &str); 23] = [
    ("aws-lc-rs", &["spooky-edge"], "only `edge` derives QUIC keys; all other cryptography is in rustls"),
    ("quinn-proto", &["spooky-edge"], "only `edge` implements QUIC"),
    // The client of `spooky demo`; `tidy::demo_only` keeps both out of the rest of that crate.
    ("quinn", &["spooky"], "the engine is used directly, without the asynchronous layer"),
    ("h3", &["spooky"], "Spooky implements HTTP/3 itself"),
    ("h2", &[], "Spooky implements the HTTP/2 client itself"),
    ("serde", &["spooky-config", "spooky-telemetry", "spooky-control", "spooky"], "only where data enters or leaves"),
    (
        "tokio",
        &["spooky-net", "spooky-telemetry", "spooky-edge", "spooky-transport", "spooky-control", "spooky"],
        "code that decides does no I/O",
    ),
    (
        "hyper",
        &["spooky-telemetry", "spooky-edge", "spooky-transport", "spooky-control", "spooky"],
        "code that decides does no I/O",
    ),
    ("subtle", &["spooky-control"], "only the control API compares a secret; all other cryptography is in rustls"),
    ("sd-notify", &["spooky"], "only the runtime knows the service manager"),
    ("httparse", &["spooky-bridge"], "only `bridge` parses HTTP/1.1; framing is never left to a library"),
    ("hickory", &["spooky-transport"], "only `transport` resolves names, off the workers' threads"),
    ("socket2", &["spooky-net"], "only `net` opens sockets"),
    ("flate2", &["spooky"], "only the archive of `spooky diagnose` is compressed"),
    ("tar", &["spooky"], "only `spooky diagnose` writes archives"),
    ("landlock", &["spooky-net"], "only `net` makes system calls"),
    ("seccompiler", &["spooky-net"], "only `net` makes system calls"),
    ("libc", &["spooky-net"], "only `net` makes system calls"),
    ("nix", &["spooky-config", "spooky-net"], "accounts are looked up to check the file and to become them"),
    (
        "rustc-hash",
        &["spooky-edge"],
        "what peers may choose freely needs a hash with a secret; stream ids are sequential",
    ),
    ("opentelemetry", &["spooky-telemetry"], "workers describe spans with plain data"),
    ("prost", &["spooky-telemetry"], "only metrics with native histograms are encoded by it"),
    (
        "crossbeam-queue",
        &["spooky-net", "spooky-telemetry"],
        "workers share little, and what they share is listed in ARCHITECTURE.md",
    ),
];

/// A package of the workspace: name, manifest, and its dependencies with their kinds.
#[derive(Debug)]
pub(super) struct Package {
    name: String,
    manifest: String,
    dependencies: Vec<(String, Kind)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
}

pub(super) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let output = Step::cargo(root, &arguments).output()?;
    let metadata: Value = serde_json::from_slice(&output).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("cargo metadata lists no packages")?;
    packages.iter().map(|package| read(package, root).ok_or("cargo metadata has another form".to_owned())).collect()
}

fn read(package: &Value, root: &Path) -> Option<Package> {
    let manifest = Path::new(package.get("manifest_path")?.as_str()?);
    let mut dependencies = Vec::new();
    for dependency in package.get("dependencies")?.as_array()? {
        let dev = dependency.get("kind").and_then(Value::as_str) == Some("dev");
        let kind = if dev { Kind::Dev } else { Kind::Normal };
        dependencies.push((dependency.get("name")?.as_str()?.to_owned(), kind));
    }
    Some(Package {
        name: package.get("name")?.as_str()?.to_owned(),
        manifest: manifest.strip_prefix(root).unwrap_or(manifest).to_string_lossy().into_owned(),
        dependencies,
    })
}

pub(super) fn check(packages: &[Package]) -> Vec<Problem> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Problem> {
    let problem = |text: String| Problem { path: package.manifest.clone(), line: 1, text };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
        return vec![problem(format!("crate `{}` has no layer", package.name))];
    };
    let mut problems = Vec::new();
    for (dependency, kind) in &package.dependencies {
        let ours = LAYERS.iter().any(|(name, _)| name == dependency);
        let is_allowed = allowed.contains(&dependency.as_str()) || (*kind == Kind::Dev && dependency == PEERS);
        if ours && !is_allowed {
            problems.push(problem(format!("`{}` may not import `{dependency}`", package.name)));
        }
        if *kind == Kind::Normal && !OUTSIDE.contains(&package.name.as_str()) {
            problems.extend(restricted(&package.name, dependency).map(problem));
        }
    }
    problems
}

/// Returns why crate `name` may not import a third-party crate, if so.
fn restricted(name: &str, dependency: &str) -> Option<String> {
    let family = |entry: &&(&str, &[&str], &str)| {
        dependency == entry.0 || dependency.strip_prefix(entry.0).is_some_and(|rest| rest.starts_with(['-', '_']))
    };
    let (_, crates, reason) = RESTRICTED.iter().find(family)?;
    (!crates.contains(&name)).then(|| format!("`{name}` may not import `{dependency}`: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(name: &str, dependencies: &[(&str, Kind)]) -> Vec<String> {
        let dependencies = dependencies.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let package = Package { name: name.to_owned(), manifest: "Cargo.toml".to_owned(), dependencies };
        check(&[package]).into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn dependencies_point_down() {
        assert_eq!(texts("spooky-lb", &[("spooky-bridge", Kind::Normal)]), [""; 0]);
        let up = texts("spooky-bridge", &[("spooky-lb", Kind::Normal)]);
        assert_eq!(up, ["`spooky-bridge` may not import `spooky-lb`"]);
        assert_eq!(texts("spooky-edge", &[("spooky-transport", Kind::Normal)]).len(), 1);
        assert_eq!(texts("spooky-transport", &[("spooky-edge", Kind::Dev)]).len(), 1);
        assert_eq!(texts("spooky-net", &[("spooky", Kind::Normal)]).len(), 1);
    }

    #[test]
    fn test_peers_stay_in_tests() {
        assert_eq!(texts("spooky", &[("spooky-testkit", Kind::Dev)]), [""; 0]);
        for outside in ["spooky-testkit", "spooky-bench", "xtask"] {
            assert_eq!(texts("spooky", &[(outside, Kind::Normal)]).len(), 1);
        }
    }

    #[test]
    fn third_party_crates_are_restricted() {
        for (name, dependency) in [
            ("spooky-transport", "quinn-proto"),
            ("spooky-edge", "quinn"),
            ("spooky-lb", "tokio"),
            ("spooky-lb", "tokio-util"),
            ("spooky-bridge", "serde_json"),
            ("spooky-edge", "h3-quinn"),
            ("spooky-edge", "h2"),
            ("spooky", "libc"),
            ("spooky", "crossbeam-queue"),
            ("spooky-edge", "httparse"),
        ] {
            assert_eq!(texts(name, &[(dependency, Kind::Normal)]).len(), 1, "{name} {dependency}");
        }
        assert_eq!(texts("spooky-edge", &[("quinn-proto", Kind::Normal)]), [""; 0]);
        assert_eq!(texts("spooky-transport", &[("h2", Kind::Dev)]), [""; 0]);
        assert_eq!(texts("spooky-testkit", &[("h3", Kind::Normal)]), [""; 0]);
    }

    #[test]
    fn a_new_crate_needs_a_layer() {
        assert_eq!(texts("spooky-attic", &[]), ["crate `spooky-attic` has no layer"]);
    }
}
