//! Generates `docs/reference/configuration.md` from the declarations of the keys. A test compares the two.

use std::fmt::Write;

use crate::file::config::Config;
use crate::load;
use crate::problem::Severity;
use crate::schema::one_line;
use crate::spec::text::fill;
use crate::spec::{Block, ConfigValue, Key, Kind, Text, mapping, reader};
use crate::value::quantity;
use crate::yaml::emit::Value;

const HEAD: &str = "\
# Configuration reference

<!-- Made from the declarations in crates/config. Change those, then run the tests of spooky-config with UPDATE=1. -->

The file is one YAML 1.2 document in UTF-8 whose root is a mapping, at most 16 MiB, nested at most 64 deep; aliases may
expand it to ten times its size. Anchors, aliases and merge keys work. Unknown keys and keys written twice are errors. Each
default applies to its own key, whether or not the block around it is written; an empty mapping is the block with all its
defaults. Relative paths are relative to the working directory of the process. All limits apply to the whole process.

- **Durations.** A whole number counts milliseconds, or seconds where the type says so. A string has a unit: `250ms`,
  `5s`, `1m`, `2h`, also combined (`1m30s`).
- **Sizes.** A whole number counts bytes; a string has a unit: `KB` `MB` `GB` (powers of 1000), `KiB` `MiB` `GiB` (powers
  of 1024).
- **Variables.** In every string value `${VAR}` becomes the variable's text, `${VAR:-default}` falls back to `default` when VAR
  is unset or empty, and `$$` is a literal `$`. An unquoted value gets its type afterwards, so `port: ${PORT:-9889}` is a
  number; a quoted one stays a string.
- **Words**, methods and log levels ignore letter case.

Keys marked ↻ take effect after a restart; all others are applied by a reload. `spooky schema` prints the JSON Schema of the
file; editors use it for completion if the first line is `# yaml-language-server: $schema=./spooky.schema.json`.

All problems of a file are reported at once, each with line, column, path and, where there is one, a hint. Each table is
followed by the messages about its keys; `<x>` stands for a value. These messages can be about any key:
";

/// Returns the page as Markdown.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    out.push('\n');
    for text in general_texts() {
        answer(text, "", &mut out);
    }
    section(Config::KEYS, Config::ABOUT, &Config::default().to_value(&Key::NONE), "", &mut out);
    out
}

/// Returns the messages that can be about any key.
pub(crate) fn general_texts() -> Vec<Text> {
    let groups: [&[Text]; 5] =
        [&load::TEXTS, &mapping::TEXTS, &reader::TEXTS, &crate::spec::keywords::TEXTS, &quantity::TEXTS];
    groups.concat()
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn section(keys: &'static [Key], about: &str, defaults: &Value, path: &str, out: &mut String) {
    let title = if path.is_empty() { "The root" } else { path };
    put(out, format_args!("\n## {title}\n\n{}\n\n", one_line(about)));
    out.push_str("| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    for key in keys {
        row(key, defaults.get(key.name), out);
    }
    let texts: Vec<(&Key, Text)> = keys.iter().flat_map(|key| key.texts().map(move |text| (key, text))).collect();
    if !texts.is_empty() {
        out.push('\n');
    }
    let mut seen: Vec<String> = Vec::new();
    for (key, text) in texts {
        let before = out.len();
        answer(text, &join(path, key.name), out);
        let line = out.get(before..).unwrap_or_default().to_owned();
        if seen.contains(&line) {
            out.truncate(before);
        } else {
            seen.push(line);
        }
    }
    for key in keys {
        let kind = (key.kind)();
        // `listeners[]` has the keys of `listen`, and two blocks of an upstream have those of the global blocks.
        let described_elsewhere =
            ["listeners", "tls", "load_balancing"].contains(&key.name) && path_is_upstream(path, key);
        if let (Some((keys, about, step)), false) = (kind.block(), described_elsewhere) {
            let inner = defaults.get(key.name).filter(|shown| matches!(shown, Value::Map(_))).cloned();
            let step = if key.name == "upstream" { ".<u>" } else { step };
            let inner = inner.filter(|_| step.is_empty()).or_else(|| inner_defaults(&kind)).unwrap_or(Value::Null);
            section(keys, about, &inner, &format!("{}{step}", join(path, key.name)), out);
        }
    }
}

fn path_is_upstream(path: &str, key: &Key) -> bool {
    path == "upstream.<u>" || key.name == "listeners"
}

fn inner_defaults(kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Block { defaults, .. } => Some(defaults()),
        Kind::Optional(inner) | Kind::List(inner) | Kind::Map(inner) => inner_defaults(inner),
        _ => None,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn row(key: &Key, default: Option<&Value>, out: &mut String) {
    let kind = (key.kind)();
    let default = match (key.required, key.default, default) {
        (true, ..) => "required".to_owned(),
        (_, "", Some(Value::Map(_))) if kind.block().is_some() => "defaults".to_owned(),
        (_, "", Some(Value::Null) | None) => "none".to_owned(),
        (_, "", Some(shown)) => format!("`{}`", shown.line()),
        (_, words, _) => words.to_owned(),
    };
    let alias = if key.alias.is_empty() { String::new() } else { format!(" (alias `{}`)", key.alias) };
    let mark = if key.restart { " ↻" } else { "" };
    let kind = if key.seconds { "seconds".to_owned() } else { name(&kind) };
    put(out, format_args!("| `{}`{alias}{mark} | {kind} | {default} | {} |\n", key.name, one_line(key.doc)));
}

/// Returns the name of a kind, or its keywords.
fn name(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "boolean".to_owned(),
        Kind::Integer { .. } => "integer".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Text(what) => (*what).to_owned(),
        Kind::Keywords(rows) => {
            let row = |row: &&[&str]| {
                let mut spellings = row.iter().map(|word| format!("`{word}`"));
                let first = spellings.next().unwrap_or_default();
                let others = spellings.collect::<Vec<_>>().join(" ");
                if others.is_empty() { first } else { format!("{first} ({others})") }
            };
            rows.iter().map(row).collect::<Vec<_>>().join(", ")
        }
        Kind::Auto(inner) => format!("`auto` or {}", name(inner)),
        Kind::Optional(inner) => name(inner),
        Kind::Range => "status or range".to_owned(),
        Kind::List(inner) => format!("list of {}", name(inner)),
        Kind::Map(inner) => format!("map from name to {}", name(inner)),
        Kind::Block { .. } => "map".to_owned(),
        Kind::Nothing => "–".to_owned(),
    }
}

fn answer(text: Text, path: &str, out: &mut String) {
    let block = path.rsplit_once('.').map_or("", |(block, _)| block);
    let template = fill(text.template, |name| match name {
        "key" | "list" if !path.is_empty() => Some(path.to_owned()),
        "block" => Some(block.to_owned()),
        _ => None,
    });
    let warning = if text.severity == Severity::Warning { "warning: " } else { "" };
    put(out, format_args!("- {warning}`{template}`\n"));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Compares a made file with the tree, or writes it when UPDATE is set.
    fn hold(path: &str, made: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "{} has drifted: run the tests of spooky-config with UPDATE=1", path.display());
    }

    #[test]
    fn the_reference_page_is_what_the_declarations_say() {
        hold("docs/reference/configuration.md", &super::reference());
    }

    #[test]
    fn the_schema_file_is_what_the_declarations_say() {
        hold("config/spooky.schema.json", &crate::schema());
    }
}
