//! Events between their causes and the owner. Made by connections and `transport`, told by it.

use std::time::Duration;

use spooky_bridge::h2;

use crate::{
    event::Event,
    failure::{FailureKind, Processed},
    handle::RequestHandle,
};

/// An event on its way to the owner, who may end the request before it gets there.
pub(crate) enum Queued {
    /// Of a stream; its tag is a [`RequestHandle`].
    Stream(h2::Event),
    /// A request left the queue of its origin.
    Sent { handle: RequestHandle, waited: Duration },
    /// A request is lost.
    Failed { handle: RequestHandle, kind: FailureKind, processed: Processed },
    /// Of a backend.
    Backend(Event),
}
