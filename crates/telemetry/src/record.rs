//! What is reported of a request when it has ended: the input of the access log, the metrics and the traces.

use std::{borrow::Cow, net::SocketAddr, time::Duration};

/// One request, refused and aborted ones included. Bytes of peers are as received: whoever writes them escapes them.
#[derive(Clone, Copy, Debug)]
pub struct RequestRecord<'a> {
    /// The value of `x-request-id` that the backend got, or the client's; empty if there is none.
    pub request_id: &'a [u8],
    /// Ids of the trace and of Spooky's own span; `None` if the request is not traced.
    pub trace: Option<TraceIds>,
    /// The method; empty if the head could not be read.
    pub method: &'a [u8],
    /// Path and query; empty for plain CONNECT.
    pub path: &'a [u8],
    /// The authority that the client asked for.
    pub host: &'a [u8],
    /// The value of `user-agent`; empty if there is none.
    pub user_agent: &'a [u8],
    /// The client's protocol.
    pub protocol: ClientProtocol,
    /// The client's address.
    pub client: SocketAddr,
    /// The status that the client got; `None` if the stream was reset before.
    pub status: Option<u16>,
    /// Name of the upstream; `None` if no route matched.
    pub upstream: Option<&'a str>,
    /// Address, as configured, of the backend that answered, or else of the last one tried.
    pub backend: Option<&'a str>,
    /// From the request head to the end of the response.
    pub latency: Duration,
    /// Time spent waiting for permits and backends.
    pub queue: Duration,
    /// Time that the answering attempt waited for a connection; `None` without an answering attempt.
    pub connect: Option<Duration>,
    /// From the request sent to the response head, of the answering attempt.
    pub upstream_time: Option<Duration>,
    /// From the request head to the response head sent to the client.
    pub first_byte: Option<Duration>,
    /// Body bytes received from the client.
    pub bytes_in: u64,
    /// Body bytes that the client's connection has taken.
    pub bytes_out: u64,
    /// Attempts started: the first, retries and hedges.
    pub attempts: u32,
    /// Whether one of them was a hedge.
    pub is_hedged: bool,
    /// Why it failed or was refused (docs/reference/behaviour.md#status-codes).
    pub reason: Option<&'static str>,
    /// The kind of error; `None` if it did not fail.
    pub error: Option<&'static str>,
}

impl RequestRecord<'_> {
    /// Returns the number of retries: attempts after the first that are not hedges.
    pub fn retries(&self) -> u32 {
        self.attempts.saturating_sub(1 + u32::from(self.is_hedged))
    }
}

/// Where a request was sent, with `observability.routing`.
#[derive(Clone, Copy, Debug)]
pub struct RouteRecord<'a> {
    /// As in [`RequestRecord`].
    pub request_id: &'a [u8],
    /// Name of the upstream.
    pub upstream: &'a str,
    /// Length of the path prefix that matched.
    pub path_len: u64,
    /// Whether the route names a host.
    pub is_host_specific: bool,
    /// The step of routing that decided; `None` if it is not shown.
    pub reason: Option<&'static str>,
    /// The balancing algorithm.
    pub algorithm: &'static str,
}

/// A client connection that has ended.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    /// The client's address.
    pub client: SocketAddr,
    /// The protocol; `None` if the handshake was not complete.
    pub protocol: Option<ClientProtocol>,
    /// From the first packet to the end.
    pub duration: Duration,
    /// From the first packet to the end of the handshake; `None` if it was not complete.
    pub handshake: Option<Duration>,
    /// Number of requests.
    pub requests: u64,
    /// Bytes received: UDP payload, or of TCP.
    pub bytes_in: u64,
    /// Bytes sent, likewise.
    pub bytes_out: u64,
    /// Packets of QUIC that were lost, or segments that TCP has sent again. `None` if unknown.
    pub lost_packets: Option<u64>,
    /// The estimated round-trip time at the end. `None` if unknown.
    pub rtt: Option<Duration>,
    /// Why the connection has ended.
    pub reason: Cow<'static, str>,
}

/// The ids of a trace and of a span in it (W3C Trace Context). Neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// Id of the trace.
    pub trace: u128,
    /// Id of the span.
    pub span: u64,
}

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProtocol {
    /// HTTP/1.1, and 1.0.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

impl ClientProtocol {
    /// All protocols, in the order of [`ClientProtocol::index`].
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Http3];

    /// Returns the name used in labels and access lines.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        }
    }

    /// Returns the index in [`ClientProtocol::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}
