//! The compiled routing table: prefixes, hosts and the rules of each pair of them.
//!
//! One pass over the path finds every configured prefix of it, shortest first; for each, the hosts that match the request are
//! tried, most specific first. A longer prefix replaces a shorter one, which is the order of precedence.

use std::collections::BTreeMap;

use super::host::{self, ANY_HOST, Hosts};
use super::index::{Index, RollingHash};
use super::{Match, Reason, Rule, path};

/// All routes of one configuration.
pub struct Table {
    prefixes: Index<Box<[u8]>>,
    hosts: Hosts,
    /// Index of (prefix, host) in `rules`.
    pairs: Index<(u32, u32)>,
    rules: Vec<Vec<Entry>>,
    longest: usize,
}

/// A rule of a pair; those with a method come first. `tied` if another upstream has the same matcher.
struct Entry {
    method: Option<Box<[u8]>>,
    upstream: usize,
    tied: bool,
}

impl Table {
    /// Compiles the rules; their order has no effect.
    pub fn build(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut rules: Vec<Rule> = rules.into_iter().collect();
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut prefixes, mut exact, mut suffixes) =
            (Numbering::default(), Numbering::default(), Numbering::default());
        let mut keyed = Vec::with_capacity(rules.len());
        for rule in rules {
            let prefix = prefixes.id(prefix_form(&rule.path_prefix));
            let host = rule.host.as_ref().map(|pattern| match pattern.key() {
                (false, name) => (false, exact.id(name)),
                (true, name) => (true, suffixes.id(name)),
            });
            keyed.push((prefix, host, rule));
        }
        let exact_count = u32::try_from(exact.keys.len()).unwrap_or(u32::MAX);
        let mut pairs = Numbering::default();
        let mut table = Vec::new();
        for (prefix, host, rule) in keyed {
            let host = host.map_or(ANY_HOST, |(suffix, id)| if suffix { id + exact_count } else { id });
            let pair = pairs.id((prefix, host)) as usize;
            table.resize_with(pairs.keys.len(), Vec::new);
            if let Some(entries) = table.get_mut(pair) {
                insert(entries, &rule);
            }
        }
        Self {
            longest: prefixes.keys.iter().map(|key| key.len()).max().unwrap_or(0),
            prefixes: Index::build(prefixes.keys, |prefix| prefix_hash(prefix)),
            hosts: Hosts::build(exact.keys, &suffixes.keys),
            pairs: Index::build(pairs.keys, |&(prefix, host)| pair_hash(prefix, host)),
            rules: table,
        }
    }

    /// Returns the route of a request. `authority` may be empty; `scratch` is a buffer that the caller reuses.
    pub fn lookup(&self, authority: &[u8], path: &[u8], method: &[u8], scratch: &mut Vec<u8>) -> Option<Match> {
        let form = path::matching_form(path, scratch);
        let hosts = self.hosts.find(authority);
        let mut best = None;
        let mut hash = RollingHash::START;
        let mut slash = 0;
        // At each slash: the prefix that ends with it, then the one that ends before the next slash or the end.
        while slash < form.len() && slash < self.longest {
            hash = hash.separator();
            self.visit(form.get(..=slash), hash, hosts, method, &mut best);
            let rest = form.get(slash + 1..).unwrap_or_default();
            let len = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            slash += 1 + len;
            if len > 0 && slash <= self.longest {
                hash = hash.piece(rest.get(..len).unwrap_or_default());
                self.visit(form.get(..slash), hash, hosts, method, &mut best);
            }
        }
        best
    }

    /// Tries the rules of one prefix of the path; a match replaces that of a shorter prefix.
    fn visit(
        &self,
        prefix: Option<&[u8]>,
        hash: RollingHash,
        hosts: host::MatchingHosts,
        method: &[u8],
        best: &mut Option<Match>,
    ) {
        let Some(prefix) = prefix else { return };
        let Some(prefix_id) = self.prefixes.find(hash, |stored| **stored == *prefix) else { return };
        let mut winner = None;
        let mut id = self.hosts.first(hosts);
        loop {
            let here = self.at(prefix_id, id).and_then(|entries| choose(entries, method));
            match (here, &mut winner) {
                (Some((entry, reason)), None) => winner = Some((id, entry, reason)),
                (Some(_), Some((host, _, reason))) if *reason == Reason::Only => {
                    let exact = hosts.has_exact() && *host == self.hosts.first(hosts);
                    *reason = if exact { Reason::ExactHost } else { Reason::WildcardHost };
                }
                _ => {}
            }
            if id == ANY_HOST {
                break;
            }
            id = self.hosts.after(hosts, id);
        }
        let Some((host, entry, mut reason)) = winner else { return };
        if reason == Reason::Only && best.is_some() {
            reason = Reason::Path;
        }
        let (upstream, host_specific) = (entry.upstream, host != ANY_HOST);
        *best = Some(Match { upstream, prefix_len: prefix.len(), host_specific, reason });
    }

    fn at(&self, prefix: u32, host: u32) -> Option<&[Entry]> {
        let pair = self.pairs.find(pair_hash(prefix, host), |&pair| pair == (prefix, host))?;
        self.rules.get(pair as usize).map(Vec::as_slice)
    }
}

