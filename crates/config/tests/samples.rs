//! The files in `config/` load, and so does every configuration that the documentation shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is the failure of a test"
)]

use std::path::{Path, PathBuf};

use spooky_config::parse;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path, kind: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, kind, found);
        } else if path.extension().is_some_and(|own| own == kind) {
            found.push(path);
        }
    }
}

#[test]
fn every_sample_file_loads() {
    let mut samples = Vec::new();
    files(&root().join("config"), "yaml", &mut samples);
    let names: Vec<_> = samples.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    for name in ["minimal", "development", "production", "sample"] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
    }
    for path in &samples {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("# yaml-language-server: $schema=./spooky.schema.json\n"), "{}", path.display());
        parse(&text, &path.display().to_string(), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

/// A fence that begins with three backquotes and `yaml` holds a whole configuration; other YAML is fenced as `yml`.
#[test]
fn every_configuration_in_the_documentation_loads() {
    let mut pages = vec![root().join("README.md")];
    files(&root().join("docs"), "md", &mut pages);
    let mut count = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap_or_default();
        for block in text.split("\n```yaml\n").skip(1) {
            let block = block.split("\n```").next().unwrap_or_default();
            let name = page.display().to_string();
            parse(block, &name, &|_| None).unwrap_or_else(|problems| panic!("{problems}\n{block}"));
            count += 1;
        }
    }
    assert!(count > 0, "no configuration found");
}

#[test]
fn the_defaults_load() {
    parse(&spooky_config::defaults(), "defaults", &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
}
