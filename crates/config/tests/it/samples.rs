//! The files in `config/` load, and so does every configuration that the documentation shows.

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
        let line = text.lines().next().unwrap();
        let schema = line.strip_prefix("# yaml-language-server: $schema=").expect(line);
        let schema = std::fs::read_to_string(path.parent().unwrap().join(schema)).expect(line);
        assert_eq!(schema, spooky_config::schema(), "{line}");
        parse(&text, &path.display().to_string(), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

/// A block of YAML on a page.
struct Block {
    line: usize,
    /// What stands behind the fence: the language, and perhaps `invalid`.
    info: String,
    text: String,
}

/// The fenced blocks of a page, without their indentation.
fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<usize> = None;
    for (number, line) in page.lines().enumerate() {
        let text = line.trim_start();
        match (open, text.strip_prefix("```")) {
            (None, Some(info)) => {
                found.push(Block { line: number + 1, info: info.trim().to_lowercase(), text: String::new() });
                open = Some(line.len() - text.len());
            }
            (Some(_), Some("")) => open = None,
            (Some(indent), _) => {
                let block = &mut found.last_mut().unwrap().text;
                block.push_str(line.get(indent..).unwrap_or(text));
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// A part of a configuration, completed by the shortest of what it lacks.
fn completed(text: &str) -> String {
    let has = |name: &str| text.lines().any(|line| line.starts_with(name));
    let listen = if has("listen") { "" } else { "listen: { tls: { cert: cert.pem, key: key.pem } }\n" };
    let upstream = "upstream: { api: { route: { path_prefix: / }, backends: [ { id: a, address: \"h:1\" } ] } }\n";
    format!("{text}{listen}{}", if has("upstream:") { "" } else { upstream })
}

/// Pages on which configurations stand. All pages are looked at; these are known to have some.
const CONFIGURED: [&str; 6] = [
    "README.md",
    "docs/guide/backends.md",
    "docs/guide/configuration.md",
    "docs/guide/load-balancing.md",
    "docs/guide/resilience.md",
    "docs/guide/tls.md",
];

/// What is fenced as `yaml` is a configuration of Spooky, whole or in part; files of other programs are fenced as `yml`. One
/// fenced as `yaml invalid` shows mistakes: it must be refused, and what the page says next must be what is said of it.
#[test]
fn every_configuration_in_the_documentation_loads_or_is_marked() {
    let mut pages = vec![root().join("README.md")];
    files(&root().join("docs"), "md", &mut pages);
    let mut marked = 0;
    for page in &pages {
        let mut count = 0;
        let blocks = blocks(&std::fs::read_to_string(page).unwrap());
        for (index, block) in blocks.iter().enumerate() {
            let name = format!("{} (from line {})", page.display(), block.line);
            let env = |name: &str| (name == "PORT").then(|| "9889".to_owned());
            match block.info.as_str() {
                "yaml" => {
                    let text = completed(&block.text);
                    parse(&text, &name, &env).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
                    count += 1;
                }
                "yaml invalid" => {
                    let problems = parse(&block.text, "spooky.yaml", &env).expect_err(&name);
                    let said = &blocks[index + 1].text;
                    assert!(!problems.is_empty() && blocks[index + 1].info.is_empty(), "{name}");
                    for problem in &problems {
                        assert!(said.contains(&problem.to_string()), "{name} does not say\n{problem}");
                    }
                    marked += 1;
                }
                other => {
                    let own = other.starts_with('y') && block.text.lines().any(|line| line.starts_with("upstream:"));
                    assert!(!own, "{name}: fence a configuration of Spooky as yaml");
                }
            }
        }
        let known = CONFIGURED.iter().any(|known| root().join(known) == *page);
        assert!(count > 0 || !known, "no configuration found in {}", page.display());
    }
    assert!(marked > 0, "no mistake is shown");
    for known in CONFIGURED {
        assert!(pages.contains(&root().join(known)), "{known} is not looked at");
    }
}

/// Configurations that operators have in use: what one version takes, the next must take.
#[test]
fn every_known_configuration_loads() {
    let mut known = Vec::new();
    files(&root().join("crates/config/tests/known"), "yaml", &mut known);
    assert!(known.len() >= 5, "{known:?}");
    for path in known {
        let text = std::fs::read_to_string(&path).unwrap();
        let loaded =
            parse(&text, &path.display().to_string(), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.warnings, [], "{}", path.display());
    }
}

#[test]
fn the_defaults_load_and_stay_what_they_are() {
    let text = spooky_config::defaults();
    let loaded = parse(&text, "defaults", &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.to_yaml(), text);
}