/// Returns the rule for `method`, and what decided between the rules of the pair.
fn choose<'a>(entries: &'a [Entry], method: &[u8]) -> Option<(&'a Entry, Reason)> {
    let specific = entries.iter().find(|entry| entry.method.as_deref() == Some(method));
    let any = entries.last().filter(|entry| entry.method.is_none());
    let (entry, reason) = match (specific, any) {
        (Some(entry), Some(_)) => (entry, Reason::Method),
        (Some(entry), None) | (None, Some(entry)) => (entry, Reason::Only),
        (None, None) => return None,
    };
    Some((entry, if entry.tied { Reason::Name } else { reason }))
}

/// Adds a rule to its pair: methods first, "any" last. Of equal matchers the first upstream by name is used.
fn insert(entries: &mut Vec<Entry>, rule: &Rule) {
    let method = rule.method.as_ref().map(|method| method.as_bytes().into());
    if let Some(same) = entries.iter_mut().find(|entry| entry.method == method) {
        same.tied = true;
        return;
    }
    let at = if method.is_none() { entries.len() } else { 0 };
    entries.insert(at, Entry { method, upstream: rule.upstream, tied: false });
}

fn prefix_form(prefix: &str) -> Box<[u8]> {
    path::matching_form(prefix.as_bytes(), &mut Vec::new()).into()
}

/// Must hash as [`Table::lookup`] does.
fn prefix_hash(prefix: &[u8]) -> RollingHash {
    let mut segments = prefix.split(|&byte| byte == b'/');
    let first = RollingHash::START.piece(segments.next().unwrap_or_default());
    segments.fold(first, |hash, segment| hash.separator().piece(segment))
}

const fn pair_hash(prefix: u32, host: u32) -> RollingHash {
    RollingHash::START.word((prefix as u64) << 32 | host as u64)
}

/// Assigns dense ids to distinct keys, in order of appearance.
struct Numbering<K> {
    ids: BTreeMap<K, u32>,
    keys: Vec<K>,
}

impl<K> Default for Numbering<K> {
    fn default() -> Self {
        Self { ids: BTreeMap::new(), keys: Vec::new() }
    }
}

impl<K: Ord + Clone> Numbering<K> {
    fn id(&mut self, key: K) -> u32 {
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        let id = u32::try_from(self.keys.len()).unwrap_or(u32::MAX - 1);
        self.ids.insert(key.clone(), id);
        self.keys.push(key);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_prefix_and_host_spread() {
        let pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)].map(|(prefix, host)| pair_hash(prefix, host));
        for (at, pair) in pairs.iter().enumerate() {
            assert!(!pairs[..at].contains(pair), "{pair:?}");
        }
    }
}
