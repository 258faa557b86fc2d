//! Caps on client connections, in the process and by address (config 9.1).
//!
//! Asked once per new connection, never on the request path: the table of addresses may take a lock, split over shards.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::rate::{Bucket, RateOptions};
use crate::time::Nanos;

/// Independent parts of the table of addresses.
const SHARDS: usize = 16;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token bucket is empty: drop the packet, make no state.
    Rate,
    /// `max_active_connections` is reached.
    Total,
    /// `max_connections_per_ip` is reached.
    Address,
}

/// The caps, shared by all listeners and workers.
#[derive(Debug, Default)]
pub struct ConnectionLimits {
    active: AtomicU32,
    max_active: AtomicU32,
    max_per_ip: AtomicU32,
    per_second: AtomicU32,
    burst: AtomicU32,
    bucket: Bucket,
    by_ip: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
}

/// One connection's place under the caps; returns by drop.
#[derive(Debug)]
pub struct ConnectionSlot {
    limits: Arc<ConnectionLimits>,
    counted: Option<IpAddr>,
}

impl ConnectionLimits {
    /// Takes the caps in, at start and on reload; `max_per_ip` 0 is no cap.
    pub fn configure(&self, max_active: u32, max_per_ip: u32, rate: RateOptions) {
        self.max_active.store(max_active, Relaxed);
        self.max_per_ip.store(max_per_ip, Relaxed);
        self.per_second.store(rate.per_second, Relaxed);
        self.burst.store(rate.burst, Relaxed);
    }

    /// Connections now.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// A place for a new connection from `ip`.
    pub fn open(self: &Arc<Self>, ip: IpAddr, now: Nanos) -> Result<ConnectionSlot, Refused> {
        let rate = RateOptions { per_second: self.per_second.load(Relaxed), burst: self.burst.load(Relaxed) };
        if !self.bucket.take(now, &rate) {
            return Err(Refused::Rate);
        }
        if self.active.fetch_add(1, Relaxed) >= self.max_active.load(Relaxed) {
            self.active.fetch_sub(1, Relaxed);
            return Err(Refused::Total);
        }
        let mut slot = ConnectionSlot { limits: Arc::clone(self), counted: None };
        let max_per_ip = self.max_per_ip.load(Relaxed);
        if max_per_ip > 0 {
            let ip = ip.to_canonical();
            let mut table = self.shard(ip).lock().unwrap_or_else(PoisonError::into_inner);
            let count = table.entry(ip).or_default();
            if *count >= max_per_ip {
                return Err(Refused::Address);
            }
            *count += 1;
            slot.counted = Some(ip);
        }
        Ok(slot)
    }

    fn shard(&self, ip: IpAddr) -> &Mutex<HashMap<IpAddr, u32>> {
        let [first, rest @ ..] = &self.by_ip;
        let at = crate::balance::key::hash_ip(ip) as usize % SHARDS;
        at.checked_sub(1).and_then(|at| rest.get(at)).unwrap_or(first)
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

    #[test]
    fn places_are_counted_by_process_and_address_and_return() {
        let limits = Arc::new(ConnectionLimits::default());
        limits.configure(4, 2, RateOptions::default());
        let now = Nanos::from_millis(1);
        let [a, b]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "::2".parse().unwrap()];
        let one = limits.open(a, now).unwrap();
        let two = limits.open("::ffff:10.0.0.1".parse().unwrap(), now).unwrap();
        assert_eq!(limits.open(a, now).unwrap_err(), Refused::Address);
        assert_eq!(limits.active(), 2);
        let three = limits.open(b, now).unwrap();
        let four = limits.open(b, now).unwrap();
        assert_eq!(limits.open("10.0.0.9".parse().unwrap(), now).unwrap_err(), Refused::Total);
        drop((one, four));
        let again = limits.open(a, now).unwrap();
        drop((two, three, again));
        assert_eq!(limits.active(), 0);
        assert!(limits.by_ip.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn an_empty_bucket_refuses_before_anything_is_counted() {
        let limits = Arc::new(ConnectionLimits::default());
        limits.configure(100, 0, RateOptions { per_second: 1, burst: 1 });
        let ip = "10.0.0.1".parse().unwrap();
        let slot = limits.open(ip, Nanos::from_millis(1)).unwrap();
        assert_eq!(limits.open(ip, Nanos::from_millis(1)).unwrap_err(), Refused::Rate);
        drop(slot);
        assert_eq!(limits.active(), 0);
    }
}
