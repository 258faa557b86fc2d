//! Arbitrary input on an HTTP/1.1 connection to a backend: the outcome does not depend on how the bytes are split, each
//! complete response has the announced length, and what is forwarded is read as the same response.

use super::{
    h1_wire::{Line, drain, end_to_end, feed, lines},
    prng::Prng,
};
use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    h1::{Client, ClientConfig, ConnectionError, Event, Server, ServerConfig, ServerEvent},
    message::{
        Fields, Known, Method, Name, Protocol, RequestHead, ResponseHead,
        rewrite::{self, ResponseContext},
    },
};

/// Properties for any input. The first eight bytes seed the split and select the request.
pub(crate) fn check(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first_chunk::<8>() else { return };
    let seed = u64::from_le_bytes(*seed);
    let request = request(seed);
    let whole = run(&request, bytes, usize::MAX, seed);
    whole.judge(&request);
    for most in [1, 50] {
        assert_eq!(run(&request, bytes, most, seed), whole, "parts of up to {most}");
    }
}

#[derive(Debug, Default)]
struct Outcome {
    interim: Vec<ResponseHead>,
    head: Option<ResponseHead>,
    is_tunnel: bool,
    body: Vec<u8>,
    end: End,
    error: Option<ConnectionError>,
    is_reusable: bool,
}

#[derive(Debug, Default, PartialEq)]
enum End {
    #[default]
    Open,
    Complete,
    Trailers(Vec<Line>),
    Failed(String),
}

impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        let head = |head: &ResponseHead| (head.status, head.content_length, lines(&head.fields));
        let heads = |outcome: &Self| outcome.interim.iter().chain(&outcome.head).map(head).collect::<Vec<_>>();
        let rest = |outcome: &Self| (outcome.is_tunnel, outcome.error, outcome.is_reusable);
        heads(self) == heads(other) && rest(self) == rest(other) && (&self.body, &self.end) == (&other.body, &other.end)
    }
}

/// Returns GET, HEAD, CONNECT or an upgrade.
fn request(seed: u64) -> RequestHead {
    let (name, method) = match seed % 4 {
        0 => ("GET", Method::Get),
        1 => ("HEAD", Method::Head),
        _ => ("CONNECT", Method::Connect),
    };
    let mut fields = Fields::new();
    fields.push(Known::Method, name.as_bytes());
    if seed % 4 == 3 {
        fields.push(Known::Protocol, b"websocket");
    }
    if seed % 4 != 2 {
        fields.push(Known::Scheme, b"http");
        fields.push(Known::Path, b"/");
    }
    fields.push(Known::Authority, b"o.test:443");
    fields.push(Known::Te, b"trailers");
    RequestHead { fields, method, content_length: None }
}

/// A client that has sent the request.
fn client(request: &RequestHead, max_section: usize) -> (Client, Vec<u8>) {
    let mut client = Client::new(&ClientConfig { max_section, ..ClientConfig::default() });
    client.send_request(request, true, 5).expect("a valid head");
    let written = drain(client.output());
    (client, written)
}

fn run(request: &RequestHead, bytes: &[u8], most: usize, seed: u64) -> Outcome {
    let (mut client, sent) = client(request, 1024);
    let bytes = with_accept(bytes, &sent);
    let mut outcome = Outcome::default();
    feed(&bytes, most, &mut Prng(seed), |input| {
        while outcome.error.is_none() {
            match client.recv(input) {
                Ok(Some(event)) => outcome.take(event),
                Ok(None) => break,
                Err(error) => outcome.error = Some(error),
            }
        }
    });
    outcome.is_reusable = client.is_reusable();
    if seed & 4 != 0 && outcome.error.is_none() {
        if let Some(event) = client.on_eof(seed & 8 != 0) {
            outcome.take(event);
        }
        assert!(!client.is_reusable());
    }
    let is_done = matches!(outcome.end, End::Complete | End::Trailers(_));
    assert!(!outcome.is_reusable || is_done, "a response that is not complete");
    outcome
}

/// Replaces a placeholder by the value that accepts the upgrade.
fn with_accept(bytes: &[u8], sent: &[u8]) -> Vec<u8> {
    const PLACEHOLDER: &[u8] = b"XXXXXXXXXXXXXXXXXXXXXXXXXXXX";
    let Some(at) = bytes.windows(PLACEHOLDER.len()).position(|window| window == PLACEHOLDER) else {
        return bytes.to_vec();
    };
    let mut server = Server::new(&ServerConfig::default());
    server.recv(&mut BytesMut::from(sent));
    server.send_head(&ResponseHead::new(200), false).expect("a valid head");
    let written = drain(server.output());
    let accept = written.windows(30).find(|window| window.ends_with(b"=\r\n")).map_or(PLACEHOLDER, |line| &line[..28]);
    [&bytes[..at], accept, &bytes[at + PLACEHOLDER.len()..]].concat()
}

