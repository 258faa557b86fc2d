//! Events for the worker, in order per request. No event follows the end of a request, its failure, or a reset by the
//! caller.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use spooky_bridge::message::{Fields, Protocol, ResponseHead};

use crate::{failure::Failure, handle::BackendId};

/// One event. `tag` is the number given to [`crate::Transport::request`].
#[derive(Debug)]
pub enum Event {
    /// A request that was waiting has been sent on a connection and can take body bytes.
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
        /// The HTTP version of the connection.
        protocol: Protocol,
        /// The interim head.
        head: ResponseHead,
    },
    /// The head of the final response.
    Head {
        /// The request.
        tag: u64,
        /// The HTTP version of the connection.
        protocol: Protocol,
        /// The head.
        head: ResponseHead,
        /// True if the response ends here.
        end: bool,
    },
    /// A part of the response body. The caller returns its length with [`crate::Transport::release`] once it is consumed.
    Data {
        /// The request.
        tag: u64,
        /// The bytes; empty only together with `end`.
        data: Bytes,
        /// True if the response ends here.
        end: bool,
    },
    /// The trailers; the response is complete.
    Trailers {
        /// The request.
        tag: u64,
        /// The fields.
        fields: Fields,
    },
    /// The request can take body bytes again, after [`crate::Transport::send_data`] left some or
    /// [`crate::Transport::want_send`] returned 0.
    Sendable {
        /// The request.
        tag: u64,
    },
    /// The request has ended without a complete response.
    Failed {
        /// The request.
        tag: u64,
        /// The cause.
        failure: Failure,
    },
    /// No connection to this backend can be made. Reported once until [`Event::BackendUp`].
    BackendDown {
        /// The backend.
        backend: BackendId,
        /// The cause, for a log line.
        reason: Rc<str>,
    },
    /// A backend that was down is connected again.
    BackendUp {
        /// The backend.
        backend: BackendId,
    },
}
