//! The host of an authority in matching form, and the hosts that the rules name.
//!
//! It borrows from the authority and compares without regard to case, so no name is copied. Whether an authority is valid
//! at all was checked before (docs/reference/behaviour.md#request-checks).

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

    /// Normalised bytes and whether it is a suffix.
    pub(super) fn key(&self) -> (bool, Box<[u8]>) {
        let (suffix, written) = match self {
            Self::Exact(host) => (false, host),
            Self::Suffix(host) => (true, host),
        };
        (suffix, normalize_host(written.as_bytes(), &mut Vec::new()).into())
    }
}

/// The id of "no host in particular", last in the order of precedence.
pub(super) const ANY_HOST: u32 = u32::MAX;

/// Every host named by a rule. An id is a position among the exact names, or above them among the suffixes.
pub(super) struct Hosts {
    exact: Index<Box<[u8]>>,
    suffixes: Index<Box<[u8]>>,
    /// For each suffix the next shorter one that it lies below.
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
    /// Whether an exact name matches.
    pub(super) fn has_exact(&self) -> bool {
        self.exact.is_some()
    }
}

impl Hosts {
    /// From distinct keys in matching form.
    pub(super) fn build(exact: Vec<Box<[u8]>>, suffixes: &[Box<[u8]>]) -> Self {
        let mut hosts = Self {
            exact_count: u32::try_from(exact.len()).unwrap_or(u32::MAX),
            exact: Index::build(exact, |host| hash_of(host)),
            parents: Vec::new(),
            longest_suffix: suffixes.iter().map(|suffix| suffix.len()).max().unwrap_or(0),
            suffixes: Index::build(suffixes.to_vec(), |host| hash_of(host)),
        };
        // What stands above a suffix may be empty here: what a request has above it comes before its dot.
        hosts.parents = suffixes.iter().map(|suffix| hosts.walk(suffix, 0).suffix).collect();
        hosts
    }

    /// The ids that match the host of `authority`.
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

    /// The first id in order of precedence: exact name, then suffixes from the longest, then [`ANY_HOST`].
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

    /// One pass over the labels from the right; the last suffix found is the longest. A suffix counts with at least `above`
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

/// An IPv6 address in its normal form. `None` for all other hosts.
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

/// Characters of the longest IPv6 address.
const LONGEST_IPV6: usize = 45;

/// The hash of a whole name: its labels from the right.
fn hash_of(host: &[u8]) -> RollingHash {
    let mut labels = host.rsplit(|&byte| byte == b'.');
    let first = RollingHash::START.piece_ignoring_case(labels.next().unwrap_or_default());
    labels.fold(first, |hash, label| hash.separator().piece_ignoring_case(label))
}
