//! The protocol-neutral HTTP message.
//!
//! [`fields`] stores field sections, [`name`] lists the well-known names, [`head`] has the checked heads that the
//! exchange works on. The other modules check or change fields.

pub mod check;
pub mod fields;
pub mod forwarded;
pub mod head;
pub mod hop_by_hop;
pub mod local_reply;
pub mod name;
pub mod protocol;
pub mod request_id;
pub mod reserved;
pub mod reset_reason;
pub mod rewrite;
pub mod trace;

pub use fields::{Field, Fields, Name};
pub use head::{Method, RequestHead, ResponseHead, WEBSOCKET};
pub use name::Known;
pub use protocol::Protocol;
pub use reset_reason::ResetReason;
