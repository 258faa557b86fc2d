//! Events between their causes and the owner. Made by connections and `transport`, told by it.

use std::time::Duration;

use bytes::Bytes;
use spooky_bridge::message::{Fields, Protocol, ResponseHead};

use crate::{
    event::Event,
    failure::{FailureKind, Processed},
    handle::RequestHandle,
};

/// An event on its way to the owner, who may end the request before it gets there.
pub(crate) enum Queued {
    /// An interim response has arrived.
    Informational { handle: RequestHandle, protocol: Protocol, head: ResponseHead },
    /// The head of the response has arrived.
    Head { handle: RequestHandle, protocol: Protocol, head: ResponseHead, end: bool },
    /// A part of the body has arrived.
    Data { handle: RequestHandle, data: Bytes, end: bool },
    /// The trailers have arrived; the response is complete.
    Trailers { handle: RequestHandle, fields: Fields },
    /// The request may take body bytes again.
    Sendable { handle: RequestHandle },
    /// A request left the queue of its origin.
    Sent { handle: RequestHandle, waited: Duration },
    /// A request is lost.
    Failed { handle: RequestHandle, kind: FailureKind, processed: Processed },
    /// Of a backend.
    Backend(Event),
}
