//! Every decision of Spooky: routing, balancing, health, admission, attempts, outcomes.
//!
//! Nothing here opens a socket, reads a clock or draws randomness of its own: time comes in as [`time::Nanos`], chance as
//! a seeded [`rng::Rng`]. The exchange (`spooky::exchange`) asks and acts; this crate decides and remembers. What workers
//! share ([`pool::Pool`]) is made of atomics, everything else belongs to one worker.
#![forbid(unsafe_code)]

pub mod admit;
pub mod attempt;
pub mod balance;
pub mod health;
pub mod outcome;
pub mod pool;
pub mod rng;
pub mod route;
pub mod time;
pub mod upstream;
