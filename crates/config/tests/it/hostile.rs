//! Files made to hurt are refused, and quickly: the bound is far above what is needed and far below what an
//! unbounded reader takes. It is on the time that the thread itself runs, for a busy machine is not our fault.

use std::fmt::Write;
use std::time::Duration;

use spooky_config::parse;

const BOUND: Duration = Duration::from_secs(10);
/// Bytes that are said of a file, at most.
const MOST_TOLD: usize = 8_000_000;

/// How long this thread has run, from Linux's scheduler statistics.
fn ran() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Returns the first message about a text. Checks that parsing and all output formats are bounded in time and length.
fn refusal(text: &str) -> String {
    let start = ran();
    let problems = parse(text, "f", &|_| None).expect_err("refused");
    for reported in [problems.plain(), problems.json(), problems.terminal(false)] {
        assert!(reported.len() < MOST_TOLD, "{} bytes", reported.len());
    }
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

/// Shapes in which a reader that looks back, or a renderer that starts anew for each problem, takes minutes.
#[test]
fn nothing_is_looked_at_again_for_each_key() {
    let keys = |count: usize| {
        (0..count).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "k{number}: 1");
            text
        })
    };
    refusal(&(keys(400_000) + &"<<: {}\n".repeat(400_000)));
    refusal(&(keys(400_000) + &"reload: {}\n".repeat(400_000)));
    refusal(&format!("{{ {} }}", keys(800_000).trim_end().replace('\n', ", ")));
    refusal(&format!("log: {{ level: {} }}", "x".repeat(12_000_000)));
    let levels = "{ level: loud }, ".repeat(500_000);
    refusal(&format!("listeners: [ {levels} ]"));
}

/// Shapes in which each opening brace, or each name at fault, starts a search through all the rest.
#[test]
fn nothing_is_searched_again_for_each_name_or_brace() {
    refusal(&format!("log: {{ level: '{}' }}\n", "${".repeat(6_000_000)));
    refusal(&format!("log: {{ level: '{}}}' }}\n", "${".repeat(6_000_000)));
    let numbered = |count: usize, entry: &str| {
        (0..count).fold(String::new(), |mut text, number| {
            let _ = write!(text, "k{number}: {entry}, ");
            text
        })
    };
    for list in ["route_queue: { caps", "retry_budget: { per_route_ratio_percent"] {
        refusal(&format!("resilience: {{ {list}: {{ {} }} }} }}", numbered(600_000, "1")));
    }
    let upstream = "&x { route: { host: h, method: CONNECT }, backends: [ { id: b, address: \"h:1\" } ] }";
    refusal(&format!("log: {{ level: {upstream} }}\nupstream: {{ {} }}", numbered(400_000, "*x")));
}

#[test]
fn a_long_value_is_cut_where_it_is_quoted() {
    let value = "\u{fc}".repeat(5000);
    let problems = parse(&format!("log: {{ level: {value} }}\n"), "f", &|_| None).expect_err("refused");
    let reported = problems.iter().find(|problem| problem.path == "log.level").expect("a problem of the level");
    assert_eq!(reported.message, format!("Invalid log level: {}\u{2026}", "\u{fc}".repeat(1024)));
}

#[test]
fn a_thousand_errors_are_reported_and_the_rest_is_counted() {
    let problems = parse(&"x: 1\n".repeat(1500), "f", &|_| None).expect_err("refused");
    assert_eq!(problems.iter().count(), 1000);
    assert_eq!(problems.errors(), 1502);
    for reported in [problems.plain(), problems.terminal(false)] {
        assert!(reported.ends_with("\nf: and 502 more errors\n"), "{}", &reported[reported.len() - 100..]);
    }
}

#[test]
fn no_number_of_warnings_hides_an_error() {
    let mut text = String::from("listen: { tls: { cert: c, key: k } }\nupstream:\n");
    for name in 0..1500 {
        let route = format!("route: {{ host: h{name} }}");
        let _ = writeln!(text, "  u{name}: {{ {route}, backends: [ {{ id: a, address: \"http://b\" }} ] }}");
    }
    let loaded = parse(&text, "f", &|_| None).expect("warnings refuse nothing");
    assert!(loaded.problems(Vec::new()).plain().ends_with("\nf: and 500 more warnings\n"));
    let problems = parse(&format!("{text}log: {{ level: loud }}\n"), "f", &|_| None).expect_err("refused");
    assert_eq!(problems.errors(), 1);
    assert!(problems.plain().contains("f:1503:15: error: log.level: Invalid log level: loud\n"));
}
