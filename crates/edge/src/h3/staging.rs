//! The bytes of the response that is being written right now, so that its head and first body bytes become one write.
//!
//! One buffer serves the whole edge: events of an origin come stream by stream, so the stream rarely changes.

use crate::event::StreamRef;

/// Body chunks up to this size are copied behind the head; larger ones are passed on as slices.
pub(crate) const COPY_LIMIT: usize = 1024;

/// The staged bytes and whose they are.
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

    /// The buffer, from now on this stream's.
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
