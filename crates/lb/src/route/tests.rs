//! Tests the rules of docs/reference/behaviour.md#routing, and compares with a slow model of them over random tables.

use super::*;
use crate::rng::Rng;

fn rule(upstream: usize, host: Option<&str>, prefix: &str, method: Option<&str>) -> Rule {
    Rule {
        upstream,
        name: format!("u{upstream:03}"),
        host: host.map(HostPattern::parse),
        path_prefix: prefix.into(),
        method: method.map(Into::into),
    }
}

fn form(path: &str) -> String {
    String::from_utf8(matching_form(path.as_bytes(), &mut Vec::new()).to_vec()).unwrap()
}

fn find(table: &Table, host: &str, path: &str, method: &str) -> Option<(usize, &'static str)> {
    let found = table.lookup(host.as_bytes(), path.as_bytes(), method.as_bytes(), &mut Vec::new());
    found.map(|m| (m.upstream, m.reason.label()))
}

#[test]
fn the_matching_form_follows_the_five_steps() {
    for (path, expected) in [
        ("/", "/"),
        ("", "/"),
        ("*", "/"),
        ("/a/b", "/a/b"),
        ("/a/b?x=/../y", "/a/b"),
        ("?x", "/"),
        ("/%61pi/%7Euser", "/api/~user"),
        ("/%c3%bc", "/%C3%BC"),
        ("/a%2fb", "/a/b"),
        ("/a%5Cb\\c", "/a/b/c"),
        ("/a%00b/c", "/a"),
        ("/a//b///c/", "/a/b/c/"),
        ("//a", "/a"),
        ("/a/./b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/../../x", "/x"),
        ("/%2e%2E/x", "/x"),
        ("/a/%2e%2e%2fb", "/b"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("/a/..b/.c/...", "/a/..b/.c/..."),
        ("/%zz%4", "/%zz%4"),
        ("x/y", "/x/y"),
        ("/a//../b", "/b"),
    ] {
        assert_eq!(form(path), expected, "{path}");
    }
}

#[test]
fn the_matching_form_is_a_fixed_point_of_its_last_steps() {
    let mut rng = Rng::seeded(11);
    let pieces = ["/", "/", ".", "..", "%2e", "%2f", "a", "\\", "%", "%00", "//", "%5c", "?", "B", "%41"];
    for _ in 0..20_000 {
        let path: String = (0..rng.below(12)).map(|_| pieces[rng.below(pieces.len() as u64) as usize]).collect();
        let once = form(&path);
        assert!(once.starts_with('/') && !once.contains("//"), "{path} -> {once}");
        assert!(once.split('/').all(|segment| segment != "." && segment != ".."), "{path} -> {once}");
        assert!(once.len() <= path.len() + 1);
    }
}

#[test]
fn prefixes_end_on_segment_boundaries() {
    let table = Table::build([rule(1, None, "/api", None), rule(2, None, "/static/", None)]);
    for path in ["/api", "/api/", "/api/x", "/api?x=1", "/%61pi/x", "/x/../api"] {
        assert_eq!(find(&table, "h", path, "GET"), Some((1, "only")), "{path}");
    }
    for path in ["/static/", "/static/a", "/static//a?b"] {
        assert_eq!(find(&table, "h", path, "GET"), Some((2, "only")), "{path}");
    }
    for path in ["/api2", "/ap", "/static", "/", "/apix/api", "/API"] {
        assert_eq!(find(&table, "h", path, "GET"), None, "{path}");
    }
}

#[test]
fn precedence_is_path_then_host_then_method_then_name() {
    let table = Table::build([
        rule(1, None, "/", None),
        rule(2, Some("a.example.com"), "/", None),
        rule(3, Some("*.example.com"), "/", None),
        rule(4, Some("*.com"), "/", None),
        rule(5, None, "/long", None),
        rule(6, Some("a.example.com"), "/", Some("POST")),
        rule(8, None, "/tied", None),
        rule(7, None, "/tied", None),
    ]);
    assert_eq!(find(&table, "other.org", "/", "GET"), Some((1, "only")));
    assert_eq!(find(&table, "a.example.com", "/", "GET"), Some((2, "exact_host")));
    assert_eq!(find(&table, "A.Example.COM.:443", "/", "GET"), Some((2, "exact_host")));
    assert_eq!(find(&table, "b.example.com", "/", "GET"), Some((3, "wildcard_host")));
    assert_eq!(find(&table, "x.b.example.com", "/", "GET"), Some((3, "wildcard_host")));
    assert_eq!(find(&table, "example.com", "/", "GET"), Some((4, "wildcard_host")));
    assert_eq!(find(&table, "a.example.com", "/long/x", "GET"), Some((5, "path")));
    assert_eq!(find(&table, "a.example.com", "/", "POST"), Some((6, "method")));
    assert_eq!(find(&table, "x", "/tied", "GET"), Some((7, "name")));
}

#[test]
fn hosts_compare_without_port_dot_case_and_brackets() {
    let table = Table::build([rule(1, Some("Example.com"), "/", None), rule(2, Some("2001:db8::1"), "/", None)]);
    for host in ["example.com", "EXAMPLE.com:8443", "example.com.", "example.com.:1"] {
        assert_eq!(find(&table, host, "/", "GET"), Some((1, "only")), "{host}");
    }
    for host in ["[2001:db8::1]", "[2001:DB8::1]:443"] {
        assert_eq!(find(&table, host, "/", "GET"), Some((2, "only")), "{host}");
    }
    for host in ["", "xexample.com", "example.com.evil", "[", ":", "."] {
        assert_eq!(find(&table, host, "/", "GET"), None, "{host}");
    }
}

#[test]
fn a_wildcard_below_another_by_an_empty_label_leaves_it_its_requests() {
    let table = Table::build([rule(0, Some("*..c"), "/", Some("PUT")), rule(1, Some("*.c"), "/", None)]);
    assert_eq!(find(&table, "a..c", "/", "GET"), Some((1, "only")));
    assert_eq!(find(&table, "a..c", "/", "PUT").map(|found| found.0), Some(0));
}

#[test]
fn a_wildcard_matches_names_below_its_suffix_only() {
    let table = Table::build([rule(1, Some("*.example.com"), "/", None)]);
    assert_eq!(find(&table, "a.example.com", "/", "GET"), Some((1, "only")));
    for host in ["example.com", ".example.com", "aexample.com", "a.example.com.org"] {
        assert_eq!(find(&table, host, "/", "GET"), None, "{host}");
    }
}

#[test]
fn methods_are_case_sensitive() {
    let table = Table::build([rule(1, None, "/", Some("GET"))]);
    assert_eq!(find(&table, "", "/", "GET"), Some((1, "only")));
    assert_eq!(find(&table, "", "/", "get"), None);
}

/// The rules taken literally: filter, then sort.
fn reference(rules: &[Rule], host: &str, path: &str, method: &str) -> Option<usize> {
    let path = form(path);
    let mut matching: Vec<(&Rule, (usize, usize, bool))> = rules
        .iter()
        .filter(|rule| is_under(path.as_bytes(), rule.path_prefix.as_bytes()))
        .filter(|rule| rule.method.as_deref().is_none_or(|m| m == method))
        .filter_map(|rule| {
            let host_rank = match &rule.host {
                None => 0,
                Some(HostPattern::Exact(name)) => (name == host).then_some(1000)?,
                Some(HostPattern::Suffix(suffix)) => {
                    let above = host.strip_suffix(suffix.as_str())?.strip_suffix('.')?;
                    (!above.is_empty()).then_some(suffix.len() + 1)?
                }
            };
            Some((rule, (rule.path_prefix.len(), host_rank, rule.method.is_some())))
        })
        .collect();
    matching.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.name.cmp(&b.0.name)));
    matching.first().map(|(rule, _)| rule.upstream)
}

