//! Writes HTTP/2 frames, valid or not (RFC 9113 section 4.1).

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Mutex;

/// Frame types.
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// PRIORITY.
    pub const PRIORITY: u8 = 2;
    /// `RST_STREAM`.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// `PUSH_PROMISE`.
    pub const PUSH_PROMISE: u8 = 5;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// `WINDOW_UPDATE`.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub mod flag {
    /// No flag.
    pub const NONE: u8 = 0;
    /// ACK on SETTINGS and PING.
    pub const ACK: u8 = 1;
    /// `END_STREAM` on DATA and HEADERS.
    pub const END_STREAM: u8 = 1;
    /// `END_HEADERS` on HEADERS and CONTINUATION.
    pub const END_HEADERS: u8 = 4;
    /// PADDED.
    pub const PADDED: u8 = 8;
    /// PRIORITY.
    pub const PRIORITY: u8 = 0x20;
}

/// Setting identifiers.
pub mod setting {
    /// `HEADER_TABLE_SIZE`.
    pub const HEADER_TABLE_SIZE: u16 = 1;
    /// `ENABLE_PUSH`.
    pub const ENABLE_PUSH: u16 = 2;
    /// `MAX_CONCURRENT_STREAMS`.
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    /// `INITIAL_WINDOW_SIZE`.
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// `MAX_FRAME_SIZE`.
    pub const MAX_FRAME_SIZE: u16 = 5;
    /// `MAX_HEADER_LIST_SIZE`.
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// `ENABLE_CONNECT_PROTOCOL`.
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// The write half of a connection. Clones share it.
#[derive(Debug, Clone)]
pub struct FrameWriter(Arc<Mutex<OwnedWriteHalf>>);

impl FrameWriter {
    pub(super) fn new(half: OwnedWriteHalf) -> Self {
        Self(Arc::new(Mutex::new(half)))
    }

    /// Writes bytes. Returns false if the connection is closed.
    pub async fn bytes(&self, bytes: &[u8]) -> bool {
        self.0.lock().await.write_all(bytes).await.is_ok()
    }

    /// Writes a frame with the correct length. Returns false if the connection is closed.
    pub async fn frame(&self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.bytes(&frame(kind, flags, stream, payload)).await
    }

    /// Closes the write half (TCP FIN).
    pub async fn close(&self) {
        let _ = self.0.lock().await.shutdown().await;
    }
}

/// Returns a frame with the correct length.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(9 + payload.len());
    let len = u32::try_from(payload.len()).expect("a payload that fits");
    out.put_uint(u64::from(len), 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
    out.extend_from_slice(payload);
    out.freeze()
}

/// Returns the payload of SETTINGS.
pub fn settings(pairs: &[(u16, u32)]) -> Bytes {
    let mut out = BytesMut::new();
    for (id, value) in pairs {
        out.put_u16(*id);
        out.put_u32(*value);
    }
    out.freeze()
}

/// Returns the payload of GOAWAY.
pub fn goaway(last_stream: u32, code: u32) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(last_stream);
    out.put_u32(code);
    out.freeze()
}

/// Encodes fields as literals without indexing and without Huffman (RFC 7541 section 6.2.2). Does not validate them.
pub fn block(fields: &[(String, String)]) -> Bytes {
    let mut out = BytesMut::new();
    for (name, value) in fields {
        out.put_u8(0);
        put_string(&mut out, name);
        put_string(&mut out, value);
    }
    out.freeze()
}

fn put_string(out: &mut BytesMut, text: &str) {
    match text.len() {
        short @ 0..127 => out.put_u8(short as u8),
        long => {
            out.put_u8(127);
            let mut rest = long - 127;
            while rest >= 0x80 {
                out.put_u8(rest as u8 | 0x80);
                rest >>= 7;
            }
            out.put_u8(rest as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
}
