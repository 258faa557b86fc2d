//! An independent HTTP/3 client: hyperium's `h3` on `quinn`.
//!
//! [`Connection`] follows the protocol. [`raw::Connection`] sends arbitrary bytes and reads frames, also those that `h3`
//! does not support (1xx).

mod connection;
mod exchange;
pub mod filler;
mod first;
pub mod frame;
pub mod qpack;
pub mod raw;
mod reply;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionId, Endpoint, TransportConfig};

pub use self::connection::{Connection, get};
pub use self::exchange::{Exchange, Failure, Reading, Sending};
pub use self::reply::Reply;
use crate::certs::Authority;
use crate::wait;

/// Default idle timeout of test connections.
const IDLE: Duration = Duration::from_secs(60);

/// A QUIC endpoint with its own socket on loopback.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    config: ClientConfig,
}

impl Client {
    /// Creates a client that trusts `authority`, with ALPN `h3` and the defaults of quinn.
    pub fn new(authority: &Authority) -> Self {
        Self::tuned(authority, |_| {})
    }

    /// As [`Client::new`], with changed transport parameters (small windows, stream limits, idle timeout).
    pub fn tuned(authority: &Authority, tune: impl FnOnce(&mut TransportConfig)) -> Self {
        Self::with_tls(authority.client_config(&[b"h3"]), tune)
    }

    /// As [`Client::new`], but pads all packets, with empty STREAM frames instead of PADDING.
    pub fn filling(authority: &Authority) -> Self {
        let tls = authority.client_config(&[b"h3"]);
        let crypto = QuicClientConfig::try_from(tls).expect("a TLS 1.3 configuration");
        Self::with_crypto(Arc::new(filler::Filler(Arc::new(crypto))), |transport| {
            transport.pad_to_mtu(true);
        })
    }

    /// As [`Client::tuned`], with another TLS configuration.
    pub fn with_tls(tls: rustls::ClientConfig, tune: impl FnOnce(&mut TransportConfig)) -> Self {
        let crypto = QuicClientConfig::try_from(tls).expect("a TLS 1.3 configuration");
        Self::with_crypto(Arc::new(crypto), tune)
    }

    fn with_crypto(crypto: Arc<dyn quinn::crypto::ClientConfig>, tune: impl FnOnce(&mut TransportConfig)) -> Self {
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(Some(IDLE.try_into().expect("a timeout that fits")));
        tune(&mut transport);
        let mut config = ClientConfig::new(crypto);
        config.transport_config(Arc::new(transport));
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("bind a client on loopback");
        endpoint.set_default_client_config(config.clone());
        Self { endpoint, config }
    }

    /// Makes new connections use initial destination connection ids that begin with this byte.
    #[must_use]
    pub fn choosing(mut self, byte: u8) -> Self {
        static CHOSEN: AtomicU64 = AtomicU64::new(0);
        self.config.initial_dst_cid_provider(Arc::new(move || {
            let number = CHOSEN.fetch_add(1, Ordering::Relaxed);
            ConnectionId::new(&((u64::from(byte) << 56) | number).to_be_bytes())
        }));
        self.endpoint.set_default_client_config(self.config.clone());
        self
    }

    /// Returns the local address.
    pub fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr().expect("address of a bound socket")
    }

    /// Opens a QUIC connection. Returns the error of a failed handshake.
    pub async fn dial(&self, addr: SocketAddr, server_name: &str) -> Result<quinn::Connection, quinn::ConnectionError> {
        let connecting = self.endpoint.connect(addr, server_name).expect("a valid server name");
        wait::within("the QUIC handshake", connecting).await
    }

    /// Opens an HTTP/3 connection.
    pub async fn connect(&self, addr: SocketAddr, server_name: &str) -> Connection {
        let quic = self.dial(addr, server_name).await.expect("QUIC handshake");
        Connection::new(quic).await
    }

    /// Opens a connection without sending anything, not even SETTINGS.
    pub async fn connect_raw(&self, addr: SocketAddr, server_name: &str) -> raw::Connection {
        raw::Connection::new(self.dial(addr, server_name).await.expect("QUIC handshake"))
    }

    /// Opens a connection that sends early data, without sending anything. The second value is whether the server has
    /// accepted that, once it is known. Returns `None` if no session permits early data.
    pub fn connect_early(
        &self,
        addr: SocketAddr,
        server_name: &str,
    ) -> Option<(raw::Connection, quinn::ZeroRttAccepted)> {
        let connecting = self.endpoint.connect(addr, server_name).expect("a valid server name");
        let (quic, accepted) = connecting.into_0rtt().ok()?;
        Some((raw::Connection::new(quic), accepted))
    }

    /// Opens an HTTP/3 connection to a server that may not have started yet.
    pub async fn connect_when_up(&self, addr: SocketAddr, server_name: &str) -> Connection {
        let quic = wait::until(wait::BOUND, "a server that accepts QUIC", || async {
            let connecting = self.endpoint.connect(addr, server_name).expect("a valid server name");
            tokio::time::timeout(Duration::from_secs(1), connecting).await.ok()?.ok()
        });
        Connection::new(quic.await).await
    }

    /// Moves all connections to a new local port. Returns the new address.
    pub fn rebind(&self) -> SocketAddr {
        let ip: IpAddr = self.local_addr().ip();
        let socket = UdpSocket::bind((ip, 0)).expect("bind a second socket");
        self.endpoint.rebind(socket).expect("move the endpoint");
        self.local_addr()
    }

    /// Waits until the `CONNECTION_CLOSE` frames of all connections are sent.
    pub async fn drain(&self) {
        wait::within("the client's connections to end", self.endpoint.wait_idle()).await;
    }
}

#[cfg(test)]
mod tests;
