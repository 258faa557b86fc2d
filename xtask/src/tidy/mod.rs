//! `cargo xtask tidy`: source rules that the compiler does not check.
//!
//! A rule is a function from a file, all files or the dependency graph to problems, with a test that shows it failing.

mod clock;
mod cycles;
mod demo_only;
mod file;
mod forbidden;
mod layers;
mod links;
mod logs;
mod metrics;
mod size;
mod source;
mod vocabulary;

use std::path::Path;

use file::{File, Problem};

/// Directories without source files of this project. In a worktree `.git` is a file.
const SKIPPED: [&str; 6] = [".git", "target", "corpus", "artifacts", "node_modules", "venv"];
/// Extensions of the text files that the rules check; files without an extension are checked too.
const TEXT: [&str; 13] =
    ["rs", "md", "toml", "yaml", "yml", "json", "py", "sh", "service", "conf", "html", "txt", "lock"];
/// Maximum size of a checked file. Larger ones are data.
const MAX_FILE_BYTES: u64 = 4 << 20;

pub(crate) fn run(root: &Path) -> Result<(), String> {
    eprintln!("==> tidy");
    let files = collect(root)?;
    let mut problems: Vec<Problem> = files.iter().flat_map(check).collect();
    problems.extend(layers::check(&layers::packages(root)?));
    problems.extend(cycles::check(&files));
    problems.extend(links::check(&files));
    problems.extend(logs::check(&files));
    problems.extend(metrics::check(&files));
    problems.sort();
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    Err(format!("tidy found {} problem(s) in {} files", problems.len(), files.len()))
}

fn check(file: &File) -> Vec<Problem> {
    let mut problems = forbidden::check(file);
    if file.is_rust() {
        problems.extend(vocabulary::check_path(file));
        problems.extend(clock::check(file));
        problems.extend(demo_only::check(file));
        problems.extend(size::check_file(file));
        problems.extend(source::check_text(file));
        match syn::parse_file(&file.text) {
            Ok(tree) => {
                problems.extend(size::check_functions(file, &tree));
                problems.extend(source::check_tree(file, &tree));
                problems.extend(vocabulary::check_tree(file, &tree));
            }
            Err(error) => problems.push(file.problem(error.span().start().line, format!("does not parse: {error}"))),
        }
    }
    problems
}

fn collect(root: &Path) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries.filter_map(Result::ok) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let Ok(kind) = entry.file_type() else { continue };
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && is_text(&path) && entry.metadata().is_ok_and(|data| data.len() < MAX_FILE_BYTES)
            {
                files.push(read(root, &path)?);
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn is_text(path: &Path) -> bool {
    path.extension().is_none_or(|extension| TEXT.iter().any(|text| extension == *text))
}

fn read(root: &Path, path: &Path) -> Result<File, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    Ok(File { path, text: String::from_utf8_lossy(&bytes).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use file::sample;

    #[test]
    fn all_rules_run_on_a_file() {
        let text = format!("fn broken() {{}}\n// {}DO\nfn two() {{ unsafe {{ }} }}\n", "TO");
        let mut problems = check(&sample("crates/lb/src/x.rs", &text));
        problems.sort();
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 2, 3], "{problems:?}");
        assert_eq!(check(&sample("crates/lb/src/x.rs", "//! Fine.\nfn fine() {}\n")), []);
        assert!(check(&sample("crates/lb/src/x.rs", "//! Broken.\nfn {"))[0].text.starts_with("does not parse"));
    }
}
