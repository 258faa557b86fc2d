//! The host of an authority in matching form, and the hosts that the rules name.
//!
//! It borrows from the authority and compares without regard to case, so nothing is copied. Whether an authority is valid
//! at all was settled before (behaviour 3.3).

use super::index::{Index, Rolling};

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
        (suffix, strip(written.as_bytes()).to_ascii_lowercase().into_boxed_slice())
    }
}

/// Port, trailing dot and brackets removed; the case is left as it is.
pub(super) fn strip(authority: &[u8]) -> &[u8] {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let end = rest.iter().position(|&b| b == b']').unwrap_or(rest.len());
        return rest.get(..end).unwrap_or(rest);
    }
    let mut colons = authority.iter().enumerate().filter(|&(_, &b)| b == b':');
    let host = match (colons.next(), colons.next()) {
        // Two colons without brackets: a bare IPv6 address, which has no port.
        (Some((at, _)), None) => authority.get(..at).unwrap_or(authority),
        _ => authority,
    };
    host.strip_suffix(b".").unwrap_or(host)
}

/// Every host named by a rule. An id is a position among the exact names, or above them among the suffixes.
pub(super) struct Hosts {
    exact: Index,
    suffixes: Index,
    /// For each suffix the next shorter one that it lies below.
    parents: Vec<Option<u32>>,
    exact_count: u32,
    longest_suffix: usize,
}

/// The hosts that match one request.
#[derive(Clone, Copy)]
pub(super) struct Found {
    exact: Option<u32>,
    /// Position of the longest matching suffix; the shorter ones are its parents.
    suffix: Option<u32>,
}

impl Found {
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
            exact: Index::build(exact, Rolling::of_reversed),
            parents: Vec::new(),
            longest_suffix: suffixes.iter().map(|suffix| suffix.len()).max().unwrap_or(0),
            suffixes: Index::build(suffixes.to_vec(), Rolling::of_reversed),
        };
        hosts.parents = suffixes.iter().map(|suffix| hosts.longest_suffix_of(suffix)).collect();
        hosts
    }

    /// The ids that match the host of `authority`.
    pub(super) fn find(&self, authority: &[u8]) -> Found {
        let host = strip(authority);
        let exact =
            if self.exact_count == 0 { None } else { self.exact.find_ignore_case(Rolling::of_reversed(host), host) };
        Found { exact, suffix: self.longest_suffix_of(host) }
    }

    /// The ids in order of precedence: exact name, then suffixes from the longest.
    pub(super) fn ids(&self, found: Found) -> impl Iterator<Item = u32> {
        let suffixes = std::iter::successors(found.suffix, |&id| self.parents.get(id as usize).copied().flatten());
        found.exact.into_iter().chain(suffixes.map(|id| id + self.exact_count))
    }

    /// One pass from the right; the last find is the longest.
    fn longest_suffix_of(&self, host: &[u8]) -> Option<u32> {
        let mut longest = None;
        let mut hash = Rolling::START;
        for (at, &byte) in host.iter().enumerate().rev() {
            if host.len() - at > self.longest_suffix + 1 {
                break;
            }
            if byte == b'.' && at > 0 {
                let suffix = host.get(at + 1..).unwrap_or_default();
                longest = self.suffixes.find_ignore_case(hash, suffix).or(longest);
            }
            hash = hash.push(byte.to_ascii_lowercase());
        }
        longest
    }
}
