//! The state machine of an exchange and the table around it, without a socket: both sides are `fake`.

mod aborts;
mod attempts;
mod bodies;
mod deadlines;
mod endings;
mod fake;
mod orders;
mod snapshots;
mod tunnels;
mod waiting;
mod world;
