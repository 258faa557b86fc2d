//! Connection ids that contain the number of the worker, so that the kernel can steer packets to its socket, and the
//! number of the process, so that the successor of a process can pass packets on to it.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, RandomConnectionIdGenerator};
use spooky_net::steer::ProcessNumber;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Length of issued connection ids: the steering byte, four random bits and the process number, six random bytes.
pub(crate) const CID_LEN: usize = 8;

/// The first id that was generated since the last [`FirstCid::take`]; 0 if none was.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstCid(Arc<AtomicU64>);

impl FirstCid {
    /// Takes the id, as a number.
    pub(crate) fn take(&self) -> u64 {
        self.0.swap(0, Relaxed)
    }

    fn note(&self, id: [u8; CID_LEN]) {
        // Only the first since the last `take` counts. One thread uses it, so load and store cannot interleave.
        if self.0.load(Relaxed) == 0 {
            self.0.store(u64::from_le_bytes(id), Relaxed);
        }
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
}

impl WorkerCids {
    pub(crate) fn new(worker: u16, workers: u16, process: ProcessNumber, first: FirstCid) -> Self {
        Self { worker, workers: workers.max(1), process, random: RandomConnectionIdGenerator::new(CID_LEN), first }
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
        self.first.note(bytes);
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
                let id = WorkerCids::new(worker, workers, process, FirstCid::default()).generate_cid();
                assert_eq!(u16::from(id[0]) % workers, worker);
                assert_eq!(ProcessNumber::of_id(&id), Some(process));
            }
        }
    }

    #[test]
    fn the_first_id_since_the_last_look_is_remembered() {
        let first = FirstCid::default();
        let mut cids = WorkerCids::new(0, 1, ProcessNumber::default(), first.clone());
        let number = |id: ConnectionId| u64::from_le_bytes(id[..].try_into().unwrap());
        let (one, _, _) = (cids.generate_cid(), cids.generate_cid(), cids.generate_cid());
        assert_eq!((first.take(), first.take()), (number(one), 0));
        let other = cids.generate_cid();
        assert_eq!(first.take(), number(other));
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
