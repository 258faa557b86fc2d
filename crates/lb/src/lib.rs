//! The decisions of the proxy: routing, load balancing, health, admission, attempts, outcomes, the watchdog.
//!
//! Nothing here opens a socket, reads a clock or creates randomness: time is an argument ([`time::Nanos`]), random numbers
//! come from a seeded [`rng::Rng`]. The exchange (`spooky::exchange`) executes what this crate decides. State that workers
//! share, such as [`pool::Pool`], consists of atomics; everything else belongs to one worker.
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
pub mod watchdog;
