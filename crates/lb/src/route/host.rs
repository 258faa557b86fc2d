//! Lookup of the host of an authority among the hosts of the rules.
//!
//! It borrows from the authority and compares case-insensitively, so no name is copied. The authority was validated before
//! (docs/reference/behaviour.md#request-checks).

use super::index::{Index, RollingHash};
use spooky_config::{host_of, normalize_host};
use std::net::Ipv6Addr;

/// A host matcher as configured, in any case, without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Exactly this name or address.
    Exact(String),
    /// Any name below this suffix, which is written without `*.`; not the suffix itself.
    Suffix(String),
}

impl HostPattern {
    /// Reads `example.com`, `*.example.com` or an address as written in the configuration.
    pub fn parse(written: &str) -> Self {
        match written.strip_prefix("*.") {
            Some(suffix) => Self::Suffix(suffix.to_owned()),
            None => Self::Exact(written.to_owned()),
        }
    }

    /// Returns whether it is a suffix, and the normalised bytes.
    pub(super) fn key(&self) -> (bool, Box<[u8]>) {
        let (suffix, written) = match self {
            Self::Exact(host) => (false, host),
            Self::Suffix(host) => (true, host),
        };
        (suffix, normalize_host(written.as_bytes(), &mut Vec::new()).into())
    }
}

/// The id for rules without a host, last in the order of precedence.
pub(super) const ANY_HOST: u32 = u32::MAX;

/// Every host named by a rule. Ids number the exact names first, then the suffixes.
pub(super) struct Hosts {
    exact: Index<Box<[u8]>>,
    suffixes: Index<Box<[u8]>>,
    /// For each suffix, the longest other suffix that matches it.
    parents: Vec<Option<u32>>,
    exact_count: u32,
    longest_suffix: usize,
}

/// The hosts that match one request.
#[derive(Clone, Copy)]
pub(super) struct MatchingHosts {
    exact: Option<u32>,
    /// Position of the longest matching suffix; the shorter ones are its parents.
    suffix: Option<u32>,
}

impl MatchingHosts {
    pub(super) fn has_exact(&self) -> bool {
        self.exact.is_some()
    }
}

impl Hosts {
    /// Builds the tables from distinct normalised names.
    pub(super) fn build(exact: Vec<Box<[u8]>>, suffixes: &[Box<[u8]>]) -> Self {
        let mut hosts = Self {
            exact_count: u32::try_from(exact.len()).unwrap_or(u32::MAX),
            exact: Index::build(exact, |host| hash_of(host)),
            parents: Vec::new(),
            longest_suffix: suffixes.iter().map(|suffix| suffix.len()).max().unwrap_or(0),
            suffixes: Index::build(suffixes.to_vec(), |host| hash_of(host)),
        };
        // The part before the dot may be empty here: a request has its own labels before the suffix.
        hosts.parents = suffixes.iter().map(|suffix| hosts.walk(suffix, 0).suffix).collect();
        hosts
    }

    /// Returns the hosts that match `authority`.
    pub(super) fn find(&self, authority: &[u8]) -> MatchingHosts {
        if self.exact_count == 0 && self.parents.is_empty() {
            return MatchingHosts { exact: None, suffix: None };
        }
        let host = host_of(authority);
        match normal_ipv6(host) {
            Some((address, length)) => self.walk(address.get(..length).unwrap_or_default(), 1),
            None => self.walk(host, 1),
        }
    }

    /// First id in the order of precedence: exact name, suffixes from the longest, [`ANY_HOST`].
    pub(super) fn first(&self, found: MatchingHosts) -> u32 {
        found.exact.unwrap_or_else(|| self.suffix_id(found.suffix))
    }

    /// The id after `id` in that order.
    pub(super) fn after(&self, found: MatchingHosts, id: u32) -> u32 {
        match id.checked_sub(self.exact_count) {
            None => self.suffix_id(found.suffix),
            Some(suffix) => self.suffix_id(self.parents.get(suffix as usize).copied().flatten()),
        }
    }

    fn suffix_id(&self, suffix: Option<u32>) -> u32 {
        suffix.map_or(ANY_HOST, |suffix| suffix + self.exact_count)
    }

    /// Walks the labels from the right, so the last suffix found is the longest. A suffix matches only with at least `above`
    /// bytes before its dot.
    fn walk(&self, host: &[u8], above: usize) -> MatchingHosts {
        let mut suffix = None;
        let mut rest = host;
        let mut hash = RollingHash::START;
        while let Some(dot) = rest.iter().rposition(|&byte| byte == b'.') {
            let below = host.get(dot + 1..).unwrap_or_default();
            hash = hash.piece_ignoring_case(rest.get(dot + 1..).unwrap_or_default());
            if dot >= above && below.len() <= self.longest_suffix {
                let found = self.suffixes.find(hash, |stored| stored.eq_ignore_ascii_case(below));
                suffix = found.or(suffix);
            }
            hash = hash.separator();
            rest = rest.get(..dot).unwrap_or_default();
        }
        let hash = hash.piece_ignoring_case(rest);
        let exact = self.exact.find(hash, |stored| stored.eq_ignore_ascii_case(host));
        MatchingHosts { exact, suffix }
    }
}

/// An IPv6 address in canonical form (RFC 5952); `None` for other hosts.
fn normal_ipv6(host: &[u8]) -> Option<([u8; LONGEST_IPV6], usize)> {
    use std::io::Write;
    if !host.contains(&b':') {
        return None;
    }
    let address: Ipv6Addr = std::str::from_utf8(host).ok()?.parse().ok()?;
    let mut text = [0; LONGEST_IPV6];
    let mut free = text.as_mut_slice();
    write!(free, "{address}").ok()?;
    let length = LONGEST_IPV6 - free.len();
    Some((text, length))
}

const LONGEST_IPV6: usize = 45;

fn hash_of(host: &[u8]) -> RollingHash {
    let mut labels = host.rsplit(|&byte| byte == b'.');
    let first = RollingHash::START.piece_ignoring_case(labels.next().unwrap_or_default());
    labels.fold(first, |hash, label| hash.separator().piece_ignoring_case(label))
}
