//! Connection ids that contain the number of the worker, so that the kernel can steer packets to its socket, and the
//! number of the process, so that the successor of a process can pass packets on to it.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, RandomConnectionIdGenerator};
use spooky_net::steer::ProcessNumber;
use spooky_telemetry::metrics::IngressSeries;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Length of issued connection ids: the steering byte, four random bits and the process number, six random bytes.
pub(crate) const CID_LEN: usize = 8;

/// The first id of a connection, which quinn-proto generates while it accepts the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstCid(Arc<First>);

/// Only one thread uses it, so loads and stores cannot interleave; quinn-proto's types must be `Sync`.
#[derive(Debug, Default)]
struct First {
    is_expected: AtomicBool,
    id: AtomicU64,
}

impl FirstCid {
    /// Takes the next id that is generated for the first one of a connection.
    pub(crate) fn expect(&self) {
        self.0.is_expected.store(true, Relaxed);
        self.0.id.store(0, Relaxed);
    }

    /// Takes the id, as a number; 0 if none was generated since [`FirstCid::expect`].
    pub(crate) fn take(&self) -> u64 {
        self.0.is_expected.store(false, Relaxed);
        self.0.id.swap(0, Relaxed)
    }

    /// Returns whether it is the first one of a connection.
    fn note(&self, id: [u8; CID_LEN]) -> bool {
        let is_expected = self.0.is_expected.load(Relaxed);
        if is_expected {
            self.0.is_expected.store(false, Relaxed);
            self.0.id.store(u64::from_le_bytes(id), Relaxed);
        }
        is_expected
    }
}

/// Generates the connection ids of one worker: the first byte modulo the number of workers is the worker's number, the low
/// bits of the second byte are the number of the process ([`ProcessNumber`]).
pub(crate) struct WorkerCids {
    worker: u16,
    workers: u16,
    process: ProcessNumber,
    random: RandomConnectionIdGenerator,
    first: FirstCid,
    counts: Arc<IngressSeries>,
}

impl WorkerCids {
    pub(crate) fn new(
        worker: u16,
        workers: u16,
        process: ProcessNumber,
        first: FirstCid,
        counts: Arc<IngressSeries>,
    ) -> Self {
        let random = RandomConnectionIdGenerator::new(CID_LEN);
        Self { worker, workers: workers.max(1), process, random, first, counts }
    }
}

impl ConnectionIdGenerator for WorkerCids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CID_LEN];
        let random = self.random.generate_cid();
        for (to, from) in bytes.iter_mut().zip(random.iter()) {
            *to = *from;
        }
        let [first, second, ..] = &mut bytes;
        *first = steering_byte(*first, self.worker, self.workers);
        *second = self.process.mark(*second);
        if !self.first.note(bytes) {
            self.counts.id_rotations.increment();
        }
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Returns a byte near `random` that steers to `worker`.
fn steering_byte(random: u8, worker: u16, workers: u16) -> u8 {
    let (random, rounds) = (u16::from(random), 256 / workers.min(256));
    let round = (random / workers).min(rounds - 1);
    u8::try_from(round * workers + worker % workers).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_steers_to_its_worker() {
        for workers in 1..=64 {
            for worker in 0..workers {
                for random in 0..=255 {
                    assert_eq!(u16::from(steering_byte(random, worker, workers)) % workers, worker);
                }
                let process = ProcessNumber::new(worker as u8);
                let id = WorkerCids::new(worker, workers, process, FirstCid::default(), Arc::default()).generate_cid();
                assert_eq!(u16::from(id[0]) % workers, worker);
                assert_eq!(ProcessNumber::of_id(&id), Some(process));
            }
        }
    }

    #[test]
    fn the_first_id_of_a_connection_is_remembered_and_the_others_are_counted() {
        let (first, counts) = (FirstCid::default(), Arc::new(IngressSeries::default()));
        let mut cids = WorkerCids::new(0, 1, ProcessNumber::default(), first.clone(), counts.clone());
        let number = |id: ConnectionId| u64::from_le_bytes(id[..].try_into().unwrap());
        cids.generate_cid();
        first.expect();
        let (one, _, _) = (cids.generate_cid(), cids.generate_cid(), cids.generate_cid());
        assert_eq!((first.take(), first.take()), (number(one), 0));
        assert_eq!(counts.id_rotations.get(), 3);
        cids.generate_cid();
        first.expect();
        assert_eq!((first.take(), counts.id_rotations.get()), (0, 4), "no id was generated");
    }

    #[test]
    fn an_id_keeps_all_the_randomness_that_steering_leaves() {
        for workers in [1, 3, 4, 64, 200, 256] {
            let bytes: std::collections::BTreeSet<u8> =
                (0..=255).map(|random| steering_byte(random, workers / 2, workers)).collect();
            assert_eq!(bytes.len(), usize::from(256 / workers), "{workers} workers");
        }
    }
}
