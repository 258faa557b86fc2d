//! Misbehaving HTTP/2 origins: a listener on a loopback port that executes a [`Fault`] on each connection, and a journal.
//! Writes frames itself.

mod connection;
mod fault;
mod flood;
mod goaway;
mod reader;
pub mod recorder;
mod step;
pub mod writer;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use self::fault::{Fault, Script};
pub use self::flood::Flood;
pub use self::reader::{Event, FrameReader};
pub use self::step::{On, Step, answer, fields};
pub use self::writer::{FrameWriter, flag, kind, setting};
use crate::journal::Journal;

/// A running rogue origin. Stops when dropped.
#[derive(Debug)]
pub struct Rogue {
    addr: SocketAddr,
    journal: Journal,
    task: JoinHandle<()>,
}

impl Rogue {
    /// Starts an origin that executes `fault` on each connection.
    pub async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a rogue on loopback");
        let addr = listener.local_addr().expect("address of a bound socket");
        let journal = Journal::default();
        let task = tokio::spawn(accept(listener, fault, journal.clone()));
        Self { addr, journal, task }
    }

    /// Starts an origin that answers each request with these steps.
    pub async fn answering(answer: Vec<Step>) -> Self {
        Self::start(Fault::Script(answer.into())).await
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
        &self.journal
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, fault: Fault, journal: Journal) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let (fault, journal) = (fault.clone(), journal.clone());
        connections.spawn(async move {
            let number = journal.connect();
            connection::serve(tcp, fault, journal.clone(), number).await;
            journal.update(|record| record.closed += 1);
        });
    }
}

#[cfg(test)]
mod tests;