impl Outcome {
    fn take(&mut self, event: Event) {
        assert_eq!(self.end, End::Open, "nothing after the end");
        match event {
            Event::Informational { head, .. } => {
                assert!(self.head.is_none());
                self.interim.push(head);
            }
            Event::Head { head, end, .. } => {
                assert!(self.head.replace(head).is_none(), "two heads");
                self.end = if end { End::Complete } else { End::Open };
            }
            Event::Upgraded { head, .. } => {
                assert!(self.head.replace(head).is_none(), "two heads");
                self.is_tunnel = true;
            }
            Event::Data { data, end, .. } => {
                assert!(self.head.is_some(), "a body before its head");
                self.body.extend_from_slice(&data);
                self.end = if end { End::Complete } else { End::Open };
            }
            Event::Trailers { fields, .. } => self.end = End::Trailers(lines(&fields)),
            Event::Malformed { reason, .. } => self.end = End::Failed(reason.to_owned()),
            Event::HeadersTooLarge { .. } => self.end = End::Failed("too large".to_owned()),
            Event::Sendable { .. } => {}
        }
    }

    fn judge(&self, request: &RequestHead) {
        assert!(self.interim.len() <= 16);
        let Some(head) = &self.head else { return };
        let method = if request.fields.contains(Known::Protocol) { Method::Get } else { request.method };
        let is_whole = matches!(self.end, End::Complete | End::Trailers(_));
        let length = head.content_length.filter(|_| head.has_body(method) && !self.is_tunnel);
        if let Some(length) = length {
            let body = self.body.len() as u64;
            assert!(if is_whole { body == length } else { body <= length }, "a length that is not that of the body");
        }
        assert!(head.has_body(method) || self.is_tunnel || self.body.is_empty());
        self.forward(request, head, is_whole);
    }

    /// Writes the response for a client that sent the same request and reads it again.
    fn forward(&self, request: &RequestHead, head: &ResponseHead, is_whole: bool) {
        let context = ResponseContext { protocol: Protocol::Http1, method: request.method, alt_svc: None };
        let (mut reader, sent) = client(request, 1 << 20);
        let mut server = Server::new(&ServerConfig::default());
        let received = server.recv(&mut BytesMut::from(&sent[..]));
        assert!(matches!(received, Some(ServerEvent::Request { .. })), "{received:?}");
        for head in &self.interim {
            let mut head = head.clone();
            rewrite::to_client(&mut head, &context);
            server.send_interim(&head).expect("an accepted head can be written");
        }
        let mut head = head.clone();
        rewrite::to_client(&mut head, &context);
        let ends_with_head = is_whole && self.body.is_empty() && self.end == End::Complete && !self.is_tunnel;
        server.send_head(&head, ends_with_head).expect("an accepted head can be written");
        server.send_data(&mut Bytes::copy_from_slice(&self.body), false);
        let mut trailers = Fields::new();
        match &self.end {
            End::Trailers(lines) => {
                for (name, value) in lines {
                    trailers.push(Name::from_bytes(name), value);
                }
                rewrite::response_trailers(&mut trailers);
                server.send_trailers(&trailers);
            }
            End::Complete => drop(server.send_data(&mut Bytes::new(), true)),
            End::Open | End::Failed(_) => server.abort(),
        }
        let mut again = Outcome::default();
        let mut input = BytesMut::from(&drain(server.output())[..]);
        while let Some(event) = reader.recv(&mut input).expect("no byte too many") {
            again.take(event);
        }
        let end = reader.on_eof(true).filter(|_| again.end == End::Open);
        if let Some(event) = end {
            again.take(event);
        }
        let read = again.head.as_ref().expect("forwarded");
        assert_eq!((read.status, again.interim.len()), (head.status, self.interim.len()));
        assert_eq!(again.body, self.body);
        let added = read.content_length == Some(0) && head.content_length.is_none();
        let expected = end_to_end(&head.fields, head.content_length);
        let mut found = end_to_end(&read.fields, read.content_length);
        assert!(!added || found.pop().is_some_and(|(name, _)| name == b"content-length"));
        assert_eq!(found, expected);
        if !self.is_tunnel {
            let is_complete = matches!(again.end, End::Complete | End::Trailers(_));
            assert_eq!(is_complete, is_whole, "complete if and only if the response was");
            assert!(trailers.is_empty() || again.end == End::Trailers(lines(&trailers)));
        }
    }
}
