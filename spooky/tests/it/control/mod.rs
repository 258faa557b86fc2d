//! The control API and the metrics endpoint of the real program.

mod access;
mod backends;
mod drain;
mod hostile;
mod limits;
mod load;
mod metrics;
mod native;
mod openapi;
mod page;
mod reload;
mod removed;
mod restart;
mod rig;
mod state;
