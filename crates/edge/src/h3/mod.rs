//! HTTP/3 on one QUIC connection: the session with its control streams, and the request streams.

mod dispatch;
mod request;
mod reset;
mod response;
mod session;
mod staging;
mod stream;
mod unread;
mod untyped;

pub(crate) use session::{ConnectionInfo, Session, SessionSettings};
pub(crate) use staging::Staging;
