//! The addresses of one family of a name: what its lookups have found.

use std::{net::IpAddr, time::Duration};

/// The end of a lookup of one record type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The addresses, possibly none, and how long they are valid.
    Addresses(Vec<IpAddr>, Duration),
    /// The lookup failed.
    Failed(String),
}

#[derive(Debug, Default)]
pub(super) struct Family {
    /// Whether a lookup is in progress.
    pub(super) is_pending: bool,
    /// Of the last lookup that did not fail.
    addresses: Vec<IpAddr>,
    /// Of the last lookup.
    ttl: Option<Duration>,
    error: Option<String>,
}

impl Family {
    pub(super) fn finish(&mut self, answer: Answer) {
        self.is_pending = false;
        match answer {
            Answer::Addresses(addresses, ttl) => {
                (self.addresses, self.ttl, self.error) = (addresses, Some(ttl), None);
            }
            Answer::Failed(error) => (self.ttl, self.error) = (None, Some(error)),
        }
    }

    /// Returns the addresses to use: those of the last lookup, or of an earlier one while that is in progress or if it failed.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Returns whether the last lookup has found addresses.
    pub(super) fn has_found(&self) -> bool {
        !self.is_pending && self.error.is_none() && !self.addresses.is_empty()
    }

    /// Returns how long the addresses are valid; `None` if there are none, or if they are those of an earlier lookup.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl.filter(|_| self.has_found())
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}
