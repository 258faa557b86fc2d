//! A correct origin: hyper's server on a loopback port, for HTTP/2 or HTTP/1.1, in cleartext or TLS, with a journal.
//! [`crate::rogue`] and [`crate::http1`] contain misbehaving origins.

mod body;
pub mod handler;
mod serve;
mod site;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::body::{Body, BoxError, PatternBody};
pub use self::handler::Handler;
use self::serve::{Security, Version};
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

    /// Starts an origin with cleartext HTTP/1.1 and the handler [`site`].
    pub async fn http1() -> Self {
        let gate = Gate::default();
        Self::serve(site(gate.clone()), gate, Security::Cleartext(Version::Http1)).await
    }

    /// Starts an origin with cleartext HTTP/1.1 and this handler.
    pub async fn http1_with(handler: Handler) -> Self {
        Self::serve(handler, Gate::default(), Security::Cleartext(Version::Http1)).await
    }

    /// Starts an origin with TLS and the handler [`site`] that accepts these protocols by ALPN. Speaks HTTP/1.1 if none is
    /// agreed.
    pub async fn tls_with(identity: &Identity, alpn: &[&[u8]]) -> Self {
        let gate = Gate::default();
        Self::serve(site(gate.clone()), gate, Security::tls(identity, alpn)).await
    }

    /// As [`Origin::tls_with`], with this handler.
    pub async fn tls_serving(identity: &Identity, alpn: &[&[u8]], handler: Handler) -> Self {
        Self::serve(handler, Gate::default(), Security::tls(identity, alpn)).await
    }

    async fn start(handler: Handler, gate: Gate, identity: Option<&Identity>) -> Self {
        let security = match identity {
            Some(identity) => Security::tls(identity, &[b"h2"]),
            None => Security::Cleartext(Version::Http2),
        };
        Self::serve(handler, gate, security).await
    }

    async fn serve(handler: Handler, gate: Gate, security: Security) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind an origin on loopback");
        let addr = listener.local_addr().expect("address of a bound socket");
        let journal = Journal::default();
        let tls = matches!(security, Security::Tls(_));
        let task = tokio::spawn(serve::run(listener, security, handler, journal.clone()));
        Self { addr, tls, journal, gate, task }
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
