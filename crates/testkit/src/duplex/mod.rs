//! Requests of every protocol whose two directions the test controls: on the client's side by [`Client`], on the backend's
//! by [`Origin`]. A test that has both ends of an exchange decides the order of all its events.

mod client;
mod coding;
mod head;
mod http1;
mod http2;
mod origin;
mod reset;
mod stream;
mod tunnel;

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::client::{Ask, Client, Protocol};
pub use self::head::Head;
pub use self::origin::{Origin, Served};
pub use self::stream::Stream;
pub use self::tunnel::Tunnel;

/// A connection, with or without TLS.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

type Socket = Box<dyn Io>;
