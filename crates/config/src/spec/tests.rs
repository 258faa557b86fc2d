//! Tests that every key behaves as declared.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use super::walk::{join, keys};
use super::{Key, Kind, Rule};
use crate::load::parse;
use crate::problem::Problems;
use crate::spec::reader::OF_UPSTREAM;
use crate::spec::text::fill;
use crate::yaml::emit::Value;
use crate::{Config, Loaded};

const BASE: &str = "\
listen:
  tls: { cert: c, key: k, certificates: [ { server_name: s.example, cert: c, key: k } ] }
load_balancing: { type: rr }
upstream:
  api:
    route: { host: a.example, path_prefix: /a }
    backends: [ { id: b, address: \"https://h:1\", health_check: {} } ]
";

fn read(text: &str) -> Result<Loaded, Problems> {
    parse(text, "f", &|_| None)
}

/// Returns the base with every key set.
fn base() -> Value {
    read(BASE).unwrap().config.effective_value()
}

/// Returns the value at a path of `walk`; creates it if it is missing.
fn at<'s>(shown: &'s mut Value, path: &str) -> &'s mut Value {
    path.split('.').filter(|step| !step.is_empty()).fold(shown, |shown, step| {
        let (name, item) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let name = if name == "*" { "api" } else { name };
        if !matches!(shown, Value::Map(_)) {
            *shown = Value::Map(Vec::new());
        }
        let Value::Map(entries) = shown else { unreachable!() };
        if !entries.iter().any(|(known, _)| known == name) {
            entries.push((name.to_owned(), Value::Null));
        }
        let value = &mut entries.iter_mut().find(|(known, _)| known == name).unwrap().1;
        if item && matches!(value, Value::List(_)) {
            let Value::List(items) = value else { unreachable!() };
            return &mut items[0];
        }
        value
    })
}

fn with(path: &str, value: Value) -> String {
    let mut shown = base();
    *at(&mut shown, path) = value;
    shown.document()
}

/// Returns the path as problems name it.
fn concrete(path: &str) -> String {
    path.replace("upstream.*", "upstream.api").replace("[]", "[0]")
}

#[test]
fn every_key_written_out_changes_nothing() {
    let config = read(BASE).unwrap().config;
    let again = read(&config.to_yaml()).unwrap_or_else(|problems| panic!("{problems}\n{}", config.to_yaml()));
    assert!(again.config == config, "{:?}", crate::diff(&config, &again.config));
    for (block, key) in keys() {
        let mut shown = base();
        let Value::Map(entries) = at(&mut shown, &block) else { panic!("{block}") };
        assert!(entries.iter().any(|(name, _)| name == key.name), "{block}.{} is not shown", key.name);
    }
}

#[test]
fn a_required_key_is_missed() {
    for (block, key) in keys().into_iter().filter(|(_, key)| key.required) {
        let mut shown = base();
        if let Value::Map(entries) = at(&mut shown, &block) {
            entries.retain(|(name, _)| name != key.name);
        }
        let problems = read(&shown.document()).unwrap_err();
        let path = concrete(&join(&block, key.name));
        let text = format!("missing field '{}'", key.name);
        assert!(problems.iter().any(|problem| problem.path == path && problem.message == text), "{path}\n{problems}");
    }
}

/// Returns a value that no key of this kind accepts.
fn wrong(kind: &Kind) -> Value {
    match kind {
        Kind::List(_) | Kind::Map(_) | Kind::Block { .. } => Value::Text("wrong".to_owned()),
        Kind::Optional(inner) | Kind::Auto(inner) => wrong(inner),
        _ => Value::List(vec![Value::Map(Vec::new())]),
    }
}

#[test]
fn a_wrong_type_is_reported_at_the_key() {
    for (block, key) in keys() {
        let path = join(&block, key.name);
        let problems = read(&with(&path, wrong(&(key.kind)()))).unwrap_err();
        let path = concrete(&path);
        assert!(problems.iter().any(|problem| problem.path == path), "{path}\n{problems}");
    }
}

/// Wraps the value in the list or map of the kind.
fn wrapped(kind: &Kind, value: Value) -> Value {
    match kind {
        Kind::Optional(inner) => wrapped(inner, value),
        Kind::List(inner) => Value::List(vec![wrapped(inner, value)]),
        Kind::Map(inner) => Value::Map(vec![("api".to_owned(), wrapped(inner, value))]),
        _ => value,
    }
}

#[test]
fn both_ends_of_every_range_are_held() {
    let mut rules = 0;
    for (block, key) in keys() {
        let path = join(&block, key.name);
        for rule in key.rules.into_iter().flatten() {
            let Rule::Range { least, most, text } = rule else { continue };
            // Above 2^32 another text may come first: the type's own.
            for value in [least - 1, most.saturating_add(1)].into_iter().filter(|value| (0..1 << 32).contains(value)) {
                let problems = read(&with(&path, wrapped(&(key.kind)(), Value::Integer(value)))).unwrap_err();
                let path = concrete(&path);
                let outside = text.template.strip_suffix(OF_UPSTREAM).filter(|_| !path.starts_with("upstream."));
                let message = fill(outside.unwrap_or(text.template), |name| match name {
                    "key" => Some(path.clone()),
                    "u" => Some("api".to_owned()),
                    "b" => Some("b".to_owned()),
                    _ => Some(value.to_string()),
                });
                let reported = problems.iter().any(|problem| problem.message == message)
                    || key
                        .rules
                        .iter()
                        .flatten()
                        .next()
                        .is_some_and(|first| first.texts()[0].template != text.template);
                assert!(reported, "{path}: {value}\nwants {message}\n{problems}");
                rules += 1;
            }
        }
    }
    assert!(rules > 80, "only {rules} ends");
}

