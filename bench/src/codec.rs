//! Closures that process a sample message as the product does, for the bench `codecs` and for `floorbench`.
//!
//! Their results keep the compiler from removing the work, and let a test check it.

use std::{collections::VecDeque, net::Ipv4Addr, time::Duration};

use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    h2::{self, Client, Event, Server, ServerConfig, ServerEvent},
    h3::{Received, RecvStream, encode_response},
    hpack::{Decoder, Encoder},
    message::{
        Fields, Protocol, RequestHead,
        check::{self, HeadLimits, RequestRules},
        forwarded::{self, ForwardedMode},
        request_id::uuid_v7,
        rewrite::{RequestContext, retarget, to_backend},
    },
    qpack,
};

use crate::sample;

/// Size of the dynamic table.
const TABLE: u32 = 4096;
const MAX_SECTION: usize = 65_536;
/// Body bytes in a datagram of the measured upload.
const DATAGRAM: usize = 1200;
/// The client connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Payload length of the DATA frames of the upload.
const FRAME: usize = 16_000;

/// Decodes and checks a QPACK field section. Returns the number of fields.
pub fn qpack_decode(request: &Fields) -> impl FnMut() -> usize + use<> {
    let section = sample::section(request);
    let (limits, rules) = (HeadLimits::default(), RequestRules::new(Protocol::Http3));
    move || {
        let mut fields = Fields::new();
        qpack::decode(&section, &mut fields, limits.max_bytes).expect("a sound section");
        check::request(fields, &limits, &rules).expect("a sound request").fields.len()
    }
}

/// Converts a HEADERS frame to a request for a backend: frame, QPACK, checks, rewriting. Returns the number of fields.
pub fn receive_request(request: &Fields) -> impl FnMut() -> usize + use<> {
    let frame = Bytes::from(sample::frame(1, &sample::section(request)));
    let (limits, rules) = (HeadLimits::default(), RequestRules::new(Protocol::Http3));
    let mut rewrite = rewriting();
    move || {
        let received = RecvStream::new().recv(&mut frame.clone(), &limits).expect("a sound frame");
        let Some(Received::Headers(fields)) = received else { panic!("no head in the frame") };
        let mut head = check::request(fields, &limits, &rules).expect("a sound request");
        rewrite(&mut head);
        head.fields.len()
    }
}

/// Rewrites requests for a backend, each with a new request id.
pub fn rewriting() -> impl FnMut(&mut RequestHead) {
    let client = forwarded::ForwardedClient::new(Ipv4Addr::new(192, 0, 2, 7).into(), 443);
    let mut count = 0_u64;
    move |head| {
        count += 1;
        let id = uuid_v7(count, [7; 10]);
        let context = RequestContext {
            protocol: Protocol::Http3,
            client: &client,
            forwarded: ForwardedMode::Overwrite,
            request_id: Some(&id),
            is_early: false,
            subject: None,
        };
        to_backend(head, &context);
        retarget(head, b"http", None);
    }
}

/// Encodes the HEADERS frame of the small response. Returns its length.
pub fn encode_answer() -> impl FnMut() -> usize {
    let head = sample::answer();
    let mut out = Vec::with_capacity(512);
    move || {
        out.clear();
        encode_response(&mut out, &head);
        out.len()
    }
}

/// Encodes a rewritten request with HPACK and a filled dynamic table. Returns the length.
pub fn hpack_encode(request: &Fields) -> impl FnMut() -> usize + use<> {
    let head = rewritten(request);
    let mut encoder = Encoder::new();
    let mut out = Vec::with_capacity(2048);
    move || {
        out.clear();
        encoder.encode(head.fields.iter(), &mut out);
        out.len()
    }
}

/// Decodes the HPACK block of the small response with a filled dynamic table. Returns the number of fields.
pub fn hpack_decode() -> impl FnMut() -> usize {
    let [cold, warm] = answer_blocks();
    let mut decoder = Decoder::new(TABLE);
    decoder.decode(&cold, &mut Fields::new(), MAX_SECTION).expect("a sound block");
    let mut fields = Fields::new();
    move || {
        fields.clear();
        assert_eq!(decoder.decode(&warm, &mut fields, MAX_SECTION), Ok(true));
        fields.len()
    }
}

/// Sends a request with the HTTP/2 client and receives the small response. Returns the number of events, 2.
pub fn h2_round_trip(request: &Fields) -> impl FnMut() -> usize + use<> {
    let head = rewritten(request);
    let [cold, warm] = answer_blocks();
    let mut client = Client::new(&h2::Config::default());
    let mut input = BytesMut::from(&h2_frame(4, 0, 0, &[])[..]); // SETTINGS
    while client.recv(&mut input).expect("sound SETTINGS").is_some() {}
    let mut block = cold;
    move || {
        let id = client.send_request(&head, true, 1).expect("room for a stream");
        let sent = client.output().len();
        client.output().advance(sent);
        put_answer(id.number(), &block, &mut input);
        if block.len() != warm.len() {
            block.clone_from(&warm);
        }
        let mut events = 0;
        while let Some(event) = client.recv(&mut input).expect("a sound answer") {
            assert!(matches!(event, Event::Head { .. } | Event::Data { .. }), "{event:?}");
            events += 1;
        }
        let rest = client.output().len();
        client.output().advance(rest);
        events
    }
}

