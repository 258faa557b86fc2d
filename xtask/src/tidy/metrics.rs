//! Compares the names of metrics in documents, alerts and dashboards with the table in `docs/reference/metrics.md`.
//!
//! A document must not send an operator to a number that does not exist.

use std::collections::BTreeSet;

use super::{File, Problem};

const PAGE: &str = "docs/reference/metrics.md";
/// Where names are checked.
const CHECKED: [&str; 3] = ["docs/", "deploy/", "README.md"];
/// What a histogram appends to its name.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Words that begin like a metric: names of crates.
const CRATES: [&str; 9] = [
    "spooky_bridge",
    "spooky_config",
    "spooky_control",
    "spooky_edge",
    "spooky_lb",
    "spooky_net",
    "spooky_table",
    "spooky_telemetry",
    "spooky_transport",
];

pub(super) fn check(files: &[File]) -> Vec<Problem> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Problem { path: PAGE.to_owned(), line: 1, text: "the page is missing".to_owned() }];
    };
    let known: BTreeSet<&str> = page.lines().flat_map(|(_, text)| names(text)).collect();
    let mut problems = Vec::new();
    let documents = files.iter().filter(|file| CHECKED.iter().any(|place| file.path.starts_with(place)));
    for file in documents.filter(|file| file.path != PAGE) {
        for (line, text) in file.lines() {
            for name in names(text).filter(|name| !is_known(name, &known)) {
                problems.push(file.problem(line, format!("there is no metric `{name}` in {PAGE}")));
            }
        }
    }
    problems
}

fn is_known(name: &str, known: &BTreeSet<&str>) -> bool {
    let of_histogram = SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|name| known.contains(name)));
    // OpenMetrics names the family of a counter without the end of its samples.
    let of_counter = known.contains(format!("{name}_total").as_str());
    known.contains(name) || of_counter || of_histogram || CRATES.contains(&name)
}

/// Returns the words of a line that begin with `spooky_` or `process_` and have the form of a metric.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let is_part = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    let words = line.split(move |character| !is_part(character));
    words.filter(|word| (word.starts_with("spooky_") || word.starts_with("process_")) && !word.ends_with('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_name_that_is_not_on_the_page_is_found() {
        let page = file(PAGE, "| `spooky_requests_total` | counter |\n| `spooky_wait_seconds` | histogram |\n");
        let alerts = "rate(spooky_requests_total[5m])\nspooky_wait_seconds_bucket\nspooky_nothing_total > 0\n";
        let problems = check(&[page, file("deploy/alerts.yml", alerts), file("src/other.rs", "spooky_nothing_total")]);
        let found: Vec<_> = problems.iter().map(|problem| (problem.path.as_str(), problem.line)).collect();
        assert_eq!(found, [("deploy/alerts.yml", 3)]);
        assert!(problems[0].text.contains("`spooky_nothing_total`"), "{problems:?}");
        assert_eq!(check(&[]).len(), 1, "the page must exist");
    }
}