/// Generates valid values of this kind.
fn values(kind: &Kind, key: &Key) -> BoxedStrategy<Value> {
    let range = key.rules.iter().flatten().fold((0, 70_000), |now, rule| match rule {
        Rule::Range { least, most, .. } => (now.0.max(*least), now.1.min(*most)),
        _ => now,
    });
    let number = (range.0..=range.1).prop_map(Value::Integer);
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Integer { most, .. } => {
            let most = *most;
            (range.0..=range.1.min(most)).prop_map(Value::Integer).boxed()
        }
        Kind::Number => (0_u8..=4).prop_map(|quarters| Value::Float(f64::from(quarters) / 4.0)).boxed(),
        Kind::Duration => {
            let text = (1_u32..100, prop::sample::select(vec!["ms", "s", "m", "h"]));
            prop_oneof![number, text.prop_map(|(number, unit)| Value::Text(format!("{number}{unit}")))].boxed()
        }
        Kind::Size => {
            let text = (2_u32..60, prop::sample::select(vec!["KB", "KiB"]));
            prop_oneof![number, text.prop_map(|(number, unit)| Value::Text(format!("{number}{unit}")))].boxed()
        }
        Kind::Keywords(rows) => {
            let words: Vec<&str> = rows.iter().flat_map(|row| row.iter().copied()).collect();
            prop::sample::select(words).prop_map(|word| Value::Text(word.to_owned())).boxed()
        }
        Kind::Text(_) => prop_oneof![
            "[a-z]{1,8}",
            "/[a-z/]{0,8}",
            "https?://[a-z]{1,8}",
            "[a-z$\"'\\\\ #:{}\u{7f}\u{85}é\n\t]{0,12}",
            "10\\.[0-9]\\.0\\.0/[0-9]",
            "[a-z]{1,3}:[1-9][0-9]{0,3}",
        ]
        .prop_map(Value::Text)
        .boxed(),
        Kind::Auto(inner) => prop_oneof![Just(Value::Text("auto".to_owned())), values(inner, key)].boxed(),
        Kind::Optional(inner) => prop_oneof![Just(Value::Null), values(inner, key)].boxed(),
        Kind::Range => prop_oneof![Just(Value::Integer(204)), Just(Value::Text("200-404".to_owned()))].boxed(),
        Kind::List(inner) => prop::collection::vec(values(inner, key), 0..3).prop_map(Value::List).boxed(),
        Kind::Map(inner) => values(inner, key).prop_map(|value| Value::Map(vec![("api".to_owned(), value)])).boxed(),
        Kind::Block { .. } | Kind::Nothing => Just(Value::Null).boxed(),
    }
}

/// A few keys with new values.
fn changes() -> impl Strategy<Value = Vec<(String, Value)>> {
    let one = any::<Index>().prop_flat_map(|index| {
        let keys: Vec<_> = keys().into_iter().filter(|(_, key)| (key.kind)().block().is_none()).collect();
        let (block, key) = index.get(&keys);
        let path = join(block, key.name);
        values(&(key.kind)(), key).prop_map(move |value| (path.clone(), value))
    });
    prop::collection::vec(one, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(20), ..ProptestConfig::with_cases(400) })]

    /// A valid configuration can be written and loaded again without a change.
    #[test]
    fn a_configuration_survives_being_written_out(changes in changes()) {
        let mut shown = base();
        for (path, value) in changes {
            *at(&mut shown, &path) = value;
        }
        if let Ok(loaded) = read(&shown.document()) {
            let hidden = loaded.config.observability.control_api.auth_token.is_some();
            prop_assume!(!hidden);
            let text = loaded.config.to_yaml();
            match read(&text) {
                Ok(again) => prop_assert!(
                    again.config == loaded.config,
                    "{:?}\n{}",
                    crate::diff(&loaded.config, &again.config),
                    text
                ),
                Err(problems) => prop_assert!(false, "{}\n{}", problems, text),
            }
        }
    }

    /// Any text yields a configuration or problems, which are ordered and inside the text.
    #[test]
    fn any_text_is_answered(cut in any::<Index>(), length in 0_usize..40, put in "[\\PC\n]{0,20}") {
        let mut characters: Vec<char> = base().document().chars().collect();
        let start = cut.index(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, put.chars());
        let text: String = characters.into_iter().collect();
        if let Err(problems) = read(&text) {
            let spans: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
            prop_assert!(spans.is_sorted());
            prop_assert!(spans.iter().all(|(line, column)| *line >= 1 && *column >= 1));
            prop_assert!(!problems.terminal(true).is_empty() && !problems.json().is_empty());
        }
    }
}

#[test]
fn a_configuration_says_the_same_twice() {
    let [first, second]: [Config; 2] = [(); 2].map(|()| read(&base().document()).unwrap().config);
    assert_eq!(crate::diff(&first, &second), []);
}
