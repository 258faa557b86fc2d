//! What the transport of one worker counts of connections to backends.

use super::counter::Counter;
use std::sync::Arc;

/// Counts of one transport.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct TransportSeries {
    /// Connection attempts begun.
    pub connects: Counter,
    /// Connections that were replaced because the name of their backend no longer has their address.
    pub rotations: Counter,
}

/// Labels of the protocols of connections to backends.
pub const BACKEND_PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
/// Labels of the states of these connections: without a request, and with one.
pub const CONNECTION_STATES: [&str; 2] = ["idle", "active"];

/// Numbers of connections by [`BACKEND_PROTOCOLS`] and [`CONNECTION_STATES`].
pub type ConnectionNumbers = [[u64; 2]; 2];

/// The open connections of one transport to one backend.
#[derive(Debug, Default)]
pub struct ConnectionGauge([[Counter; 2]; 2]);

impl ConnectionGauge {
    /// Returns the number of connections of a protocol in a state.
    pub fn get(&self, protocol: usize, state: usize) -> u64 {
        self.0.get(protocol).and_then(|states| states.get(state)).map_or(0, Counter::get)
    }

    fn change(&self, before: &ConnectionNumbers, after: &ConnectionNumbers) {
        let pairs = before.iter().flatten().zip(after.iter().flatten());
        for (count, (before, after)) in self.0.iter().flatten().zip(pairs) {
            count.add(after.wrapping_sub(*before));
        }
    }
}

/// The connections of one origin, counted for every backend that uses it, until this is dropped.
#[derive(Debug, Default)]
pub struct OriginGauge {
    numbers: ConnectionNumbers,
    /// With the number of times that each was added: during a reload a backend is there twice.
    backends: Vec<(Arc<ConnectionGauge>, usize)>,
}

impl OriginGauge {
    /// Counts the connections for one more backend.
    pub fn add(&mut self, backend: &Arc<ConnectionGauge>) {
        if let Some((_, times)) = self.backends.iter_mut().find(|(other, _)| Arc::ptr_eq(other, backend)) {
            *times += 1;
            return;
        }
        backend.change(&ConnectionNumbers::default(), &self.numbers);
        self.backends.push((backend.clone(), 1));
    }

    /// Counts the connections no longer for a backend that was added.
    pub fn remove(&mut self, backend: &Arc<ConnectionGauge>) {
        let Some(at) = self.backends.iter().position(|(other, _)| Arc::ptr_eq(other, backend)) else { return };
        let Some((_, times)) = self.backends.get_mut(at) else { return };
        *times -= 1;
        if *times == 0 {
            self.backends.swap_remove(at);
            backend.change(&self.numbers, &ConnectionNumbers::default());
        }
    }

    /// Sets the numbers of connections.
    pub fn set(&mut self, numbers: ConnectionNumbers) {
        if numbers != self.numbers {
            self.backends.iter().for_each(|(backend, _)| backend.change(&self.numbers, &numbers));
            self.numbers = numbers;
        }
    }
}

impl Drop for OriginGauge {
    fn drop(&mut self) {
        self.set(ConnectionNumbers::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_counts_for_each_backend_once() {
        let [one, two] = [(); 2].map(|()| Arc::new(ConnectionGauge::default()));
        let numbers =
            |gauge: &ConnectionGauge| [[gauge.get(0, 0), gauge.get(0, 1)], [gauge.get(1, 0), gauge.get(1, 1)]];
        let (mut first, mut second) = (OriginGauge::default(), OriginGauge::default());
        first.add(&one);
        first.set([[1, 2], [0, 0]]);
        first.add(&two);
        first.add(&one);
        second.add(&two);
        second.set([[0, 0], [5, 1]]);
        assert_eq!((numbers(&one), numbers(&two)), ([[1, 2], [0, 0]], [[1, 2], [5, 1]]));
        first.remove(&one);
        first.set([[3, 0], [0, 0]]);
        assert_eq!((numbers(&one), numbers(&two)), ([[3, 0], [0, 0]], [[3, 0], [5, 1]]));
        first.remove(&one);
        drop(second);
        assert_eq!((numbers(&one), numbers(&two)), ([[0; 2]; 2], [[3, 0], [0, 0]]));
    }
}
