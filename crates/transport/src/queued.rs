//! Events that wait to be delivered. Queued by connections and by `transport`, delivered by `transport::events`.

use std::time::Duration;

use bytes::Bytes;
use spooky_bridge::message::{Fields, Protocol, ResponseHead};

use crate::{
    event::Event,
    failure::{FailureKind, Processed},
    handle::RequestHandle,
};

/// An event that has not been delivered. The caller may end its request first; the event is then dropped.
pub(crate) enum QueuedEvent {
    Informational {
        handle: RequestHandle,
        protocol: Protocol,
        head: ResponseHead,
    },
    Head {
        handle: RequestHandle,
        protocol: Protocol,
        head: ResponseHead,
        end: bool,
    },
    Data {
        handle: RequestHandle,
        data: Bytes,
        end: bool,
    },
    Trailers {
        handle: RequestHandle,
        fields: Fields,
    },
    Sendable {
        handle: RequestHandle,
    },
    Sent {
        handle: RequestHandle,
        waited: Duration,
    },
    Failed {
        handle: RequestHandle,
        kind: FailureKind,
        processed: Processed,
    },
    /// [`Event::BackendDown`] or [`Event::BackendUp`].
    Backend(Event),
}
