//! HTTP/2 origins that break the rules, written on TCP with frames of their own.
//!
//! Owns a listener on a port of the kernel's choice that treats every connection with one [`Fault`], and the journal of
//! what arrived. Shares nothing with the product or with the polite origin. It stops when dropped. Called by tests.

mod connection;
mod flood;
mod goaway;
pub mod pen;
mod step;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use self::flood::Flood;
pub use self::pen::{Pen, flag, kind, setting};
pub use self::step::{On, Step, answer, fields};
pub use self::wire::{Event, Wire};
use crate::journal::Journal;

/// What is wrong with an origin.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Closes every connection before reading a byte.
    CloseOnAccept,
    /// Reads the client's preface, then closes.
    CloseAfterPreface,
    /// Accepts and never sends a byte.
    Mute,
    /// Answers the preface with HTTP/1.1 text and closes.
    Http1,
    /// Speaks HTTP/2, with these settings, and answers each request with these steps.
    Script(Script),
    /// Serves so many requests on a connection, then GOAWAY: announced streams are answered, later ones are ignored,
    /// and the connection is closed when the last answer is out.
    GoawayEvery(usize),
    /// Refuses the first so many requests with `REFUSED_STREAM`, then answers.
    RefuseFirst(usize),
    /// Announces and enforces this `MAX_CONCURRENT_STREAMS`; answers each request after 5 ms.
    StreamLimit(u32),
    /// Sends frames of one kind without end until the client gives up.
    Flood(Flood),
}

/// An HTTP/2 origin whose answers are written down.
#[derive(Debug, Clone)]
pub struct Script {
    /// SETTINGS to announce (RFC 9113 section 6.5.2).
    pub settings: Vec<(u16, u32)>,
    /// Whether request bytes are credited back.
    pub credit: bool,
    /// Whether the answer waits for the end of the request.
    pub after_request: bool,
    /// Sent once, right after SETTINGS.
    pub opening: Vec<Step>,
    /// Sent for each request.
    pub answer: Vec<Step>,
    /// Sent instead for requests with one of these paths.
    pub pages: Vec<(&'static str, Vec<Step>)>,
}

impl From<Vec<Step>> for Script {
    /// Default settings, credit, and an answer as soon as the request's head is there.
    fn from(answer: Vec<Step>) -> Self {
        Self {
            settings: Vec::new(),
            credit: true,
            after_request: false,
            opening: Vec::new(),
            answer,
            pages: Vec::new(),
        }
    }
}

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
