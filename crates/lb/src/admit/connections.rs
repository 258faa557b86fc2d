//! Limits of client connections, in total and by address, and of incomplete handshakes.
//!
//! Used once or twice per connection, never for a request, so the sharded table of addresses may use locks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::rate::{Bucket, RateOptions};
use crate::time::Nanos;

const SHARDS: usize = 16;
/// Network part of an IPv6 address. Hosts choose the rest themselves, so a network counts as one client.
const IPV6_NETWORK: u128 = !0 << 64;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// The token bucket is empty; the packet must be dropped without keeping state.
    Rate,
    /// `max_active_connections` is reached.
    Total,
    /// `max_connections_per_ip` is reached.
    Address,
    /// The client must first validate its address (RFC 9000 section 8.1.2).
    Unvalidated,
}

/// When a client must validate its address before its handshake begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressValidation {
    /// While at least this many handshakes are incomplete.
    FromHandshakes(u32),
    /// Always.
    Always,
    /// Never; `max_active_connections` then limits incomplete handshakes.
    #[default]
    Never,
}

/// The limits and counts, shared by all listeners and workers.
#[derive(Debug, Default)]
pub struct ConnectionLimits {
    active: AtomicU32,
    handshakes: AtomicU32,
    max_active: AtomicU32,
    max_per_ip: AtomicU32,
    /// Number of incomplete handshakes from which on addresses must be validated.
    validate_from: AtomicU32,
    per_second: AtomicU32,
    burst: AtomicU32,
    bucket: Bucket,
    by_ip: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
}

/// Counts one connection until dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    limits: Arc<ConnectionLimits>,
    counted: Option<IpAddr>,
}

/// Counts one incomplete handshake until dropped.
#[derive(Debug)]
pub struct HandshakeSlot(Arc<ConnectionLimits>);

/// Slots of a new connection.
#[derive(Debug)]
pub struct Opened {
    /// Must be dropped when the handshake is complete or has failed.
    pub handshake: HandshakeSlot,
    /// `None` if the address is not validated: [`ConnectionLimits::establish`] provides it later.
    pub connection: Option<ConnectionSlot>,
}

impl ConnectionLimits {
    /// Applies the limits, at start and on reload; `max_per_ip` 0 disables that limit.
    pub fn configure(&self, max_active: u32, max_per_ip: u32, rate: RateOptions, validation: AddressValidation) {
        self.max_active.store(max_active, Relaxed);
        self.max_per_ip.store(max_per_ip, Relaxed);
        let validate_from = match validation {
            // Handshakes must not use up a small limit before addresses are validated.
            AddressValidation::FromHandshakes(count) => count.min(max_active),
            AddressValidation::Always => 0,
            AddressValidation::Never => u32::MAX,
        };
        self.validate_from.store(validate_from, Relaxed);
        self.per_second.store(rate.per_second, Relaxed);
        self.burst.store(rate.burst, Relaxed);
    }

    /// Number of connections with a validated address.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Number of incomplete handshakes.
    pub fn handshakes(&self) -> u32 {
        self.handshakes.load(Relaxed)
    }

    /// Decides on the first packet of a connection from `ip`. `is_validated` says whether it carries a valid address token.
    ///
    /// Packets with a spoofed source must not use up the limits: without a token a connection counts only as a handshake,
    /// and a packet that is answered by Retry takes no token from the bucket.
    pub fn open(self: &Arc<Self>, ip: IpAddr, is_validated: bool, now: Nanos) -> Result<Opened, ConnectionRefusal> {
        if !is_validated && self.handshakes() >= self.validate_from.load(Relaxed) {
            return Err(ConnectionRefusal::Unvalidated);
        }
        let rate = RateOptions { per_second: self.per_second.load(Relaxed), burst: self.burst.load(Relaxed) };
        if !self.bucket.take(now, &rate) {
            return Err(ConnectionRefusal::Rate);
        }
        let connection = if is_validated { Some(self.establish(ip)?) } else { None };
        if !is_validated {
            self.check(ip)?;
        }
        self.handshakes.fetch_add(1, Relaxed);
        Ok(Opened { handshake: HandshakeSlot(Arc::clone(self)), connection })
    }

