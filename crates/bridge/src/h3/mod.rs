//! HTTP/3 as a server speaks it (RFC 9114): what request streams and unidirectional streams carry, both directions.
//!
//! Sans-io: the session in `edge` gives chunks of stream bytes and sends what is encoded here. One [`RecvStream`] per
//! request, one [`Connection`] per QUIC connection; neither knows the other.

mod code;
mod connection;
mod encode;
mod flood;
pub(crate) mod frame;
mod settings;
mod stream;

pub use code::{Code, Error, Scope};
pub use connection::{Connection, MAX_SETTINGS_BYTES, MAX_UNI_STREAMS, UniEvent};
pub use encode::{encode_data_header, encode_response, encode_trailers};
pub use settings::{PeerSettings, Settings};
pub use stream::{FrameCounts, Received, RecvStream, SECTION_FACTOR, SECTION_OVERHEAD};
