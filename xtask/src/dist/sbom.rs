//! The software bill of materials in the format `CycloneDX` 1.5: each crate of the program, and which uses which.

use serde_json::{Value, json};

use super::inventory::Package;

/// The option of `date` for the time of the document.
pub(super) const RFC_3339: &str = "+%Y-%m-%dT%H:%M:%SZ";

/// Returns the document. `timestamp` is its time as in [`RFC_3339`].
pub(super) fn text(packages: &[Package], timestamp: &str) -> Result<String, String> {
    let (programs, libraries): (Vec<_>, Vec<_>) = packages.iter().partition(|package| package.name == "spooky");
    let program = programs.first().ok_or("the program is not among its crates")?;
    let dependencies: Vec<Value> = packages
        .iter()
        .map(|package| {
            let uses: Vec<_> = package.uses.iter().filter_map(|at| packages.get(*at)).map(purl).collect();
            json!({ "ref": purl(package), "dependsOn": uses })
        })
        .collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "timestamp": timestamp, "component": component(program, "application") },
        "components": libraries.iter().map(|package| component(package, "library")).collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n").map_err(|error| error.to_string())
}

fn component(package: &Package, kind: &str) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "purl": purl(package),
        "licenses": [{ "expression": package.licence.replace('/', " OR ") }],
    });
    if let (Some(url), Some(fields)) = (&package.repository, component.as_object_mut()) {
        fields.insert("externalReferences".to_owned(), json!([{ "type": "vcs", "url": url }]));
    }
    component
}

/// Returns the package URL, which names the crate everywhere.
fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[usize]) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.2.3".to_owned(),
            licence: "MIT/Apache-2.0".to_owned(),
            folder: "/c".into(),
            repository: None,
            is_ours: false,
            uses: uses.to_vec(),
        }
    }

    #[test]
    fn each_crate_is_a_component_with_what_it_uses() {
        let text = text(&[package("base", &[]), package("spooky", &[0])], "1970-01-01T00:00:00Z").unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["metadata"]["component"]["purl"], "pkg:cargo/spooky@1.2.3");
        assert_eq!(document["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(document["components"].as_array().unwrap().len(), 1);
        assert_eq!(document["dependencies"][1]["dependsOn"][0], "pkg:cargo/base@1.2.3");
        assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    }
}
