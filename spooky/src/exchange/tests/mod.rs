//! Tests of exchanges without sockets: both sides are `fake`.

mod aborts;
mod attempts;
mod bodies;
mod deadlines;
mod endings;
mod fake;
mod harness;
mod logs;
mod orders;
mod snapshots;
mod traces;
mod tunnels;
mod waiting;
