//! Buffers the head and the first body bytes of the current response, so that they become one write.
//!
//! The whole edge has one buffer: a backend's events are handled stream by stream, so the stream rarely changes.

use crate::event::StreamRef;

/// Body chunks up to this size are copied behind the head; larger ones are passed on without a copy.
pub(crate) const COPY_LIMIT: usize = 1024;

#[derive(Default)]
pub(crate) struct Staging {
    stream: Option<StreamRef>,
    bytes: Vec<u8>,
}

impl Staging {
    pub(crate) fn is_of(&self, stream: StreamRef) -> bool {
        self.stream == Some(stream)
    }

    pub(crate) fn stream(&self) -> Option<StreamRef> {
        self.stream
    }

    /// Returns the buffer, which now belongs to this stream.
    pub(crate) fn open(&mut self, stream: StreamRef) -> &mut Vec<u8> {
        self.stream = Some(stream);
        &mut self.bytes
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.stream = None;
        self.bytes.clear();
    }
}
