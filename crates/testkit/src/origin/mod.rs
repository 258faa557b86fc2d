//! An HTTP/2 origin that behaves: hyper's server, with the answers that a test asks for.
//!
//! Owns a loopback listener on a port of the kernel's choice, in cleartext (prior knowledge) or TLS with ALPN `h2`, and
//! the journal of what arrived. It stops when dropped. Faults belong to [`crate::rogue`]. Called by tests.

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

/// A running origin.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    tls: bool,
    journal: Journal,
    gate: Gate,
    task: JoinHandle<()>,
}

impl Origin {
    /// Cleartext HTTP/2 by prior knowledge, answering with [`site`].
    pub async fn h2c() -> Self {
        let gate = Gate::default();
        Self::start(site(gate.clone()), gate, None).await
    }

    /// HTTP/2 over TLS, answering with [`site`].
    pub async fn tls(identity: &Identity) -> Self {
        let gate = Gate::default();
        Self::start(site(gate.clone()), gate, Some(identity)).await
    }

    /// Cleartext HTTP/2 with a handler of the test's own.
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

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address as a backend entry of the configuration.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// What it has seen.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Lets every request to `/gate` go on, now and later.
    pub fn open_gate(&self) {
        self.gate.open();
    }

    /// Stops at once: the listener and all connections are gone when this returns.
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
