//! The compiled table: prefixes, hosts and the rules at each pair of them.
//!
//! One pass over the path meets every configured prefix on it, shortest first; at each the hosts that match the request
//! are tried, most specific first. Deeper finds replace earlier ones, which is the order of precedence.

use std::collections::BTreeMap;

use super::host::{self, Hosts};
use super::index::{Index, Rolling};
use super::{Match, Reason, Rule, path};

/// Stands for "no host" in the second half of a pair.
const ANY_HOST: u32 = u32::MAX;

/// All routes of one configuration.
pub struct Table {
    prefixes: Index,
    hosts: Hosts,
    /// (prefix, host) to the rules at that pair; a pair is 8 bytes, both halves big-endian.
    pairs: Index,
    rules: Vec<Vec<Entry>>,
    longest: usize,
}

/// Rules at one pair, methods first; `tied` where another upstream has the same matcher.
struct Entry {
    method: Option<Box<[u8]>>,
    upstream: usize,
    tied: bool,
}

impl Table {
    /// Compiles the rules; their order is without effect.
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
            let pair = pairs.id(Box::new(pair_key(prefix, host))) as usize;
            table.resize_with(pairs.keys.len(), Vec::new);
            if let Some(entries) = table.get_mut(pair) {
                insert(entries, &rule);
            }
        }
        Self {
            longest: prefixes.keys.iter().map(|key| key.len()).max().unwrap_or(0),
            prefixes: Index::build(prefixes.keys, Rolling::of),
            hosts: Hosts::build(exact.keys, &suffixes.keys),
            pairs: Index::build(pairs.keys, Rolling::of),
            rules: table,
        }
    }

    /// The route of a request. `authority` may be empty; `scratch` is working space that the caller keeps.
    pub fn lookup(&self, authority: &[u8], path: &[u8], method: &[u8], scratch: &mut Vec<u8>) -> Option<Match> {
        let form = path::matching_form(path, scratch);
        let hosts = self.hosts.find(authority);
        let mut best = None;
        let mut hash = Rolling::START;
        for (at, &byte) in form.iter().enumerate().take(self.longest) {
            // A prefix without trailing slash ends before a slash, one with it ends after; the root is the latter.
            if byte == b'/' && at > 0 {
                self.visit(form.get(..at), hash, hosts, method, &mut best);
            }
            hash = hash.push(byte);
            if byte == b'/' {
                self.visit(form.get(..=at), hash, hosts, method, &mut best);
            }
        }
        let end = form.len().min(self.longest);
        if matches!(form.get(end), None | Some(b'/')) && form.get(end.wrapping_sub(1)) != Some(&b'/') {
            self.visit(form.get(..end), hash, hosts, method, &mut best);
        }
        best
    }

    /// Tries the rules at one prefix of the path; a find replaces that of a shorter prefix.
    fn visit(&self, prefix: Option<&[u8]>, hash: Rolling, hosts: host::Found, method: &[u8], best: &mut Option<Match>) {
        let Some(prefix) = prefix else { return };
        let Some(prefix_id) = self.prefixes.find(hash, prefix) else { return };
        let ids = self.hosts.ids(hosts).chain(std::iter::once(ANY_HOST)).enumerate();
        let mut here = ids.filter_map(|(rank, host)| {
            let (entry, reason) = choose(self.at(prefix_id, host)?, method)?;
            Some((rank, host, entry, reason))
        });
        let Some((rank, host, entry, mut reason)) = here.next() else { return };
        if reason == Reason::Only && here.next().is_some() {
            reason = if rank == 0 && hosts.has_exact() { Reason::ExactHost } else { Reason::WildcardHost };
        }
        if reason == Reason::Only && best.is_some() {
            reason = Reason::Path;
        }
        let (upstream, host_specific) = (entry.upstream, host != ANY_HOST);
        *best = Some(Match { upstream, prefix_len: prefix.len(), host_specific, reason });
    }

    fn at(&self, prefix: u32, host: u32) -> Option<&[Entry]> {
        let key = pair_key(prefix, host);
        let pair = self.pairs.find(Rolling::of(&key), &key)?;
        self.rules.get(pair as usize).map(Vec::as_slice)
    }
}

/// The entry for `method`, and how it was decided within the pair.
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

/// Adds a rule to its pair: methods first, "any" last; the first upstream by name keeps a shared matcher.
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

fn pair_key(prefix: u32, host: u32) -> [u8; 8] {
    let mut key = [0; 8];
    let (high, low) = key.split_at_mut(4);
    high.copy_from_slice(&prefix.to_be_bytes());
    low.copy_from_slice(&host.to_be_bytes());
    key
}

/// Gives dense ids to distinct keys, in order of appearance.
#[derive(Default)]
struct Numbering {
    ids: BTreeMap<Box<[u8]>, u32>,
    keys: Vec<Box<[u8]>>,
}

impl Numbering {
    fn id(&mut self, key: Box<[u8]>) -> u32 {
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        let id = u32::try_from(self.keys.len()).unwrap_or(u32::MAX - 1);
        self.ids.insert(key.clone(), id);
        self.keys.push(key);
        id
    }
}
