//! Request smuggling on the wire: requests that two implementations could read differently are sent to the program, and the
//! bytes that its origin has recorded prove that nothing extra arrived.
//!
//! After each anomaly an ordinary request follows on a new connection, and on the same one where the protocol permits it. The
//! origin must have received these and at most the anomaly itself, each in the one form that [`request`] reads.

mod http1;
mod http1_bodies;
mod http1_heads;
mod http1_rows;
mod origin;
mod request;
mod rig;
mod stream_heads;
mod stream_rows;
mod streams;
