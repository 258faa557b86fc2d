//! Connects the client side and the backend side.
//!
//! Every request of every client protocol becomes an `Exchange`: it is routed, admitted, sent to a backend, answered, and
//! ended exactly once, in `end`. The worker passes the events of both sides to [`Exchanges`]; `lb` makes the decisions.
//!
//! `state` with `upload`, `attempt`, `download` and `time` is the state machine of one exchange; it uses both sides only
//! through the traits in `io`. `exchanges` with `end`, `dispatch`, `start` and `events` is the table of all exchanges, with
//! the queue, the timers and the counters.

mod attempt;
mod body;
mod count;
mod decision;
mod dispatch;
mod download;
mod end;
mod events;
mod exchanges;
mod failure;
mod io;
mod local;
mod log;
mod outcome;
mod record;
mod replay;
mod report;
mod response;
mod shares;
mod spans;
mod start;
mod state;
mod tag;
mod time;
mod timeline;
mod trace;
mod upload;
mod waiting;
mod worker_io;

pub(crate) use exchanges::Exchanges;
pub(crate) use failure::kind_of;
pub(crate) use outcome::RequestCounts;
pub(crate) use worker_io::WorkerIo;

#[cfg(test)]
mod tests;
