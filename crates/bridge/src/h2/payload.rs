//! A DATA frame whose bytes are coming in.

use super::StreamId;

/// The rest of a DATA frame.
#[derive(Debug)]
pub(super) struct Payload {
    /// The stream, `None` if the bytes are of no use to anyone.
    pub(super) stream: Option<StreamId>,
    /// Bytes of body still to come.
    pub(super) left: usize,
    /// Bytes of padding after them.
    pub(super) padding: usize,
    /// The body ends with this frame.
    pub(super) end: bool,
}
