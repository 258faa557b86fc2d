//! One request against one table, both made of foreign bytes: the fuzz target and the corpus test share it.
//!
//! Lines of the input: method, authority, path, then one rule each: `prefix`, `host prefix` or `host prefix method`.

use spooky_lb::admit::{Policy, PolicyOptions};
use spooky_lb::balance::key;
use spooky_lb::route::{HostPattern, PathDepths, Rule, Table, is_under, matching_form};

/// More rules only make a run slower.
const MAX_RULES: usize = 32;

/// Looks the request up, and compares with the rules of docs/reference/behaviour.md#routing taken literally.
pub fn check(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let [method, authority, path] = [0; 3].map(|_| lines.next().unwrap_or_default());
    let rules: Vec<Rule> = lines.take(MAX_RULES).enumerate().filter_map(|(n, line)| rule(n, line)).collect();

    let mut scratch = Vec::new();
    let form = matching_form(path, &mut scratch).to_vec();
    assert!(form.starts_with(b"/"), "{form:?}");
    assert!(form.len() <= path.len() + 1, "{form:?}");
    assert!(!form.windows(2).any(|pair| pair == b"//"), "{form:?}");
    assert!(!form.split(|&byte| byte == b'/').any(|segment| segment == b"." || segment == b".."), "{form:?}");

    let table = Table::build(rules.iter().cloned());
    let found = table.lookup(authority, path, method, &mut scratch).map(|found| found.upstream);
    assert_eq!(found, literal(&rules, authority, &form, method), "{rules:?}");

    let denied = rules.iter().map(|rule| rule.path_prefix.clone()).collect();
    let policy = Policy::new(PolicyOptions { denied_path_prefixes: denied, ..Default::default() });
    let refused = policy.check_path(path, &mut PathDepths::default()).is_err();
    let under = rules.iter().any(|rule| is_under(&form, &normal(&rule.path_prefix)));
    assert!(refused || !under, "the matching form is one of the readings");
    let _ = policy.check_connect(authority);
    let _ = (key::query(path, method), key::cookie(path, method), key::hash(path));
}

fn rule(n: usize, line: &[u8]) -> Option<Rule> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let (host, prefix, method) = match words[..] {
        [prefix] => (None, prefix, None),
        [host, prefix] => (Some(host), prefix, None),
        [host, prefix, method] => (Some(host), prefix, Some(method)),
        _ => return None,
    };
    let host = host.map(HostPattern::parse);
    let method = method.map(str::to_owned);
    Some(Rule { upstream: n, name: format!("{n:03}"), host, path_prefix: prefix.to_owned(), method })
}

/// Filter, then sort.
fn literal(rules: &[Rule], authority: &[u8], form: &[u8], method: &[u8]) -> Option<usize> {
    let host = host_of(authority);
    let ranked = rules.iter().filter_map(|rule| {
        let prefix = normal(&rule.path_prefix);
        let host_rank = match &rule.host {
            None => 0,
            Some(HostPattern::Exact(name)) => (host_of(name.as_bytes()) == host).then_some(usize::MAX)?,
            Some(HostPattern::Suffix(suffix)) => {
                let suffix = host_of(suffix.as_bytes());
                let above = host.strip_suffix(suffix.as_slice())?.strip_suffix(b".")?;
                (!above.is_empty()).then_some(suffix.len() + 1)?
            }
        };
        let fits = is_under(form, &prefix) && rule.method.as_ref().is_none_or(|m| m.as_bytes() == method);
        fits.then_some(((prefix.len(), host_rank, rule.method.is_some()), std::cmp::Reverse(rule.upstream)))
    });
    ranked.max().map(|(_, upstream)| upstream.0)
}

fn normal(prefix: &str) -> Vec<u8> {
    matching_form(prefix.as_bytes(), &mut Vec::new()).to_vec()
}

fn host_of(authority: &[u8]) -> Vec<u8> {
    let text = authority.to_ascii_lowercase();
    let host = name_of(&text);
    let address = std::str::from_utf8(host).ok().and_then(|host| host.parse::<std::net::Ipv6Addr>().ok());
    address.map_or_else(|| host.to_vec(), |address| address.to_string().into_bytes())
}

/// Without brackets, port and final dot.
fn name_of(text: &[u8]) -> &[u8] {
    if let Some(rest) = text.strip_prefix(b"[") {
        return rest.split(|&byte| byte == b']').next().unwrap_or_default();
    }
    let mut parts = text.split(|&byte| byte == b':');
    let host = match (parts.next(), parts.next(), parts.next()) {
        (Some(host), Some(_), None) => host,
        _ => text,
    };
    host.strip_suffix(b".").unwrap_or(host)
}
