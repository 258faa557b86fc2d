//! Forbidden text: unfinished-work markers, catch-all module names, machine-specific paths. Checks all text files.

use std::path::Path;

use super::{File, Problem};

/// Markers of unfinished work, split so that this file passes the rule.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Module names that could contain anything.
const CATCH_ALL: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
/// Prefixes of machine-specific paths, split likewise.
const MACHINE: [&str; 4] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/fa", "rm/"), concat!("/ho", "me/")];

pub(super) fn check(file: &File) -> Vec<Problem> {
    let mut problems: Vec<Problem> = catch_all(file).into_iter().collect();
    for (line, text) in file.lines() {
        for word in UNFINISHED.iter().filter(|word| has_word(text, word)) {
            problems.push(file.problem(line, format!("`{word}` marks unfinished work: finish it, or open an issue")));
        }
        for path in MACHINE.iter().filter(|path| has_path(text, path)) {
            problems.push(file.problem(line, format!("`{path}` exists on one machine only")));
        }
    }
    problems
}

fn catch_all(file: &File) -> Option<Problem> {
    let rust = file.is_rust().then(|| Path::new(&file.path))?;
    let mut names = rust.with_extension("");
    let found = loop {
        let name = names.file_name()?.to_str()?.to_owned();
        if CATCH_ALL.contains(&name.as_str()) {
            break name;
        }
        names.pop();
    };
    Some(file.problem(1, format!("`{found}` says nothing about its contents")))
}

fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + word.len()..).unwrap_or_default());
        !before.ends_with(part_of_word) && !after.starts_with(part_of_word)
    })
}

/// Returns whether `text` contains an absolute path with this prefix. A match inside a longer path or URL does not count.
fn has_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        !before.ends_with(|character: char| character.is_alphanumeric() || "._-/}]".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    fn texts(path: &str, text: &str) -> Vec<String> {
        check(&sample(path, text)).into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn unfinished_work_is_found_in_any_text() {
        for word in UNFINISHED {
            assert_eq!(texts("docs/a.md", &format!("a\n{word}: later")).len(), 1, "{word}");
            assert_eq!(texts("docs/a.md", &format!("{word}S")).len(), 0, "{word}");
        }
    }

    #[test]
    fn catch_all_names_are_found() {
        for name in CATCH_ALL {
            assert_eq!(texts(&format!("crates/lb/src/{name}.rs"), "").len(), 1);
            assert_eq!(texts(&format!("crates/lb/src/{name}/mod.rs"), "").len(), 1);
        }
        assert_eq!(texts("crates/lb/src/utilisation.rs", "").len(), 0);
        assert_eq!(texts("docs/common.md", "").len(), 0);
    }

    #[test]
    fn paths_of_one_machine() {
        for path in MACHINE {
            assert_eq!(texts("a.toml", &format!("x = \"{path}a\"")).len(), 1);
            assert_eq!(texts("a.toml", &format!("https://example.com{path}a")).len(), 0);
        }
    }
}
