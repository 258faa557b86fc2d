//! Generates the JSON Schema (draft 2020-12) of the file from the declarations of the keys.

use crate::file::config::Config;
use crate::spec::{ConfigValue, Key, Kind, Rule};
use crate::yaml::emit::Value;

/// Returns the schema as JSON text.
pub fn schema() -> String {
    let mut root = vec![
        pair("$schema", text("https://json-schema.org/draft/2020-12/schema")),
        pair("title", text("Spooky configuration")),
    ];
    if let Value::Map(block) = value(&Config::kind(), &Key::NONE, None) {
        root.extend(block);
    }
    let needs = |name: &str| map([("required", list([text(name)]))]);
    root.push(pair("anyOf", list([needs("listen"), needs("listeners")])));
    // Any value may be an environment variable.
    root.push(pair("$defs", map([("variable", map([("type", text("string")), ("pattern", text(r"\$\{"))]))])));
    Value::Map(root).json_pretty()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn pair(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(name, value)| pair(name, value)).collect())
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}

fn string(pattern: &str) -> Value {
    map([("type", text("string")), ("pattern", text(pattern))])
}

fn any<const N: usize>(kinds: [Value; N]) -> Value {
    map([("anyOf", list(kinds))])
}

/// Joins the lines of a doc comment.
pub(crate) fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn block(keys: &'static [Key], about: &str, defaults: Option<&Value>) -> Value {
    let properties = keys.iter().flat_map(|key| {
        let default = defaults.and_then(|block| block.get(key.name)).filter(|_| key.default.is_empty());
        let described = property(key, default);
        let alias = Some(key.alias).filter(|alias| !alias.is_empty()).map(|alias| pair(alias, described.clone()));
        [Some(pair(key.name, described)), alias].into_iter().flatten()
    });
    let properties = Value::Map(properties.collect());
    let required = keys.iter().filter(|key| key.required).map(|key| text(key.name)).collect();
    map([
        ("description", text(&one_line(about))),
        ("type", text("object")),
        ("properties", properties),
        ("required", Value::List(required)),
        ("additionalProperties", Value::Bool(false)),
    ])
}

fn property(key: &Key, default: Option<&Value>) -> Value {
    let Value::Map(mut entries) = value(&(key.kind)(), key, default) else { return Value::Null };
    entries.retain(|(name, _)| name != "description");
    entries.insert(0, pair("description", text(&one_line(key.doc))));
    let plain = |shown: &&Value| !matches!(shown, Value::Map(_) | Value::Null);
    if let Some(default) = default.filter(plain).filter(|_| !key.required) {
        entries.push(pair("default", default.clone()));
    }
    Value::Map(entries)
}

/// Returns the schema of a kind. Range rules narrow numbers.
fn value(kind: &Kind, key: &Key, default: Option<&Value>) -> Value {
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
        Kind::Keywords(rows) => {
            let words: Vec<&str> = rows.iter().flat_map(|row| row.iter().copied()).collect();
            any([
                map([("enum", Value::List(words.iter().map(|word| text(word)).collect()))]),
                any_case(&words),
                variable(),
            ])
        }
        Kind::Auto(inner) => any([map([("const", text("auto"))]), any_case(&["auto"]), value(inner, key, None)]),
        Kind::Optional(inner) => any([value(inner, key, None), map([("type", text("null"))])]),
        Kind::Range => any([
            map([("type", text("integer")), ("minimum", Value::Integer(100)), ("maximum", Value::Integer(599))]),
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

/// Returns a pattern for the words in any letter case. JSON Schema patterns have no flags.
fn any_case(words: &[&str]) -> Value {
    let letter = |each: char| match each {
        each if each.is_ascii_alphabetic() => format!("[{}{}]", each.to_ascii_uppercase(), each.to_ascii_lowercase()),
        each => each.to_string(),
    };
    let words: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    string(&format!("^({})$", words.join("|")))
}

/// Returns the defaults of a block in a list or map, or of one that is absent by default.
fn inner_default(kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Block { defaults, .. } => Some(defaults()),
        _ => None,
    }
}

fn integer(least: i128, most: i128, key: &Key) -> Value {
    let ranges = key.rules.iter().flatten().filter_map(|rule| match rule {
        Rule::Range { least, most, .. } => Some((*least, *most)),
        _ => None,
    });
    let (least, most) = ranges.fold((least, most), |now, rule| (now.0.max(rule.0), now.1.min(rule.1)));
    let mut entries = vec![pair("type", text("integer")), pair("minimum", Value::Integer(least))];
    if most < i128::MAX {
        entries.push(pair("maximum", Value::Integer(most)));
    }
    Value::Map(entries)
}
