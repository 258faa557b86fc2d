//! The neutral message: what a request or a response is, whichever protocol carried it.
//!
//! [`fields`] owns the storage, [`name`] the vocabulary of well-known names, [`head`] the checked heads that the exchange
//! works on. The rules that change or judge fields live in their own files beside them.

pub mod check;
pub mod fields;
pub mod forwarded;
pub mod head;
pub mod hop;
pub mod local;
pub mod name;
pub mod protocol;
pub mod request_id;
pub mod reserved;
pub mod reset_reason;
pub mod rewrite;
pub mod trace;

pub use fields::{Field, Fields, Name};
pub use head::{Method, RequestHead, ResponseHead};
pub use name::Known;
pub use protocol::Protocol;
pub use reset_reason::ResetReason;
