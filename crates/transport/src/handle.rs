//! Handles of backends, connections and requests. A handle of a removed entry finds nothing.

use spooky_table::Handle;

/// Refers to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(pub(crate) Handle);

/// Refers to an active request. Calls with the handle of an ended request do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHandle(pub(crate) Handle);

impl RequestHandle {
    /// Returns the tag under which a protocol's state machine knows this request.
    pub fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Reverses [`RequestHandle::to_bits`].
    pub fn from_bits(wire: u64) -> Self {
        Self(Handle::from_bits(wire))
    }
}

/// Refers to a connection, or to the attempt to establish it.
pub(crate) type SlotKey = Handle;