/// Receives a request with the HTTP/2 server and sends the small response. Returns the number of bytes sent.
pub fn h2_serve(request: &Fields) -> impl FnMut() -> usize + use<> {
    let mut encoder = Encoder::new();
    let mut blocks = VecDeque::from([(); 3].map(|()| {
        let mut block = Vec::new();
        encoder.encode(request.iter(), &mut block);
        block
    }));
    let answer = sample::answer();
    let mut server = Server::new(&ServerConfig::default());
    let mut input = BytesMut::from(PREFACE);
    input.extend_from_slice(&h2_frame(4, 0, 0, &[])); // SETTINGS
    let mut stream = 1_u32;
    move || {
        // The first two fill the dynamic table, further ones refer to it.
        let block = if blocks.len() > 1 { blocks.pop_front() } else { blocks.front().cloned() };
        input.extend_from_slice(&h2_frame(1, 5, stream, &block.unwrap_or_default())); // END_STREAM, END_HEADERS
        stream += 2;
        let event = server.recv(&mut input, Duration::ZERO).expect("a sound request");
        let Some(ServerEvent::Request { id, end: true, .. }) = event else { panic!("{event:?}") };
        server.send_head(id, &answer, false);
        server.send_data(id, &mut Bytes::from_static(&[b'x'; sample::SMALL_BODY]), true);
        assert_eq!(server.active(), 0);
        let sent = server.output().len();
        server.output().advance(sent);
        sent
    }
}

/// Receives a body of one DATA frame in datagrams. Returns the number of body bytes.
pub fn receive_body() -> impl FnMut() -> usize {
    let limits = HeadLimits::default();
    let head = Bytes::from(sample::frame(1, &sample::section(&sample::h2load())));
    let frame = Bytes::from(sample::frame(0, &[7; FRAME]));
    let mut stream = RecvStream::new();
    stream.recv(&mut head.clone(), &limits).expect("a sound head");
    move || {
        let mut bytes = 0;
        let mut rest = frame.clone();
        while !rest.is_empty() {
            let mut chunk = rest.split_to(DATAGRAM.min(rest.len()));
            while let Some(Received::Data(data)) = stream.recv(&mut chunk, &limits).expect("a sound frame") {
                bytes += data.len();
            }
        }
        bytes
    }
}

fn rewritten(request: &Fields) -> RequestHead {
    let mut head = sample::checked(request.clone());
    rewriting()(&mut head);
    head
}

/// Returns the HPACK block of the small response for the first response of a connection and for later ones.
fn answer_blocks() -> [Vec<u8>; 2] {
    let fields = sample::answer_fields();
    let mut encoder = Encoder::new();
    [(); 2].map(|()| {
        let mut block = Vec::new();
        encoder.encode(fields.iter(), &mut block);
        block
    })
}

fn put_answer(stream: u32, block: &[u8], input: &mut BytesMut) {
    input.extend_from_slice(&h2_frame(1, 4, stream, block)); // HEADERS, END_HEADERS
    input.extend_from_slice(&h2_frame(0, 1, stream, &[b'x'; sample::SMALL_BODY])); // DATA, END_STREAM
}

/// Returns an HTTP/2 frame (RFC 9113 section 4.1).
fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = (payload.len() as u32).to_be_bytes();
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.extend_from_slice(&len);
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_can_be_repeated() {
        let browser = sample::browser();
        let works: [(Box<dyn FnMut() -> usize>, usize); 5] = [
            (Box::new(qpack_decode(&browser)), 20),
            (Box::new(hpack_decode()), 8),
            (Box::new(h2_round_trip(&browser)), 2),
            (Box::new(receive_body()), FRAME),
            (Box::new(encode_answer()), encode_answer()()),
        ];
        for (index, (mut work, expected)) in works.into_iter().enumerate() {
            assert!((0..1000).all(|_| work() == expected), "work {index}");
        }
    }

    #[test]
    fn served_requests_get_the_same_answer() {
        let mut serve = h2_serve(&sample::browser());
        let opening = serve();
        let cold = serve();
        assert!(opening > cold, "SETTINGS and their acknowledgement");
        assert!((0..1000).all(|_| serve() <= cold));
    }

    #[test]
    fn rewriting_joins_crumbs_and_adds_fields() {
        let fields = rewritten(&sample::browser()).fields;
        assert_eq!(fields.all(spooky_bridge::message::Known::Cookie).count(), 1);
        assert!(fields.contains(spooky_bridge::message::Known::Via));
        assert_eq!(receive_request(&sample::browser())(), fields.len());
    }

    #[test]
    fn a_warm_table_makes_blocks_shorter() {
        let mut encode = hpack_encode(&sample::browser());
        assert!(encode() > encode());
        let [cold, warm] = answer_blocks();
        assert!(cold.len() > warm.len());
    }
}
