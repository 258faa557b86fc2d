//! Checks that comments and pages refer only to existing pages and sections.
//!
//! A comment must not cite the number of a section, because it cannot be checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{File, Problem};

/// Words that a number must not follow in a comment.
const NUMBERED: [&str; 3] = ["behaviour", "config", "contract"];

/// The sections of each page, by its path.
type Pages = BTreeMap<String, BTreeSet<String>>;

pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let pages: Pages =
        files.iter().filter(|file| is_page(&file.path)).map(|file| (file.path.clone(), sections(&file.text))).collect();
    files.iter().flat_map(|file| if file.is_rust() { comments(file, &pages) } else { page(file, &pages) }).collect()
}

fn is_page(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "md")
}

/// Returns the anchors that GitHub generates for the headings of a page.
fn sections(text: &str) -> BTreeSet<String> {
    lines_outside_code(text).filter_map(|(_, line)| line.strip_prefix('#')).map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect()
}

fn lines_outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((index + 1, line))
    })
}

fn comments(file: &File, pages: &Pages) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, text) in file.lines() {
        let Some((_, comment)) = text.split_once("//") else { continue };
        for target in page_paths(comment) {
            problems.extend(missing(target, pages).map(|text| file.problem(line, text)));
        }
        let words: Vec<&str> = comment.split(' ').collect();
        for pair in words.windows(2) {
            let [word, number] = pair else { continue };
            let word = word.trim_start_matches(|character: char| !character.is_alphanumeric()).to_lowercase();
            if NUMBERED.contains(&word.as_str()) && number.starts_with(|character: char| character.is_ascii_digit()) {
                let text = format!("`{word} {number}` resolves to nothing: name a section as docs/<page>.md#<section>");
                problems.push(file.problem(line, text));
            }
        }
    }
    problems
}

/// Returns the paths of pages in a comment, with their sections.
fn page_paths(comment: &str) -> impl Iterator<Item = &str> {
    comment.match_indices("docs/").filter_map(|(at, _)| {
        let rest = comment.get(at..)?;
        let end = rest.find(|character: char| !(character.is_alphanumeric() || "/_.#-".contains(character)));
        let path = rest.get(..end.unwrap_or(rest.len()))?.trim_end_matches('.');
        is_page(path.split('#').next()?).then_some(path)
    })
}

fn missing(target: &str, pages: &Pages) -> Option<String> {
    let (path, section) = target.split_once('#').unwrap_or((target, ""));
    match pages.get(path) {
        None => Some(format!("there is no page `{path}`")),
        Some(sections) if !section.is_empty() && !sections.contains(section) => {
            Some(format!("`{path}` has no section `#{section}`"))
        }
        Some(_) => None,
    }
}

/// Checks the links of a page.
fn page(file: &File, pages: &Pages) -> Vec<Problem> {
    if !is_page(&file.path) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (line, text) in lines_outside_code(&file.text) {
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (path, section) = link.split_once('#').unwrap_or((link, ""));
            let path = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path) };
            if is_page(&path) {
                problems.extend(missing(&format!("{path}#{section}"), pages).map(|text| file.problem(line, text)));
            }
        }
    }
    problems
}

/// Resolves a link on the page `from` to a path relative to the root.
fn resolve(from: &str, link: &str) -> String {
    let mut path = PathBuf::new();
    for part in Path::new(from).parent().unwrap_or(Path::new("")).join(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    const PAGE: &str = "# What `<x>` does\n```sh\n# no heading\n```\n## The client_auth.key: what?\n";

    fn problems(path: &str, text: &str) -> Vec<String> {
        let files = [sample("docs/a/page.md", PAGE), sample(path, text)];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn sections_have_the_anchors_of_github() {
        assert_eq!(Vec::from_iter(sections(PAGE)), ["the-client_authkey-what", "what-x-does"]);
    }

    #[test]
    fn a_comment_names_a_section_that_exists() {
        let code = |reference: &str| format!("//! Text ({reference}).\nfn f() {{}} // {reference}, text\n");
        assert_eq!(problems("a.rs", &code("docs/a/page.md#what-x-does")), [""; 0]);
        assert_eq!(problems("a.rs", &code("`docs/a/page.md`")), [""; 0]);
        let text = |line: usize, text: &str| format!("a.rs:{line}: {text}");
        let gone = "`docs/a/page.md` has no section `#no-heading`";
        assert_eq!(problems("a.rs", &code("docs/a/page.md#no-heading")), [text(1, gone), text(2, gone)]);
        let gone = "there is no page `docs/page.md`";
        assert_eq!(problems("a.rs", &code("docs/page.md#what-x-does")), [text(1, gone), text(2, gone)]);
    }

    #[test]
    fn a_comment_cites_no_number() {
        for word in NUMBERED {
            assert_eq!(problems("a.rs", &format!("/// Text ({word} {}).\n", 10.6)).len(), 1, "{word}");
            assert_eq!(problems("a.rs", &format!("/// Text: {word} of {}.\n", 10)).len(), 0, "{word}");
            assert_eq!(problems("a.rs", &format!("let {word} = \"{word} {}\";\n", 10)).len(), 0, "{word}");
        }
    }

    #[test]
    fn a_page_links_to_sections_that_exist() {
        let good = "[a](docs/a/page.md#what-x-does) [b](#here) [c](x.svg) [d](https://e.example/f.md#g)\n# Here\n";
        assert_eq!(problems("README.md", good), [""; 0]);
        assert_eq!(problems("docs/b/c.md", "[a](../a/page.md)\n[b](../a/page.md#gone) [c](page.md)\n").len(), 2);
    }
}