    /// Fails if the connection would be refused at the end of its handshake, or if there are `max_active` handshakes.
    fn check(&self, ip: IpAddr) -> Result<(), ConnectionRefusal> {
        let max_active = self.max_active.load(Relaxed);
        if self.active() >= max_active || self.handshakes() >= max_active {
            return Err(ConnectionRefusal::Total);
        }
        let max_per_ip = self.max_per_ip.load(Relaxed);
        let client = client(ip);
        if max_per_ip > 0 {
            let table = self.shard(client).lock().unwrap_or_else(PoisonError::into_inner);
            if table.get(&client).is_some_and(|count| *count >= max_per_ip) {
                return Err(ConnectionRefusal::Address);
            }
        }
        Ok(())
    }

    /// Counts a connection from `ip`, whose address is validated.
    pub fn establish(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionSlot, ConnectionRefusal> {
        if self.active.fetch_add(1, Relaxed) >= self.max_active.load(Relaxed) {
            self.active.fetch_sub(1, Relaxed);
            return Err(ConnectionRefusal::Total);
        }
        let mut slot = ConnectionSlot { limits: Arc::clone(self), counted: None };
        let max_per_ip = self.max_per_ip.load(Relaxed);
        if max_per_ip > 0 {
            let client = client(ip);
            let mut table = self.shard(client).lock().unwrap_or_else(PoisonError::into_inner);
            let count = table.entry(client).or_default();
            if *count >= max_per_ip {
                return Err(ConnectionRefusal::Address);
            }
            *count += 1;
            slot.counted = Some(client);
        }
        Ok(slot)
    }

    fn shard(&self, ip: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        let [first, rest @ ..] = &self.by_ip;
        let at = crate::balance::key::hash_ip(ip) as usize % SHARDS;
        at.checked_sub(1).and_then(|at| rest.get(at)).unwrap_or(first)
    }
}

/// Returns the key under which `ip` is counted: an IPv4 address, or the /64 network of an IPv6 address.
fn client(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & IPV6_NETWORK)),
        ip @ IpAddr::V4(_) => ip,
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Relaxed);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.limits.active.fetch_sub(1, Relaxed);
        let Some(ip) = self.counted else { return };
        let mut table = self.limits.shard(ip).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                table.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos::from_millis(1);

    fn limits(max_active: u32, max_per_ip: u32, validation: AddressValidation) -> Arc<ConnectionLimits> {
        let limits = Arc::new(ConnectionLimits::default());
        limits.configure(max_active, max_per_ip, RateOptions::default(), validation);
        limits
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn assert_empty(limits: &ConnectionLimits) {
        assert_eq!((limits.active(), limits.handshakes()), (0, 0));
        assert!(limits.by_ip.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn places_are_counted_by_process_and_address_and_return() {
        let limits = limits(4, 2, AddressValidation::Never);
        let [a, b] = [ip("10.0.0.1"), ip("::2")];
        let one = limits.establish(a).unwrap();
        let two = limits.establish(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(limits.establish(a).unwrap_err(), ConnectionRefusal::Address);
        assert_eq!(limits.open(a, false, NOW).unwrap_err(), ConnectionRefusal::Address, "told at once");
        assert_eq!(limits.active(), 2);
        let three = limits.establish(b).unwrap();
        let four = limits.establish(b).unwrap();
        assert_eq!(limits.establish(ip("10.0.0.9")).unwrap_err(), ConnectionRefusal::Total);
        assert_eq!(limits.open(ip("10.0.0.9"), false, NOW).unwrap_err(), ConnectionRefusal::Total);
        drop((one, four));
        let again = limits.open(a, true, NOW).unwrap();
        assert_eq!((limits.active(), limits.handshakes()), (3, 1));
        drop((two, three, again));
        assert_empty(&limits);
    }

    #[test]
    fn an_ipv6_network_counts_as_one_client() {
        let limits = limits(100, 2, AddressValidation::Never);
        let one = limits.establish(ip("2001:db8:0:7::1")).unwrap();
        let two = limits.establish(ip("2001:db8:0:7:ffff::2")).unwrap();
        assert_eq!(limits.establish(ip("2001:db8:0:7:8000::")).unwrap_err(), ConnectionRefusal::Address);
        let neighbour = limits.establish(ip("2001:db8:0:8::1")).unwrap();
        let v4 = [limits.establish(ip("10.0.0.1")).unwrap(), limits.establish(ip("10.0.0.2")).unwrap()];
        drop((one, two, neighbour, v4));
        assert_empty(&limits);
    }

    #[test]
    fn a_client_that_proves_its_address_is_not_kept_out_by_handshakes() {
        let limits = limits(2, 0, AddressValidation::FromHandshakes(256));
        let spoofed: Vec<_> = (0..2).map(|_| limits.open(ip("10.0.0.1"), false, NOW).unwrap()).collect();
        assert_eq!(limits.open(ip("10.0.0.2"), false, NOW).unwrap_err(), ConnectionRefusal::Unvalidated);
        let proven = limits.open(ip("10.0.0.2"), true, NOW).unwrap();
        assert_eq!((limits.active(), limits.handshakes()), (1, 3));
        drop((spoofed, proven));
        assert_empty(&limits);
    }

    #[test]
    fn handshakes_of_unvalidated_addresses_hold_no_places() {
        let limits = limits(3, 1, AddressValidation::FromHandshakes(2));
        let client = ip("10.0.0.1");
        let spoofed: Vec<_> = (0..2).map(|_| limits.open(client, false, NOW).unwrap()).collect();
        assert_eq!((limits.active(), limits.handshakes()), (0, 2));
        assert_eq!(limits.open(client, false, NOW).unwrap_err(), ConnectionRefusal::Unvalidated);
        let proven = limits.open(client, true, NOW).unwrap();
        assert!(proven.connection.is_some());
        assert_eq!(limits.open(client, true, NOW).unwrap_err(), ConnectionRefusal::Address);
        drop(spoofed);
        let other = limits.open(ip("10.0.0.2"), false, NOW).unwrap();
        let slot = limits.establish(ip("10.0.0.2")).unwrap();
        drop((proven, other, slot));
        assert_empty(&limits);
    }

    #[test]
    fn an_address_is_always_or_never_validated_first() {
        let client = ip("10.0.0.1");
        let always = limits(10, 0, AddressValidation::Always);
        assert_eq!(always.open(client, false, NOW).unwrap_err(), ConnectionRefusal::Unvalidated);
        let proven = always.open(client, true, NOW).unwrap();
        drop(proven);
        assert_empty(&always);
        let never = limits(10, 0, AddressValidation::Never);
        let handshakes: Vec<_> = (0..10).map(|_| never.open(client, false, NOW).unwrap()).collect();
        assert_eq!(never.open(client, false, NOW).unwrap_err(), ConnectionRefusal::Total, "bounded all the same");
        drop(handshakes);
        assert_empty(&never);
    }

    #[test]
    fn an_empty_bucket_refuses_before_anything_is_counted_and_retry_takes_no_token() {
        let limits = Arc::new(ConnectionLimits::default());
        let rate = RateOptions { per_second: 1, burst: 1 };
        limits.configure(100, 0, rate, AddressValidation::Always);
        let client = ip("10.0.0.1");
        for _ in 0..10 {
            assert_eq!(limits.open(client, false, NOW).unwrap_err(), ConnectionRefusal::Unvalidated);
        }
        let opened = limits.open(client, true, NOW).unwrap();
        assert_eq!(limits.open(client, true, NOW).unwrap_err(), ConnectionRefusal::Rate);
        drop(opened);
        assert_empty(&limits);
    }
}
