//! Events for the worker. Produced in order per request; nothing of a request follows after its end,
//! its failure, or a reset by this side.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use spooky_bridge::message::{Fields, Protocol, ResponseHead};

use crate::{failure::Failure, handle::BackendId};

/// One event. `tag` is the number given to [`crate::Transport::request`].
#[derive(Debug)]
pub enum Event {
    /// A request that waited is now on a connection and may take body bytes.
    Sent {
        /// The request.
        tag: u64,
        /// How long it waited.
        waited: Duration,
    },
    /// An interim response (1xx).
    Informational {
        /// The request.
        tag: u64,
        /// What the backend speaks.
        protocol: Protocol,
        /// The interim head.
        head: ResponseHead,
    },
    /// The head of the response.
    Head {
        /// The request.
        tag: u64,
        /// What the backend speaks.
        protocol: Protocol,
        /// The head.
        head: ResponseHead,
        /// The response is complete.
        end: bool,
    },
    /// A part of the response body; give its length back with [`crate::Transport::release`] when it is consumed.
    Data {
        /// The request.
        tag: u64,
        /// The bytes; empty only together with `end`.
        data: Bytes,
        /// The response is complete.
        end: bool,
    },
    /// The trailers; the response is complete.
    Trailers {
        /// The request.
        tag: u64,
        /// The fields.
        fields: Fields,
    },
    /// The request may take body bytes again after [`crate::Transport::send_data`] left some.
    Sendable {
        /// The request.
        tag: u64,
    },
    /// The request is over without a complete response.
    Failed {
        /// The request.
        tag: u64,
        /// What is known about it.
        failure: Failure,
    },
    /// No connection to this backend can be made. Told once until [`Event::BackendUp`].
    BackendDown {
        /// The backend.
        backend: BackendId,
        /// Why the attempt failed, for a log line.
        reason: Rc<str>,
    },
    /// A connection to a backend that was down stands again.
    BackendUp {
        /// The backend.
        backend: BackendId,
    },
}
