//! The blocks of the file. All keys are declared here.

pub(crate) mod balancing;
pub(crate) mod config;
pub(crate) mod listen;
pub(crate) mod log;
pub(crate) mod observability;
pub(crate) mod order;
pub(crate) mod performance;
pub(crate) mod protocol;
pub(crate) mod resilience;
pub(crate) mod security;
pub(crate) mod tls;
pub(crate) mod upstream;

#[cfg(test)]
mod tests;
