//! The alerts and the dashboard in `deploy`: Prometheus can use them, and they name only metrics and labels that exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption must fail the test at once, with its place"
)]

use serde_json::Value;
use spooky_telemetry::metrics::{Family, Kind};
use spooky_testkit::program;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
};

/// Labels that Prometheus adds, and `host`, which an alert makes of one of them.
const ADDED: [&str; 3] = ["job", "instance", "host"];
/// Metrics of Prometheus itself and of its node exporter.
const OTHERS: [&str; 2] = ["up", "node_memory_MemTotal_bytes"];

/// The current names with their labels; those of a histogram with the suffixes of its samples.
fn metrics() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut metrics = BTreeMap::new();
    for definition in Family::ALL.iter().map(|family| family.definition()).filter(|found| !found.name.is_empty()) {
        let labels: BTreeSet<_> = definition.labels.iter().copied().collect();
        if definition.kind != Kind::Histogram {
            metrics.insert(definition.name.to_owned(), labels);
            continue;
        }
        for suffix in ["_sum", "_count", "_bucket"] {
            let le = (suffix == "_bucket").then_some("le");
            metrics.insert(format!("{}{suffix}", definition.name), labels.iter().copied().chain(le).collect());
        }
    }
    metrics
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Returns the names that stand before an opening brace, with what the braces contain.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let opening = expression.match_indices('{');
    opening
        .map(|(at, _)| {
            let before = &expression[..at];
            let start = before.rfind(|character| !is_name(character)).map_or(0, |end| end + 1);
            let inside = &expression[at + 1..];
            (&before[start..], &inside[..inside.find('}').expect("a closing brace")])
        })
        .collect()
}

/// Returns the words of `by (...)` and `on (...)`.
fn grouped(expression: &str) -> Vec<&str> {
    let lists = ["by (", "on ("].into_iter().flat_map(|start| expression.match_indices(start));
    let inside = lists.map(|(at, start)| &expression[at + start.len()..]);
    let lists = inside.map(|rest| &rest[..rest.find(')').expect("a closing parenthesis")]);
    lists.flat_map(|list| list.split(',').map(str::trim)).filter(|label| !label.is_empty()).collect()
}

/// Checks the names of an expression.
fn check_names(expression: &str, metrics: &BTreeMap<String, BTreeSet<&'static str>>) {
    let mut known: BTreeSet<&str> = ADDED.into_iter().collect();
    let selectors = selectors(expression);
    for (name, matchers) in &selectors {
        if OTHERS.contains(name) {
            continue;
        }
        let labels = metrics.get(*name).unwrap_or_else(|| panic!("there is no metric '{name}': {expression}"));
        known.extend(labels);
        for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
            let label = &matcher[..matcher.find(|character| !is_name(character)).unwrap()];
            assert!(labels.contains(label) || ADDED.contains(&label), "{name} has no label '{label}': {expression}");
        }
    }
    for label in grouped(expression) {
        assert!(known.contains(label), "no metric has the label '{label}': {expression}");
    }
    let words = expression.split(|character| !is_name(character));
    for word in words.filter(|word| word.starts_with("spooky_") || word.starts_with("process_")) {
        assert!(selectors.iter().any(|(name, _)| *name == word), "'{word}' has no selector: {expression}");
    }
}

/// Returns every string with this key, at any depth.
fn strings<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                match inner {
                    Value::String(text) if name == key => found.push(text),
                    _ => strings(inner, key, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| strings(inner, key, found)),
        _ => {}
    }
}

/// Returns the expressions of the dashboard, with values for the variables of Grafana.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&program::file("deploy/grafana/spooky.json")).unwrap();
    let mut found = Vec::new();
    strings(&dashboard, "expr", &mut found);
    let filled =
        |text: &&str| text.replace("$__rate_interval", "5m").replace("$job", "spooky").replace("$instance", ".*");
    found.iter().map(filled).collect()
}

/// Returns the expressions of the alerts, joined.
fn alert_expressions() -> String {
    let text = program::file("deploy/prometheus/alerts.yml");
    let lines = text.lines().filter(|line| {
        let line = line.trim_start();
        !["#", "summary:", "description:", "- alert:", "- name:"].iter().any(|start| line.starts_with(start))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn promtool(arguments: &[&str]) {
    let Some(promtool) = program::require("promtool") else { return };
    let output = Command::new(promtool).args(arguments).current_dir(program::workspace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{text}");
}

#[test]
fn alerts_fire_when_they_should() {
    promtool(&["check", "rules", "deploy/prometheus/alerts.yml"]);
    promtool(&["test", "rules", "deploy/prometheus/alerts_test.yml"]);
}

#[test]
fn every_alert_has_a_test_for_both_outcomes() {
    let (alerts, tests) =
        (program::file("deploy/prometheus/alerts.yml"), program::file("deploy/prometheus/alerts_test.yml"));
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10);
    for name in names {
        for outcome in ["fires", "stays silent"] {
            assert!(tests.contains(&format!("- name: {name} {outcome}\n")), "{name} {outcome}");
        }
    }
}

#[test]
fn alerts_and_dashboard_name_what_exists() {
    let metrics = metrics();
    check_names(&alert_expressions(), &metrics);
    let expressions = dashboard_expressions();
    assert!(expressions.len() > 50);
    for expression in &expressions {
        check_names(expression, &metrics);
    }
}

#[test]
#[should_panic(expected = "there is no metric")]
fn an_unknown_metric_is_found() {
    check_names("sum by (route) (rate(spooky_requets_total{job=\"spooky\"}[5m]))", &metrics());
}

#[test]
#[should_panic(expected = "no metric has the label")]
fn an_unknown_label_is_found() {
    check_names("sum by (router) (rate(spooky_http_requests_total{job=\"spooky\"}[5m]))", &metrics());
}

#[test]
fn prometheus_reads_every_expression_of_the_dashboard() {
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, expression) in dashboard_expressions().iter().enumerate() {
        let expression = Value::String(expression.clone());
        let _ = write!(rules, "      - record: dashboard:panel:{number}\n        expr: {expression}\n");
    }
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("rules.yml");
    fs::write(&path, rules).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
}

#[test]
fn the_dashboard_has_panels_that_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(&program::file("deploy/grafana/spooky.json")).unwrap();
    assert_eq!((&dashboard["title"], &dashboard["uid"]), (&"Spooky".into(), &"spooky".into()));
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(["row", "stat", "timeseries"].contains(&panel["type"].as_str().unwrap()), "{panel}");
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + width <= 24, "{panel}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{panel}");
        }
        assert_eq!(panel["type"] == "row", panel["targets"].is_null(), "{panel}");
    }
}
