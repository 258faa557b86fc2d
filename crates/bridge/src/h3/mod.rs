//! HTTP/3 server side (RFC 9114): request streams and unidirectional streams, both directions, without I/O.
//!
//! The session of `edge` passes received stream bytes and sends what is encoded here. There is one [`RecvStream`] for
//! each request and one [`Connection`] for each QUIC connection, independent of each other.

mod code;
mod connection;
mod encode;
pub(crate) mod frame;
mod settings;
mod stream;

pub use code::{Code, Error, ErrorScope};
pub use connection::{Connection, MAX_SETTINGS_BYTES, MAX_UNI_STREAMS, UniEvent};
pub use encode::{encode_data_header, encode_response, encode_trailers};
pub use settings::{PeerSettings, Settings};
pub use stream::{FrameCounts, Received, RecvStream, SECTION_FACTOR, SECTION_OVERHEAD};