#[test]
fn random_tables_agree_with_the_literal_reading() {
    let hosts = [None, Some("a.b.c"), Some("*.b.c"), Some("*.c"), Some("b.c"), Some("*.a.b.c")];
    let names = ["a.b.c", "b.c", "c", "x.a.b.c", "z"];
    let pieces = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c/", "/a/b/c"];
    let methods = [None, Some("GET"), Some("PUT")];
    for seed in 0..300 {
        let mut rng = Rng::seeded(seed);
        let rules: Vec<Rule> = (0..rng.below(25) as usize)
            .map(|n| {
                let pick = |rng: &mut Rng, n: usize| rng.below(n as u64) as usize;
                rule(n, hosts[pick(&mut rng, 6)], pieces[pick(&mut rng, 7)], methods[pick(&mut rng, 3)])
            })
            .collect();
        let table = Table::build(rules.iter().cloned());
        for path in ["/", "/a", "/a/", "/a/x", "/ab/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/a/bc", "/q"] {
            for host in names {
                for method in ["GET", "PUT", "POST"] {
                    let found = find(&table, host, path, method).map(|(upstream, _)| upstream);
                    assert_eq!(found, reference(&rules, host, path, method), "seed {seed}: {method} {host}{path}");
                }
            }
        }
    }
}
