//! Bounded list of destinations for which the kernel refuses GSO.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

/// Maximum number of destinations. The oldest is removed first, which costs one failed system call if it is used again.
const MAX_REFUSED: usize = 1024;
/// Maximum segments of a burst. Kernels before 6.7 accept no more.
const MAX_SEGMENTS: usize = 64;
/// Largest payload of a burst: 65 535 minus IPv4 and UDP headers, and for IPv6 minus its header too, which newer
/// kernels do not count.
const MAX_BYTES_V4: usize = 65_507;
const MAX_BYTES_V6: usize = 65_487;

#[derive(Clone, Debug)]
pub(super) struct Gso {
    supported: bool,
    refused: HashSet<IpAddr>,
    order: VecDeque<IpAddr>,
}

impl Gso {
    pub(super) fn new(supported: bool) -> Self {
        Self { supported, refused: HashSet::new(), order: VecDeque::new() }
    }

    /// Returns whether bursts to `destination` may be sent as one message.
    pub(super) fn is_usable(&self, destination: IpAddr) -> bool {
        self.supported && (self.refused.is_empty() || !self.refused.contains(&destination))
    }

    /// Returns the maximum number of segments of `segment_size` bytes in a burst to `destination`, at least 1.
    pub(super) fn max_segments(&self, destination: IpAddr, segment_size: usize) -> usize {
        if !self.is_usable(destination) {
            return 1;
        }
        max_segments(destination, segment_size)
    }

    /// Notes that GSO failed where single datagrams succeeded. Returns whether that is new.
    pub(super) fn refuse(&mut self, destination: IpAddr) -> bool {
        if !self.refused.insert(destination) {
            return false;
        }
        self.order.push_back(destination);
        if self.order.len() > MAX_REFUSED
            && let Some(oldest) = self.order.pop_front()
        {
            self.refused.remove(&oldest);
        }
        true
    }
}

/// Returns the maximum number of segments of `segment_size` bytes that the kernel accepts in a burst to `destination`,
/// at least 1.
pub(super) fn max_segments(destination: IpAddr, segment_size: usize) -> usize {
    let bytes = if destination.is_ipv4() { MAX_BYTES_V4 } else { MAX_BYTES_V6 };
    bytes.checked_div(segment_size).unwrap_or(1).clamp(1, MAX_SEGMENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_stay_below_the_limits_of_the_kernel() {
        let gso = Gso::new(true);
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!(gso.max_segments(v4, 1200), 54);
        assert_eq!(gso.max_segments(v6, 1452), 45);
        assert_eq!(gso.max_segments(v4, 100), MAX_SEGMENTS);
        assert_eq!(gso.max_segments(v4, 65_507), 1);
        assert_eq!(gso.max_segments(v4, 100_000), 1);
        assert_eq!(gso.max_segments(v4, 0), 1);
        assert_eq!(Gso::new(false).max_segments(v4, 1200), 1);
    }

    #[test]
    fn memory_of_refusals_is_bounded() {
        let mut gso = Gso::new(true);
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..=MAX_REFUSED as u32 {
            assert!(gso.refuse(ip(n)));
            assert!(!gso.refuse(ip(n)));
        }
        assert!(gso.is_usable(ip(0)), "the oldest was forgotten");
        assert!(!gso.is_usable(ip(1)));
        assert_eq!(gso.refused.len(), MAX_REFUSED);
        assert_eq!(gso.order.len(), MAX_REFUSED);
    }
}
