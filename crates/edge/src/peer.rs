//! A client without a socket for the tests of the edge: quinn-proto in the client role, joined directly to an [`Edge`].

use crate::{ConnectionDecision, ConnectionLimiter, Edge, EdgeSettings, LimiterSlot, QuicKeys};
use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    ReadError, StreamId, TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::PrivateKeyDer,
    sign::CertifiedKey,
};
use spooky_bridge::{
    h3,
    message::{
        Fields, Name, Protocol,
        check::{HeadLimits, RequestRules},
    },
};
use spooky_net::tls::{CertificateStore, server};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Turns after which both sides must have sent all that they have.
const MAX_TURNS: usize = 1000;
/// Reads of streams after which a test waits for something that does not come.
const MAX_READS: usize = 1000;

/// Accepts every connection without a slot, and gives out a fixed number of slots when handshakes complete. Each slot and
/// each handshake holds a clone of the counter.
struct Counting(Arc<()>, AtomicUsize);

impl ConnectionLimiter for Counting {
    fn open(&self, _: IpAddr, _: bool, _: Instant) -> ConnectionDecision {
        ConnectionDecision::Accept { handshake: Box::new(self.0.clone()), connection: None }
    }

    fn establish(&self, _: IpAddr) -> Option<LimiterSlot> {
        self.1
            .fetch_update(Relaxed, Relaxed, |slots| slots.checked_sub(1))
            .ok()
            .map(|_| Box::new(self.0.clone()) as LimiterSlot)
    }
}

/// A self-signed certificate for a name.
pub(crate) fn certificate(name: &str) -> CertifiedKey {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &default_provider()).unwrap()
}

/// Settings with this many slots for connections, and the certificate that clients have to trust.
pub(crate) fn settings(counter: &Arc<()>, slots: usize) -> (EdgeSettings, RootCertStore) {
    let certified = certificate("localhost");
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert[0].clone()).unwrap();
    let other = certificate("other.test");
    roots.add(other.cert[0].clone()).unwrap();
    let named = vec![("other.test".to_owned(), other)];
    let certificates = Arc::new(CertificateStore::new(Some(certified), named).unwrap());
    let resumption = server::Resumption::new().unwrap();
    let settings = EdgeSettings {
        qlog: None,
        process: spooky_net::steer::ProcessNumber::default(),
        tls_unvalidated: None,
        tls: server::contexts(&certificates, &server::ServerOptions::default(), &resumption).unwrap().quic,
        certificates,
        worker: 0,
        workers: 1,
        idle_timeout: 6 * HANDSHAKE,
        max_data: 1 << 20,
        max_stream_data: 1 << 20,
        max_streams_bidi: 100,
        max_streams_uni: 100,
        max_udp_payload: 1452,
        active_migration: true,
        responses: Arc::new(crate::ResponseBudget::new(1 << 20)),
        stream_buffer: 1 << 16,
        stall_timeout: Duration::from_secs(30),
        head_limits: HeadLimits { max_fields: 100, max_bytes: 1 << 14 },
        rules: RequestRules::new(Protocol::Http3),
        header_timeout: HANDSHAKE,
        handshake_timeout: HANDSHAKE,
        counts: spooky_telemetry::metrics::ClientCounts::default(),
        limiter: Arc::new(Counting(counter.clone(), AtomicUsize::new(slots))),
        keys: QuicKeys::derive(&[7; 32]).unwrap(),
    };
    (settings, roots)
}

/// The configuration of a client that trusts `roots`. Its clones share the sessions and address tokens that they get.
pub(crate) fn client_config(roots: RootCertStore, transport: TransportConfig) -> ClientConfig {
    client_config_with(default_provider(), roots, transport)
}

pub(crate) fn client_config_with(
    provider: CryptoProvider,
    roots: RootCertStore,
    transport: TransportConfig,
) -> ClientConfig {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider));
    let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.enable_early_data = true; // if the server permits it
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(transport));
    config
}

/// Starts to connect to the server `name` at `to`.
pub(crate) fn connecting(
    config: ClientConfig,
    name: &str,
    to: SocketAddr,
    now: Instant,
) -> (Endpoint, ConnectionHandle, Connection) {
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
    let (handle, connection) = endpoint.connect(now, config, to, name).unwrap();
    (endpoint, handle, connection)
}

/// The fields of a header section, in this order.
pub(crate) fn fields(list: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in list {
        fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
    }
    fields
}

/// A HEADERS frame with these fields.
pub(crate) fn headers(list: &[(&str, &str)]) -> Vec<u8> {
    let mut frame = Vec::new();
    h3::encode_trailers(&mut frame, &fields(list));
    frame
}

/// A DATA frame that announces `length` bytes, with the bytes that follow now.
pub(crate) fn data(length: u64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    h3::encode_data_header(&mut frame, length);
    frame.extend(bytes);
    frame
}

/// How far the server has sent on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    Open,
    Complete,
    Reset(u64),
}

/// A client and the network between it and an edge.
pub(crate) struct Peer {
    pub(crate) now: Instant,
    pub(crate) address: SocketAddr,
    /// An address that the client had before: what is sent there is lost.
    earlier: Option<SocketAddr>,
    server: SocketAddr,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub(crate) connection: Connection,
    /// The last datagram that the client has sent.
    pub(crate) last_sent: BytesMut,
    /// Number of datagrams that the client has received.
    pub(crate) received: usize,
    reads: usize,
    lost: Option<ConnectionError>,
}

