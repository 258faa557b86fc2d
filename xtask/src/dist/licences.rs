//! The texts of the licences of all crates in the program. Each text stands once, below the crates that come under it.

use std::{collections::BTreeMap, fs, path::Path};

use super::inventory::Package;

/// Beginnings of the names of files with licence texts, in lower case.
const NAMES: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];

/// Returns the texts, and which crates have none.
pub(super) fn text(packages: &[Package]) -> Result<String, String> {
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in packages.iter().filter(|package| !package.is_ours) {
        let title = format!("{} {} ({})", package.name, package.version, package.licence);
        let texts = texts_in(&package.folder)?;
        if texts.is_empty() {
            without.push(title.clone());
        }
        for text in texts {
            by_text.entry(text).or_default().push(title.clone());
        }
    }
    let mut parts: Vec<(Vec<String>, String)> = by_text.into_iter().map(|(text, titles)| (titles, text)).collect();
    parts.sort();
    let mut page =
        String::from("Spooky contains the crates below. Spooky itself is under the licence in the file LICENSE.\n");
    if !without.is_empty() {
        page += "\nThese come without a file of their licence; the expression in brackets names it:\n";
        page.extend(without.iter().flat_map(|title| ["  ", title, "\n"]));
    }
    for (titles, text) in parts {
        page.extend(["\n", &"=".repeat(80), "\n", &titles.join("\n"), "\n\n", &text, "\n"]);
    }
    Ok(page)
}

fn texts_in(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut texts = Vec::new();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if NAMES.iter().any(|start| name.starts_with(start)) {
            let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            texts.push(String::from_utf8_lossy(&text).replace('\r', "").trim_end().to_owned());
        }
    }
    texts.sort();
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_text_stands_once_below_all_crates_under_it() {
        let root = std::env::temp_dir().join(format!("xtask-licences-{}", std::process::id()));
        let package = |name: &str, text: Option<&str>| {
            let folder: PathBuf = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            text.inspect(|text| fs::write(folder.join("LICENSE-MIT"), text).unwrap());
            let (licence, version) = ("MIT".to_owned(), "1.0.0".to_owned());
            Package { name: name.to_owned(), version, licence, folder, repository: None, is_ours: false, uses: vec![] }
        };
        let packages = [package("a", Some("Do.\r\n")), package("b", Some("Do.\n")), package("c", None)];
        let page = text(&packages).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert!(page.contains("a 1.0.0 (MIT)\nb 1.0.0 (MIT)\n\nDo.\n"), "{page}");
        assert!(
            page.contains("without a file of their licence; the expression in brackets names it:\n  c 1.0.0 (MIT)\n")
        );
        assert_eq!(page.matches("Do.").count(), 1);
    }
}
