//! Addresses of the names of backends.
//!
//! A [`NameTable`] is shared by the transports of all workers. A [`Resolver`], which runs on a thread of the control plane,
//! looks names up and again when their TTL ends, so that no worker waits for DNS. A transport reads an address set when it
//! opens a connection, and is woken when one changes.

mod counts;
mod family;
mod resolver;
mod schedule;
mod system;
mod table;

pub use counts::NameCounts;
pub use resolver::{NameEvent, Resolver};
pub use system::SystemFiles;
pub use table::NameTable;
pub(crate) use table::{Resolution, WatchedName};
