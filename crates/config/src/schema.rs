//! The JSON Schema (draft 2020-12) of the file, from the declarations. Pure; printed by `spooky schema`.

use crate::file::config::Config;
use crate::spec::{Key, Kind, Rule, Value};
use crate::yaml::emit::Shown;

/// The schema as JSON text.
pub fn schema() -> String {
    let mut root = vec![
        pair("$schema", text("https://json-schema.org/draft/2020-12/schema")),
        pair("title", text("Spooky configuration")),
    ];
    if let Shown::Map(block) = value(&Config::kind(), &Key::NONE, None) {
        root.extend(block);
    }
    let needs = |name: &str| map([("required", list([text(name)]))]);
    root.push(pair("anyOf", list([needs("listen"), needs("listeners")])));
    // Any value may come from the environment.
    root.push(pair("$defs", map([("variable", map([("type", text("string")), ("pattern", text(r"\$\{"))]))])));
    Shown::Map(root).json_pretty()
}

fn text(text: &str) -> Shown {
    Shown::Text(text.to_owned())
}

fn pair(name: &str, value: Shown) -> (String, Shown) {
    (name.to_owned(), value)
}

fn map<const N: usize>(entries: [(&str, Shown); N]) -> Shown {
    Shown::Map(entries.into_iter().map(|(name, value)| pair(name, value)).collect())
}

fn list<const N: usize>(items: [Shown; N]) -> Shown {
    Shown::List(items.into())
}

fn string(pattern: &str) -> Shown {
    map([("type", text("string")), ("pattern", text(pattern))])
}

fn any<const N: usize>(kinds: [Shown; N]) -> Shown {
    map([("anyOf", list(kinds))])
}

/// The first paragraph-free form of a doc comment.
pub(crate) fn words(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn block(keys: &'static [Key], about: &str, defaults: Option<&Shown>) -> Shown {
    let properties = keys.iter().flat_map(|key| {
        let default = defaults.and_then(|block| block.get(key.name)).filter(|_| key.default.is_empty());
        let described = property(key, default);
        let alias = Some(key.alias).filter(|alias| !alias.is_empty()).map(|alias| pair(alias, described.clone()));
        [Some(pair(key.name, described)), alias].into_iter().flatten()
    });
    let properties = Shown::Map(properties.collect());
    let required = keys.iter().filter(|key| key.required).map(|key| text(key.name)).collect();
    map([
        ("description", text(&words(about))),
        ("type", text("object")),
        ("properties", properties),
        ("required", Shown::List(required)),
        ("additionalProperties", Shown::Bool(false)),
    ])
}

fn property(key: &Key, default: Option<&Shown>) -> Shown {
    let Shown::Map(mut entries) = value(&(key.kind)(), key, default) else { return Shown::Null };
    entries.retain(|(name, _)| name != "description");
    entries.insert(0, pair("description", text(&words(key.doc))));
    let plain = |shown: &&Shown| !matches!(shown, Shown::Map(_) | Shown::Null);
    if let Some(default) = default.filter(plain).filter(|_| !key.required) {
        entries.push(pair("default", default.clone()));
    }
    Shown::Map(entries)
}

/// The schema of a kind. Rules narrow numbers.
fn value(kind: &Kind, key: &Key, default: Option<&Shown>) -> Shown {
    let variable = || map([("$ref", text("#/$defs/variable"))]);
    match kind {
        Kind::Bool => any([map([("type", text("boolean"))]), variable()]),
        Kind::Integer { least, most } => any([integer(*least, *most, key), variable()]),
        Kind::Number => any([map([("type", text("number"))]), variable()]),
        Kind::Duration => {
            let written = string(r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$");
            any([integer(0, i128::MAX, key), written, variable()])
        }
        Kind::Size => any([integer(0, i128::MAX, key), string("^[0-9]+[KMGkmg][Ii]?[Bb]$"), variable()]),
        Kind::Text(_) => map([("type", text("string"))]),
        Kind::Words(rows) => {
            let words: Vec<&str> = rows.iter().flat_map(|row| row.iter().copied()).collect();
            any([
                map([("enum", Shown::List(words.iter().map(|word| text(word)).collect()))]),
                any_case(&words),
                variable(),
            ])
        }
        Kind::Auto(inner) => any([map([("const", text("auto"))]), any_case(&["auto"]), value(inner, key, None)]),
        Kind::Optional(inner) => any([value(inner, key, None), map([("type", text("null"))])]),
        Kind::Range => any([
            map([("type", text("integer")), ("minimum", Shown::Integer(100)), ("maximum", Shown::Integer(599))]),
            string("^[1-5][0-9]{2}(-[1-5][0-9]{2})?$"),
            variable(),
        ]),
        Kind::List(inner) => {
            map([("type", text("array")), ("items", value(inner, key, inner_default(inner).as_ref()))])
        }
        Kind::Map(inner) => {
            map([("type", text("object")), ("additionalProperties", value(inner, key, inner_default(inner).as_ref()))])
        }
        Kind::Block { keys, about, .. } => block(keys, about, default.or(inner_default(kind).as_ref())),
        Kind::Nothing => map([("type", text("null"))]),
    }
}

/// One of the words in any letter case. Editors offer the plain words; regular expressions of JSON Schema have no flags.
fn any_case(words: &[&str]) -> Shown {
    let letter = |each: char| match each {
        each if each.is_ascii_alphabetic() => format!("[{}{}]", each.to_ascii_uppercase(), each.to_ascii_lowercase()),
        each => each.to_string(),
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    string(&format!("^({})$", words.join("|")))
}

/// The defaults of a block that stands in a list or map, or is absent by default.
fn inner_default(kind: &Kind) -> Option<Shown> {
    match kind {
        Kind::Block { defaults, .. } => Some(defaults()),
        _ => None,
    }
}

fn integer(least: i128, most: i128, key: &Key) -> Shown {
    let ranges = key.rules.iter().flatten().filter_map(|rule| match rule {
        Rule::Range { least, most, .. } => Some((*least, *most)),
        _ => None,
    });
    let (least, most) = ranges.fold((least, most), |now, rule| (now.0.max(rule.0), now.1.min(rule.1)));
    let mut entries = vec![pair("type", text("integer")), pair("minimum", Shown::Integer(least))];
    if most < i128::MAX {
        entries.push(pair("maximum", Shown::Integer(most)));
    }
    Shown::Map(entries)
}
