//! HTTP/2 origins that break the rules, written on TCP with frames of their own.
//!
//! Owns a listener on a port of the kernel's choice that treats every connection with one [`Fault`], and the journal of
//! what arrived. Shares nothing with the product or with the polite origin. It stops when dropped. Called by tests.

mod connection;
mod fault;
mod flood;
mod goaway;
pub mod pen;
mod step;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use self::fault::{Fault, Script};
pub use self::flood::Flood;
pub use self::pen::{Pen, flag, kind, setting};
pub use self::step::{On, Step, answer, fields};
pub use self::wire::{Event, Wire};
use crate::journal::Journal;

/// A running rogue.
#[derive(Debug)]
pub struct Rogue {
    addr: SocketAddr,
    journal: Journal,
    task: JoinHandle<()>,
}

impl Rogue {
    /// Listens and treats every connection with `fault`.
    pub async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a rogue on loopback");
        let addr = listener.local_addr().expect("address of a bound socket");
        let journal = Journal::default();
        let task = tokio::spawn(accept(listener, fault, journal.clone()));
        Self { addr, journal, task }
    }

    /// An origin that answers each request with these steps.
    pub async fn answering(answer: Vec<Step>) -> Self {
        Self::start(Fault::Script(answer.into())).await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address as a backend entry of the configuration.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it has seen.
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
            connection::treat(tcp, fault, journal.clone(), number).await;
            journal.note(|record| record.closed += 1);
        });
    }
}

#[cfg(test)]
mod tests;
