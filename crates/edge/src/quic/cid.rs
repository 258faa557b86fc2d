//! Connection ids that say which worker owns the connection, so that the kernel can steer packets to its socket.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, RandomConnectionIdGenerator};
use std::time::Duration;

/// Length of our connection ids: one steering byte and seven random ones.
pub(crate) const CID_LEN: usize = 8;

/// Makes connection ids of one worker: the first byte is congruent to the worker's number modulo the number of workers.
pub(crate) struct WorkerCids {
    worker: u16,
    workers: u16,
    random: RandomConnectionIdGenerator,
}

impl WorkerCids {
    pub(crate) fn new(worker: u16, workers: u16) -> Self {
        Self { worker, workers: workers.max(1), random: RandomConnectionIdGenerator::new(CID_LEN) }
    }
}

impl ConnectionIdGenerator for WorkerCids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CID_LEN];
        let random = self.random.generate_cid();
        for (to, from) in bytes.iter_mut().zip(random.iter()) {
            *to = *from;
        }
        if let Some(first) = bytes.first_mut() {
            *first = steering_byte(*first, self.worker, self.workers);
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

/// The byte nearest below `random` (or the first above zero) that steers to `worker`.
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
                let id = WorkerCids::new(worker, workers).generate_cid();
                assert_eq!(u16::from(id[0]) % workers, worker);
            }
        }
    }
}
