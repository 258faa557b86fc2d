//! The one place where the client side and the backend side meet.
//!
//! Every request of every client protocol becomes an `Exchange` here: routed, admitted, sent to a backend, answered, and
//! ended exactly once, in `end`. The worker calls [`Exchanges`] with the events of both sides; decisions are asked from `lb`.
//!
//! Imports go in one direction. `state` with `upload`, `attempt`, `download` and `time` is the state machine of one exchange;
//! it knows both sides only by the traits in `io`. `exchanges` with `end`, `dispatch`, `start` and `events` is the table
//! around it, with the queue, the deadlines and the counts.

mod attempt;
mod body;
mod clock;
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
mod replay;
mod response;
mod shares;
mod start;
mod state;
mod tag;
mod time;
mod upload;
mod waiting;
mod worker_io;

pub(crate) use clock::Clock;
pub(crate) use exchanges::Exchanges;
pub(crate) use outcome::RequestCounts;
pub(crate) use worker_io::WorkerIo;

#[cfg(test)]
mod tests;
