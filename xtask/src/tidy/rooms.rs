//! Rooms inside a crate: what only a part of it may import.
//!
//! Owns the walls that the dependency graph cannot show. Called by the list of rules.

use super::{File, Problem};

/// In the sources of `spooky`, these stay in the demo, which brings a client and a certificate of its own, and in tests.
const DEMO_ONLY: [&str; 4] = ["quinn::", "h3_quinn::", "rcgen::", "spooky_testkit::"];
const PROGRAM: &str = "spooky/src/";
const DEMO: &str = "spooky/src/demo/";
/// Files of tests, and directories of them.
const TESTS: [&str; 2] = ["/tests.rs", "/tests/"];

pub(super) fn check(file: &File) -> Vec<Problem> {
    let is_test = TESTS.iter().any(|part| file.path.contains(part));
    if !file.path.starts_with(PROGRAM) || file.path.starts_with(DEMO) || is_test {
        return Vec::new();
    }
    let code = file.lines().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(line, text)| DEMO_ONLY.iter().filter(move |path| begins(text, path)).map(move |path| (line, path)))
        .map(|(line, path)| file.problem(line, format!("`{path}` belongs to {DEMO} alone")))
        .collect()
}

/// Whether a path begins with this crate: it is not the end of a longer name or path.
fn begins(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        !before.ends_with(|character: char| character.is_alphanumeric() || "_:".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    #[test]
    fn the_demo_keeps_its_client() {
        let text = "//! A room.\nuse quinn::Endpoint;\n";
        assert_eq!(check(&sample("spooky/src/worker.rs", text))[0].line, 2);
        assert_eq!(check(&sample("spooky/src/demo/client.rs", text)), []);
        assert_eq!(check(&sample("spooky/src/runtime/tests.rs", text)), []);
        assert_eq!(check(&sample("spooky/src/exchange/tests/world.rs", text)), []);
        assert_eq!(check(&sample("spooky/src/worker.rs", "use spooky_edge::quinn::X;\n")), []);
    }
}
