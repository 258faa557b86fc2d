//! Handles of backends, connections and requests. One that is kept after its entry is removed finds nothing.

use spooky_table::Handle;

/// Refers to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(pub(crate) Handle);

/// Refers to a running request. Calls with the handle of an ended request do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHandle(pub(crate) Handle);

impl RequestHandle {
    /// The tag that a protocol's state machine carries for this request.
    pub fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Reverses [`RequestHandle::to_bits`]. A handle that the transport has not given out finds nothing.
    pub fn from_bits(wire: u64) -> Self {
        Self(Handle::from_bits(wire))
    }
}

/// Refers to a connection, or to the attempt to make it.
pub(crate) type SlotKey = Handle;
