//! The blocks of the file, one file each. Here a key is declared, and nowhere else.

pub mod balancing;
pub mod config;
pub mod listen;
pub mod log;
pub mod observability;
pub mod performance;
pub mod protocol;
pub mod resilience;
pub mod security;
pub mod tls;
pub mod upstream;
