//! The edge as the exchange uses it, with clients that are joined to it without a socket.

mod connections;
mod early_data;
mod requests;
mod responses;

use crate::{
    Edge, EdgeSettings, Event, EventKind, StreamRef,
    peer::{Peer, headers, settings},
};
use quinn_proto::{Dir, StreamId, TransportConfig};
use rustls::RootCertStore;
use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/a")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/b")];
/// What a client's control stream begins with: its type and empty SETTINGS.
const CONTROL: [u8; 3] = [0, 4, 0];

/// An edge and a client whose handshake is complete.
struct Setup {
    edge: Edge,
    client: Peer,
    settings: EdgeSettings,
    roots: RootCertStore,
    /// The client's control stream.
    control: StreamId,
}

impl Setup {
    fn new() -> Self {
        Self::with(TransportConfig::default(), |_| {})
    }

    /// A client that takes at most so many bytes of a response before it reads them.
    fn with_window(bytes: u32) -> Self {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(bytes.into());
        Self::with(transport, |_| {})
    }

    fn with(mut transport: TransportConfig, change: impl FnOnce(&mut EdgeSettings)) -> Self {
        let (mut settings, roots) = settings(&Arc::new(()), 100);
        change(&mut settings);
        transport.max_idle_timeout(None);
        let mut edge = Edge::new(&settings).unwrap();
        let mut client = Peer::new(&roots, 0, Instant::now(), transport);
        client.finish(&mut edge);
        let control = client.open(Dir::Uni, &CONTROL);
        client.finish(&mut edge);
        assert_eq!((client.lost(), edge.connections()), (None, 1));
        Self { edge, client, settings, roots, control }
    }

    /// Adds another client.
    fn connect(&mut self, number: u16) -> Peer {
        let mut client = Peer::new(&self.roots, number, self.client.now, TransportConfig::default());
        client.finish(&mut self.edge);
        client
    }

    /// Lets both sides send all they have.
    fn run(&mut self) {
        self.client.finish(&mut self.edge);
    }

    /// Lets time pass, then both sides send all they have.
    fn wait(&mut self, time: Duration) {
        self.client.now += time;
        self.run();
    }

    fn events(&mut self) -> Vec<Event> {
        iter::from_fn(|| self.edge.next_event()).collect()
    }

    /// The kinds of all events, as text.
    fn kinds(&mut self) -> Vec<String> {
        self.events().iter().map(|event| format!("{:?}", event.kind)).collect()
    }

    /// Sends a request with this head and what follows it. Returns its stream on both sides.
    fn request(&mut self, head: &[(&str, &str)], rest: &[u8], end: bool) -> (StreamId, StreamRef) {
        let id = self.client.open(Dir::Bi, &[&headers(head), rest].concat());
        if end {
            self.client.end(id);
        }
        self.run();
        let event = self.edge.next_event().unwrap();
        assert!(matches!(event.kind, EventKind::Request { .. } | EventKind::Refused { .. }), "{event:?}");
        let rest = self.kinds();
        assert!(rest.iter().all(|kind| kind == "Readable"), "{rest:?}");
        (id, event.stream)
    }
}