impl Peer {
    pub(crate) fn new(roots: &RootCertStore, number: u16, now: Instant, transport: TransportConfig) -> Self {
        Self::with(client_config(roots.clone(), transport), "localhost", number, now)
    }

    /// Connects with this configuration to the server `name`.
    pub(crate) fn with(config: ClientConfig, name: &str, number: u16, now: Instant) -> Self {
        let server = "192.0.2.1:443".parse().unwrap();
        let address = SocketAddr::new("192.0.2.2".parse().unwrap(), 5000 + number);
        let (endpoint, handle, connection) = connecting(config, name, server, now);
        Self {
            now,
            address,
            earlier: None,
            server,
            endpoint,
            handle,
            connection,
            last_sent: BytesMut::new(),
            received: 0,
            reads: 0,
            lost: None,
        }
    }

    /// Delivers what the client has to send. Returns the number of datagrams.
    pub(crate) fn send(&mut self, edge: &mut Edge) -> usize {
        if self.connection.poll_timeout().is_some_and(|due| due <= self.now) {
            self.connection.handle_timeout(self.now);
        }
        let (mut bytes, mut count) = (Vec::new(), 0);
        while let Some(transmit) = self.connection.poll_transmit(self.now, 1, &mut bytes) {
            self.last_sent = BytesMut::from(&bytes[..transmit.size]);
            edge.on_datagram(self.now, self.address, None, 0, self.last_sent.clone());
            bytes.clear();
            count += 1;
        }
        count
    }

    /// Runs a turn of the edge, and delivers what it sends. Returns false if that was nothing.
    pub(crate) fn receive(&mut self, edge: &mut Edge) -> bool {
        self.now += Duration::from_millis(1);
        edge.on_time(self.now); // packets beyond the connection's share of a turn wait for the next
        edge.serve(self.now);
        let (mut buffer, before) = (Vec::new(), self.received);
        while let Some(transmit) = edge.transmit(self.now, |_, _| 1, &mut buffer) {
            let datagram = BytesMut::from(&buffer[..transmit.size]);
            buffer.clear();
            if Some(transmit.destination) == self.earlier {
                continue;
            }
            assert_eq!(transmit.destination, self.address, "only this client is spoken to");
            self.received += 1;
            let event = self.endpoint.handle(self.now, self.server, None, None, datagram, &mut Vec::new());
            if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                self.connection.handle_event(event);
            }
            while let Some(event) = self.connection.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                    self.connection.handle_event(event);
                }
            }
        }
        self.received > before
    }

    /// Lets both sides send until neither has anything more to send.
    pub(crate) fn finish(&mut self, edge: &mut Edge) {
        self.send(edge);
        for _ in 0..MAX_TURNS {
            if !self.receive(edge) && !edge.has_work() {
                return;
            }
            self.send(edge);
        }
        panic!("more than {MAX_TURNS} turns");
    }

    /// Sends from another address from now on, as after a NAT has forgotten the client.
    pub(crate) fn rebind(&mut self, address: SocketAddr) {
        self.earlier = Some(std::mem::replace(&mut self.address, address));
    }

    /// Returns why the connection has ended.
    pub(crate) fn lost(&mut self) -> Option<ConnectionError> {
        while let Some(event) = self.connection.poll() {
            if let Event::ConnectionLost { reason } = event {
                self.lost = Some(reason);
            }
        }
        self.lost.clone()
    }

    /// Returns the HTTP/3 code and the reason with which the edge has closed the connection.
    pub(crate) fn closed(&mut self) -> Option<(u64, String)> {
        match self.lost()? {
            ConnectionError::ApplicationClosed(close) => {
                Some((close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned()))
            }
            other => panic!("{other:?}"),
        }
    }

    /// Opens a stream and writes these bytes.
    pub(crate) fn open(&mut self, dir: Dir, bytes: &[u8]) -> StreamId {
        let id = self.connection.streams().open(dir).unwrap();
        self.write(id, bytes);
        id
    }

    pub(crate) fn write(&mut self, id: StreamId, bytes: &[u8]) {
        if !bytes.is_empty() {
            assert_eq!(self.connection.send_stream(id).write(bytes).unwrap(), bytes.len());
        }
    }

    pub(crate) fn end(&mut self, id: StreamId) {
        self.connection.send_stream(id).finish().unwrap();
    }

    pub(crate) fn reset(&mut self, id: StreamId, code: u32) {
        self.connection.send_stream(id).reset(VarInt::from_u32(code)).unwrap();
    }

    pub(crate) fn stop(&mut self, id: StreamId, code: u32) {
        self.connection.recv_stream(id).stop(VarInt::from_u32(code)).unwrap();
    }

    /// Returns the code with which the edge has asked for no more bytes of a stream.
    pub(crate) fn stopped(&mut self, id: StreamId) -> Option<u64> {
        self.connection.send_stream(id).stopped().unwrap().map(VarInt::into_inner)
    }

    /// Reads all that has arrived on a stream.
    pub(crate) fn read(&mut self, id: StreamId) -> (Vec<u8>, ReadEnd) {
        self.reads += 1;
        assert!(self.reads <= MAX_READS, "more than {MAX_READS} reads");
        let mut bytes = Vec::new();
        let mut stream = self.connection.recv_stream(id);
        let mut chunks = stream.read(true).unwrap();
        let end = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.bytes),
                Ok(None) => break ReadEnd::Complete,
                Err(ReadError::Blocked) => break ReadEnd::Open,
                Err(ReadError::Reset(code)) => break ReadEnd::Reset(code.into_inner()),
            }
        };
        (bytes, end)
    }
}
