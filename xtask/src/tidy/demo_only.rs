//! Restricts some dependencies of the crate `spooky` to the demo and tests. `layers` checks dependencies of whole crates.

use super::{File, Problem};

/// Crates that only the demo, which has its own client and certificate, and tests may use.
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
        .map(|(line, path)| file.problem(line, format!("`{path}` is for {DEMO} and tests only")))
        .collect()
}

/// Returns whether a path in `text` begins with this crate. A match inside a longer name or path does not count.
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
        let text = "//! A file.\nuse quinn::Endpoint;\n";
        assert_eq!(check(&sample("spooky/src/worker.rs", text))[0].line, 2);
        assert_eq!(check(&sample("spooky/src/demo/client.rs", text)), []);
        assert_eq!(check(&sample("spooky/src/runtime/tests.rs", text)), []);
        assert_eq!(check(&sample("spooky/src/exchange/tests/world.rs", text)), []);
        assert_eq!(check(&sample("spooky/src/worker.rs", "use spooky_edge::quinn::X;\n")), []);
    }
}
