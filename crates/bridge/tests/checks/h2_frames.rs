//! Arbitrary input on an HTTP/2 connection to a backend: the outcome does not depend on how the bytes are split, no
//! response continues after its end, and each complete one has the announced length.

use super::prng::Prng;
use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    h2::{Client, Config, ConnectionError, Event},
    message::{Fields, Known, Method, RequestHead},
};
use std::{collections::BTreeMap, io::IoSlice};

const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Properties for any input. The first eight bytes seed the split; with an odd seed the input contains the SETTINGS.
pub(crate) fn check(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first_chunk::<8>() else { return };
    let seed = u64::from_le_bytes(*seed);
    let bytes = if seed % 2 == 0 { [&EMPTY_SETTINGS, bytes].concat() } else { bytes.to_vec() };
    let mut whole = run(&bytes, usize::MAX, &mut Prng(seed));
    whole.judge();
    for most in [1, 50] {
        let mut cut = run(&bytes, most, &mut Prng(seed));
        // More or less of an incomplete last frame may have been delivered.
        if let (Some(Part::Body(_, left)), Some(Part::Body(_, right))) = (whole.parts.last_mut(), cut.parts.last_mut())
        {
            let common = left.len().min(right.len());
            left.truncate(common);
            right.truncate(common);
        }
        assert_eq!(cut, whole, "pieces of up to {most}");
    }
}

/// The events of each response, by tag.
#[derive(Debug, PartialEq)]
enum Part {
    Head(u64, Option<u64>),
    /// Adjacent parts of a body are joined.
    Body(u64, Vec<u8>),
    End(u64),
    /// Reset or malformed.
    Failed(u64, String),
    /// Events without effect on a response.
    Other(String),
}

#[derive(Debug, PartialEq)]
struct Outcome {
    parts: Vec<Part>,
    error: Option<ConnectionError>,
    written: Vec<u8>,
}

impl Outcome {
    /// No response continues after its end or is complete with a length other than announced.
    fn judge(&self) {
        let mut missing: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        let mut closed = Vec::new();
        for part in &self.parts {
            match part {
                Part::Head(tag, length) => assert!(missing.insert(*tag, *length).is_none(), "two heads"),
                Part::Body(tag, bytes) => {
                    assert!(!closed.contains(tag), "body after the end");
                    if let Some(missing) = missing.get_mut(tag).expect("a head before the body") {
                        *missing = missing.checked_sub(bytes.len() as u64).expect("no more than announced");
                    }
                }
                Part::End(tag) => {
                    assert!(!closed.contains(tag), "two ends");
                    assert!(matches!(missing[tag], None | Some(0)), "complete but short");
                    closed.push(*tag);
                }
                Part::Failed(..) | Part::Other(_) => {}
            }
        }
    }

    fn take(&mut self, event: Event, client: &mut Client) {
        let (part, ended) = match event {
            Event::Head { tag, head, end, .. } => {
                let method = [Method::Get, Method::Head, Method::Post][tag as usize];
                let length = if head.has_body(method) { head.content_length } else { Some(0) };
                (Part::Head(tag, length), end.then_some(tag))
            }
            Event::Data { tag, data, end, .. } => {
                if let Some(Part::Body(before, bytes)) = self.parts.last_mut()
                    && *before == tag
                {
                    bytes.extend_from_slice(&data);
                    self.parts.extend(end.then_some(Part::End(tag)));
                    return;
                }
                (Part::Body(tag, data.to_vec()), end.then_some(tag))
            }
            Event::Trailers { tag, .. } => (Part::Other("trailers".to_owned()), Some(tag)),
            Event::Reset { tag, code, .. } => (Part::Failed(tag, code.to_string()), None),
            Event::Malformed { tag, reason, .. } => (Part::Failed(tag, reason.to_owned()), None),
            Event::HeadersTooLarge { tag, .. } => (Part::Failed(tag, "too large".to_owned()), None),
            Event::Sendable { id, .. } => {
                client.set_initial_stream_window(if self.parts.len().is_multiple_of(2) { 5000 } else { 20_000 });
                let mut data = Bytes::from(vec![b'v'; 30_000]);
                let sent = client.send_data(id, &mut data, false);
                if data.is_empty() {
                    assert!(client.send_trailers(id, &Fields::default()), "nothing fits any limit");
                }
                (Part::Other(format!("sent {sent}")), None)
            }
            other => (Part::Other(format!("{other:?}")), None),
        };
        self.parts.push(part);
        self.parts.extend(ended.map(Part::End));
    }
}

fn run(bytes: &[u8], most: usize, prng: &mut Prng) -> Outcome {
    let mut client = client();
    let mut outcome = Outcome { parts: Vec::new(), error: None, written: Vec::new() };
    let mut input = BytesMut::new();
    let mut rest = bytes;
    while outcome.error.is_none() && !rest.is_empty() {
        let len = if most == usize::MAX { rest.len() } else { (1 + prng.below(most)).min(rest.len()) };
        let (piece, after) = rest.split_at(len);
        rest = after;
        input.extend_from_slice(piece);
        loop {
            match client.recv(&mut input) {
                Ok(Some(event)) => outcome.take(event, &mut client),
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
        }
    }
    assert!(client.active() <= 3 && client.open_streams().count() == client.active());
    outcome.written = drain(&mut client);
    has_no_empty_sections(&outcome.written);
    outcome
}

/// No HEADERS frame is empty, because some peers close the connection on one.
fn has_no_empty_sections(written: &[u8]) {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    let mut rest = &written[PREFACE..];
    while let [l0, l1, l2, kind, ..] = *rest {
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        assert!(kind != HEADERS || len > 0);
        rest = &rest[9 + len..];
    }
}

/// Opens a connection with the requests 0 (GET), 1 (HEAD) and 2 (POST, its body waiting for the window).
fn client() -> Client {
    let config = Config { initial_stream_window: 20_000, max_header_list: 1024, ..Config::default() };
    let mut client = Client::new(&config);
    for (tag, (method, text)) in (0..).zip([(Method::Get, "GET"), (Method::Head, "HEAD"), (Method::Post, "POST")]) {
        let mut fields = Fields::new();
        fields.push(Known::Method, text.as_bytes());
        let head = RequestHead { fields, method, content_length: None };
        let id = client.send_request(&head, method != Method::Post, tag).expect("a stream");
        if method == Method::Post {
            client.send_data(id, &mut Bytes::from(vec![b'u'; 100_000]), false);
        }
    }
    client
}

fn drain(client: &mut Client) -> Vec<u8> {
    let mut written = Vec::new();
    while !client.output().is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let set = client.output().slices(&mut slices);
        slices[..set].iter().for_each(|slice| written.extend_from_slice(slice));
        let len = slices[..set].iter().map(|slice| slice.len()).sum();
        client.output().advance(len);
    }
    written
}
