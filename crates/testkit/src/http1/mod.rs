//! Scripted HTTP/1.1 origins: the test chooses every byte of the answers and sees every byte of the requests.

mod connection;
mod reader;
mod shared;
mod step;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::shared::Shared;
pub use self::shared::{OnPreface, Script};
pub use self::step::Step;
use crate::journal::{Entry, Journal};
use crate::wait;

/// A running scripted origin. Stops when dropped.
pub struct Http1Origin {
    addr: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

impl fmt::Debug for Http1Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http1Origin({})", self.addr)
    }
}

impl Http1Origin {
    /// Starts an origin that answers each request with these steps.
    pub async fn answering(steps: Vec<Step>) -> Self {
        Self::scripted(move |_, _| steps.clone()).await
    }

    /// Starts an origin that answers by a function of the request and its number.
    pub async fn scripted(script: impl Fn(&Entry, usize) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start(OnPreface::Refuse, script).await
    }

    /// Starts an origin that treats the HTTP/2 preface in this way.
    pub async fn start(
        on_preface: OnPreface,
        script: impl Fn(&Entry, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), on_preface, script).await
    }

    /// As [`Http1Origin::start`], on this address.
    pub async fn start_at(
        addr: SocketAddr,
        on_preface: OnPreface,
        script: impl Fn(&Entry, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.expect("bind a scripted origin on loopback");
        let addr = listener.local_addr().expect("address of a bound socket");
        let shared = Shared {
            script: Arc::new(script),
            on_preface,
            journal: Journal::default(),
            received: Arc::new(watch::Sender::new(Vec::new())),
            gate: Arc::new(watch::Sender::new(0)),
        };
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { addr, shared, task }
    }

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns its URL for the configuration of a backend.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the journal of requests.
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// Lets `times` further [`Step::Gate`] steps continue.
    pub fn open_gate(&self, times: usize) {
        self.shared.gate.send_modify(|open| *open += times);
    }

    /// Returns the bytes that were received on each connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.shared.received.borrow().clone()
    }

    /// Waits until the received bytes satisfy a condition, and returns them.
    pub async fn until_received(&self, what: &str, holds: impl FnMut(&Vec<Vec<u8>>) -> bool) -> Vec<Vec<u8>> {
        let mut reader = self.shared.received.subscribe();
        let seen = wait::within(what, reader.wait_for(holds)).await;
        seen.expect("the record outlives its readers").clone()
    }
}

impl Drop for Http1Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns a complete response: status 200 with this body and `content-length`.
pub fn answer(body: &str) -> Step {
    Step::text(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

async fn accept(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let number = shared.journal.connect();
        shared.received.send_modify(|all| all.push(Vec::new()));
        connections.spawn(connection::serve(tcp, shared.clone(), number));
    }
}

#[cfg(test)]
mod tests;
