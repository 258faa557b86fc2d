//! A DATA frame whose payload is incomplete.

use super::StreamId;

#[derive(Debug)]
pub(super) struct Payload {
    /// The stream; `None` if the bytes are to be discarded.
    pub(super) stream: Option<StreamId>,
    /// Bytes of body not received yet.
    pub(super) left: usize,
    /// Bytes of padding not received yet.
    pub(super) padding: usize,
    /// The frame has `END_STREAM`.
    pub(super) end: bool,
}
