//! A correct HTTP/2 origin: hyper's server on a loopback port, in cleartext (prior knowledge) or TLS with ALPN `h2`, with a
//! journal. [`crate::rogue`] contains misbehaving origins.

mod body;
pub mod handler;
mod serve;
mod site;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use self::body::{Body, BoxError, PatternBody};
pub use self::handler::Handler;
pub use self::site::{Gate, site};
use crate::certs::Identity;
use crate::journal::Journal;

/// A running origin. Stops when dropped.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    tls: bool,
    journal: Journal,
    gate: Gate,
    task: JoinHandle<()>,
}

impl Origin {
    /// Starts an origin with cleartext HTTP/2 and the handler [`site`].
    pub async fn h2c() -> Self {
        let gate = Gate::default();
        Self::start(site(gate.clone()), gate, None).await
    }

    /// Starts an origin with HTTP/2 over TLS and the handler [`site`].
    pub async fn tls(identity: &Identity) -> Self {
        let gate = Gate::default();
        Self::start(site(gate.clone()), gate, Some(identity)).await
    }

    /// Starts an origin with cleartext HTTP/2 and this handler.
    pub async fn with(handler: Handler) -> Self {
        Self::start(handler, Gate::default(), None).await
    }

    async fn start(handler: Handler, gate: Gate, identity: Option<&Identity>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind an origin on loopback");
        let addr = listener.local_addr().expect("address of a bound socket");
        let journal = Journal::default();
        let acceptor =
            identity.map(|identity| TlsAcceptor::from(std::sync::Arc::new(identity.server_config(&[b"h2"]))));
        let task = tokio::spawn(serve::run(listener, acceptor, handler, journal.clone()));
        Self { addr, tls: identity.is_some(), journal, gate, task }
    }

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its URL for the configuration of a backend.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// Returns the journal of requests.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Lets all current and future requests to `/gate` continue.
    pub fn open_gate(&self) {
        self.gate.open();
    }

    /// Stops the origin: closes the listener and all connections before it returns.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
