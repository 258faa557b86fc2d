//! Requests of all kinds that end at random times: in any order, no event follows an end and nothing is leaked.

use spooky_transport::Options;

use crate::{
    origin::{self, pattern},
    worker::Worker,
};

/// A small generator (xorshift); the seed is printed with a failure.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[tokio::test]
async fn random_ends_leave_nothing_behind() {
    let seed = std::env::var("TRANSPORT_SEED").map_or(0x5eed_0001, |text| text.parse().unwrap());
    println!("TRANSPORT_SEED={seed}");
    let mut random = Random(seed);
    let origin = origin::start(20, None).await;
    let mut worker = Worker::new(Options { max_waiting: 64, ..Options::default() });
    let backend = worker.backend(origin.addr);
    let total = 3000;
    let (mut next, mut running) = (0, Vec::new());
    worker
        .until("the end of all", |worker| {
            running.retain(|tag| !worker.answers[tag].is_over());
            if next == total {
                return running.is_empty();
            }
            while next < total && running.len() < 60 {
                match random.below(4) {
                    0 => worker.post(backend, "/up", next, pattern(random.below(200_000))),
                    1 => worker.get(backend, &format!("/down/{}", random.below(200_000)), next),
                    2 => worker.get(backend, "/trailers", next),
                    _ => worker.get(backend, "/small", next),
                }
                running.push(next);
                next += 1;
            }
            for _ in 0..random.below(4) {
                if running.is_empty() {
                    break;
                }
                let tag = running.swap_remove(random.below(running.len()));
                worker.cancel(tag);
            }
            false
        })
        .await;
    assert_eq!(worker.transport.running(), 0);
    assert!(worker.answers.values().all(|answer| answer.failure.is_none()));
    let counters = worker.transport.counters();
    assert_eq!((counters.connects, counters.connections_lost, counters.requests_failed), (2, 0, 0), "{counters:?}");
    worker.transport.drain();
    assert!(worker.transport.is_idle());
}
