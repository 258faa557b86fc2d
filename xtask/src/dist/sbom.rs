//! The software bill of materials in the format `CycloneDX` 1.5: each crate of the program, and which uses which.

use serde_json::{Value, json};

use super::inventory::Package;

/// Returns the document. `epoch` is its time, in seconds since 1970.
pub(super) fn text(packages: &[Package], epoch: &str) -> Result<String, String> {
    let seconds: u64 = epoch.parse().map_err(|_| format!("'{epoch}' is no time in seconds"))?;
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
        "metadata": { "timestamp": utc(seconds), "component": component(program, "application") },
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

/// Writes a time as RFC 3339 asks for. Days to a date: the civil calendar, counted from March.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
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
        let text = text(&[package("base", &[]), package("spooky", &[0])], "0").unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["metadata"]["component"]["purl"], "pkg:cargo/spooky@1.2.3");
        assert_eq!(document["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(document["components"].as_array().unwrap().len(), 1);
        assert_eq!(document["dependencies"][1]["dependsOn"][0], "pkg:cargo/base@1.2.3");
        assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn times() {
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_798_761_599), "2026-12-31T23:59:59Z");
    }
}
