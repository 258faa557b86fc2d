//! An HTTP/2 origin that records every request byte for byte, valid or not, and answers each complete one with its method
//! and path.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::reader::{FrameReader, unpad};
use super::step::fields;
use super::writer::{block, flag, kind};
use crate::journal::Journal;
use crate::wait;

/// A field as sent.
pub type RawField = (Vec<u8>, Vec<u8>);

/// How the peer's side of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// With `END_STREAM`.
    Complete,
    /// With `RST_STREAM` and this code.
    Reset(u32),
    /// With the connection.
    Lost,
}

/// A stream of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedStream {
    /// Number of the connection, from 1.
    pub connection: usize,
    /// Stream id.
    pub id: u32,
    /// The field sections in order: the head, then trailers.
    pub sections: Vec<Vec<RawField>>,
    /// The payload of DATA frames.
    pub body: Vec<u8>,
    /// Whether DATA followed the second section.
    pub has_late_data: bool,
    /// The end, once it has arrived.
    pub end: Option<StreamEnd>,
}

/// The streams of all connections, in the order of their heads.
type Streams = Arc<watch::Sender<Vec<RecordedStream>>>;

/// A running origin. Stops when dropped.
#[derive(Debug)]
pub struct Recorder {
    addr: SocketAddr,
    streams: Streams,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Starts an origin with cleartext HTTP/2.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a recorder on loopback");
        let addr = listener.local_addr().expect("address of a bound socket");
        let streams = Streams::new(watch::Sender::new(Vec::new()));
        let task = tokio::spawn(accept(listener, streams.clone()));
        Self { addr, streams, task }
    }

    /// Returns its URL for the configuration of a backend.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the streams from this number on.
    pub fn since(&self, number: usize) -> Vec<RecordedStream> {
        self.streams.borrow().get(number..).unwrap_or_default().to_vec()
    }

    /// Waits until every stream has ended, and returns all.
    pub async fn ended(&self) -> Vec<RecordedStream> {
        let mut reader = self.streams.subscribe();
        let all = reader.wait_for(|streams| streams.iter().all(|stream| stream.end.is_some()));
        wait::within("all streams to end", all).await.expect("the record outlives its readers").clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, streams: Streams) {
    let mut connections = JoinSet::new();
    for number in 1.. {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(tcp, streams.clone(), number));
    }
}

async fn serve(tcp: TcpStream, streams: Streams, number: usize) {
    let mut connection = Connection { reader: FrameReader::new(tcp, Journal::default(), number), streams, number };
    if connection.reader.handshake(&[]).await {
        connection.run().await;
    }
    let Connection { streams, .. } = connection;
    streams.send_modify(|all| {
        let open = all.iter_mut().filter(|stream| stream.connection == number && stream.end.is_none());
        open.for_each(|stream| stream.end = Some(StreamEnd::Lost));
    });
}

struct Connection {
    reader: FrameReader,
    streams: Streams,
    number: usize,
}

impl Connection {
    async fn run(&mut self) {
        let mut section = BytesMut::new();
        let mut ends = false;
        while let Some((kind, flags, stream, payload)) = self.reader.frame().await {
            let writer = self.reader.writer.clone();
            match kind {
                kind::SETTINGS | kind::PING if flags & flag::ACK == 0 => {
                    let echoed = if kind == kind::PING { &payload[..] } else { &[] };
                    writer.frame(kind, flag::ACK, 0, echoed).await;
                }
                kind::HEADERS | kind::CONTINUATION => {
                    if kind == kind::HEADERS {
                        ends = flags & flag::END_STREAM != 0;
                        section = BytesMut::from(&unpad(flags, payload)[..]);
                    } else {
                        section.extend_from_slice(&payload);
                    }
                    if flags & flag::END_HEADERS != 0 {
                        let fields = self.reader.decoder.decode(&section).expect("a field block of the client");
                        self.on_section(stream, fields);
                        self.on_end(stream, ends).await;
                    }
                }
                kind::DATA => {
                    let credit = (payload.len() as u32).to_be_bytes();
                    if !payload.is_empty() {
                        writer.frame(kind::WINDOW_UPDATE, flag::NONE, 0, &credit).await;
                    }
                    self.change(stream, |stream| {
                        stream.body.extend_from_slice(&payload);
                        stream.has_late_data |= stream.sections.len() > 1;
                    });
                    self.on_end(stream, flags & flag::END_STREAM != 0).await;
                }
                kind::RST_STREAM => {
                    let code = payload.get(..4).map_or(0, |mut bytes| bytes.get_u32());
                    self.change(stream, |stream| stream.end = stream.end.or(Some(StreamEnd::Reset(code))));
                }
                _ => {}
            }
        }
    }

    fn on_section(&self, id: u32, fields: Vec<RawField>) {
        self.streams.send_modify(|all| {
            let connection = self.number;
            match all.iter_mut().find(|stream| (stream.connection, stream.id) == (connection, id)) {
                Some(stream) => stream.sections.push(fields),
                None => all.push(RecordedStream {
                    connection,
                    id,
                    sections: vec![fields],
                    body: Vec::new(),
                    has_late_data: false,
                    end: None,
                }),
            }
        });
    }

    /// Records the end of a request and answers it.
    async fn on_end(&self, id: u32, ends: bool) {
        if !ends {
            return;
        }
        let mut text = String::new();
        let mut is_head = false;
        self.change(id, |stream| {
            stream.end = Some(StreamEnd::Complete);
            let value = |name: &[u8]| {
                let field = stream.sections.iter().flatten().find(|(found, _)| found == name);
                field.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
            };
            is_head = value(b":method") == "HEAD";
            text = format!("{} {}", value(b":method"), value(b":path"));
        });
        let head = block(&fields(&[(":status", "200"), ("content-length", &text.len().to_string())]));
        let flags = flag::END_HEADERS | if is_head { flag::END_STREAM } else { flag::NONE };
        let writer = &self.reader.writer;
        writer.frame(kind::HEADERS, flags, id, &head).await;
        if !is_head {
            writer.frame(kind::DATA, flag::END_STREAM, id, text.as_bytes()).await;
        }
    }

    fn change(&self, id: u32, change: impl FnOnce(&mut RecordedStream)) {
        self.streams.send_modify(|all| {
            let found = all.iter_mut().find(|stream| (stream.connection, stream.id) == (self.number, id));
            if let Some(stream) = found {
                change(stream);
            }
        });
    }
}
