//! Files made to hurt are refused, and quickly: the bound is far above what is needed and far below what an
//! unbounded reader takes. It is on the time that the thread itself runs, for a busy machine is not our fault.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is the failure of a test"
)]

use std::fmt::Write;
use std::time::Duration;

use spooky_config::parse;

const BOUND: Duration = Duration::from_secs(10);

/// How long this thread has run, from Linux's scheduler statistics.
fn ran() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn refusal(text: &str) -> String {
    let start = ran();
    let problems = parse(text, "f", &|_| None).expect_err("refused");
    let took = ran().saturating_sub(start);
    assert!(took < BOUND, "took {took:?}");
    problems.iter().map(|problem| problem.message.clone()).next().expect("a reason")
}

fn parse_error(reason: &str) -> String {
    format!("Could not parse YAML file 'f': {reason}")
}

#[test]
fn nesting_stops_at_64() {
    let deep = parse_error("nesting is deeper than 64 levels");
    for open in ["[", "{ a: ", "- ", "? "] {
        assert_eq!(refusal(&format!("a:\n  {}", open.repeat(5_000_000 / open.len()))), deep, "{open}");
    }
    let mut lines = String::new();
    for depth in 0..1000 {
        let _ = writeln!(lines, "{}a:", " ".repeat(depth));
    }
    assert_eq!(refusal(&lines), deep);
    let nested = |depth: usize| format!("log: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(!refusal(&nested(63)).contains("nesting"));
    assert_eq!(refusal(&nested(64)), deep);
}

#[test]
fn an_alias_bomb_does_not_go_off() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(text, "a{level}: &a{level} [{aliases}]");
    }
    let _ = writeln!(text, "log: *a39");
    let expanded = parse_error("aliases expand to more than ten times the file's size");
    assert_eq!(refusal(&text), expanded);
    let merged = text.replace('[', "{ <<: [").replace("]\n", "] }\n");
    assert!(refusal(&merged).starts_with("Could not parse YAML file"));
}

#[test]
fn an_alias_cannot_hold_itself() {
    assert!(refusal("a: &a [*a]").starts_with("Could not parse YAML file"));
}

#[test]
fn size_stops_at_16_mib() {
    let large = parse_error("the file is larger than 16 MiB");
    assert_eq!(refusal(&"#".repeat(16 * 1024 * 1024 + 1)), large);
}

#[test]
fn megabytes_of_anything_end() {
    for piece in [
        "a",
        "a ",
        "a: b\n",
        "- a\n",
        "\"",
        "'",
        "#",
        "&a ",
        "*a ",
        "!",
        "%",
        "|\n",
        "\t",
        "a: &x\n",
        "---\n",
        "[a, ",
        "{a, ",
        "\u{feff}",
        "é: \u{85}",
        "a: {b: [c",
        "upstream: {}\n",
        "? a\n",
        "a: |\n  b\n",
        "<<: {}\n",
    ] {
        refusal(&piece.repeat(1_000_000 / piece.len()));
    }
    for piece in ["a: b\n", "- a\n"] {
        refusal(&piece.repeat(10_000_000 / piece.len()));
    }
    let mut upstreams = String::from("upstream:\n");
    for name in 0..50_000 {
        let _ = writeln!(upstreams, "  u{name}: {{ route: {{}} }}");
    }
    refusal(&upstreams);
    let mut certificates = String::from("listen:\n  tls:\n    certificates:\n");
    for name in 0..200_000 {
        let _ = writeln!(certificates, "    - {{ server_name: h{name}.example, cert: c, key: k }}");
    }
    refusal(&certificates);
}

#[test]
fn a_thousand_problems_are_told_and_the_rest_is_counted() {
    let problems = parse(&"x: 1\n".repeat(1500), "f", &|_| None).expect_err("refused");
    assert_eq!(problems.iter().count(), 1000);
    assert!(problems.errors() >= 1500, "{}", problems.errors());
}
