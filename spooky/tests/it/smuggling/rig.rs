//! A proxy before one origin, and the checks after each anomaly.

use std::collections::BTreeSet;

use spooky_testkit::tcp::Http1;

use super::origin::Origin;
use super::request::{self, Request};
use crate::proxy::Proxy;

/// What an attacker wants to be read as a request of its own. 43 bytes, or 0x2b.
pub(super) const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// The same behind what ends a chunked body. 48 bytes.
pub(super) const LAST_CHUNK_AND_SMUGGLED: &[u8] = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// What follows from an anomaly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// The request is malformed: HTTP/1.1 clients get 400 and the end of the connection, others a stream error. Nothing
    /// arrives.
    Malformed,
    /// The request is answered with this status. Nothing arrives.
    Refused(u16),
    /// The body is malformed, as the head was not. At most a part of the request arrives, never its end.
    CutOff,
    /// As [`Expected::CutOff`], with an error of the connection.
    Closed,
    /// One request arrives. [`Request::head`], the body and [`Request::trailers`].
    Forwarded { head: &'static str, body: &'static [u8], trailers: &'static str },
}

impl Expected {
    /// Returns method and target of the request that arrives.
    pub(super) fn target(&self) -> Option<String> {
        let Self::Forwarded { head, .. } = self else { return None };
        let mut words = head.split([' ', '@']);
        Some(format!("{} {}", words.next()?, words.next()?))
    }
}

pub(super) struct Rig {
    pub(super) proxy: Proxy,
    origin: Origin,
    /// Ordinary requests that were sent.
    ordinary: usize,
    /// Numbers of the backend connections on which requests have arrived.
    connections: BTreeSet<usize>,
    /// What went wrong.
    problems: Vec<String>,
}

impl Rig {
    pub(super) async fn new(origin: Origin) -> Self {
        let (url, protocol) = (origin.url(), origin.protocol());
        let proxy =
            Proxy::start(|settings| settings.protocol(protocol).upstream("all", "/", std::slice::from_ref(&url))).await;
        let mut rig = Self { proxy, origin, ordinary: 0, connections: BTreeSet::new(), problems: Vec::new() };
        rig.after("the start", None, Vec::new(), Ok(())).await;
        rig
    }

    /// Returns the path of the next ordinary request.
    pub(super) fn ordinary(&mut self) -> String {
        self.ordinary += 1;
        format!("/ordinary/{}", self.ordinary)
    }

    /// Sends an ordinary request on a new connection, and compares everything that the origin has received since the last
    /// call with the request of the anomaly, if one is expected, these ordinary ones, and the last.
    pub(super) async fn after(
        &mut self,
        anomaly: &str,
        expected: Option<&Expected>,
        ordinary: Vec<String>,
        client: Result<(), String>,
    ) {
        let last = self.ordinary();
        let reply = Http1::get(&mut self.proxy.http1().await, &last).await;
        let mut problems: Vec<_> = client.err().into_iter().collect();
        if (reply.status(), reply.text()) != (200, &format!("GET {last}")) {
            problems.push(format!("the next request got {} {:?}", reply.status(), reply.text()));
        }
        match self.origin.take() {
            Ok(requests) => {
                self.connections.extend(requests.iter().map(|request| request.connection));
                let plain = ordinary.iter().chain([&last]).map(|path| (format!("GET {path} []"), String::new(), "[]"));
                let first = expected.and_then(|expected| match expected {
                    Expected::Forwarded { head, body, trailers } => {
                        Some(((*head).to_owned(), request::text(body), *trailers))
                    }
                    _ => None,
                });
                let wanted: Vec<_> = first.into_iter().chain(plain).collect();
                let is_wanted = |request: &Request, (head, body, trailers): &(String, String, &str)| {
                    (&request.head, &request.body, &request.trailers[..]) == (head, body, *trailers)
                };
                let is_same = requests.len() == wanted.len()
                    && requests.iter().zip(&wanted).all(|(request, wanted)| is_wanted(request, wanted));
                if !is_same {
                    problems.push(format!("the origin got {requests:?}, not {wanted:?}"));
                }
            }
            Err(problem) => problems.push(format!("the origin got an ambiguous request: {problem}")),
        }
        if !problems.is_empty() {
            self.problems.push(format!("{anomaly}\n    {}", problems.join("\n    ")));
        }
    }

    /// Stops the proxy. What the origin got in part is of the anomalies that are cut off, and was not completed since. Each of
    /// them may have cost the backend connection; all other requests have used the same one.
    pub(super) async fn finish(mut self, cut_off: usize) {
        self.proxy.stop().await;
        let in_part = self.origin.ended().await;
        let more = self.origin.take();
        if in_part > cut_off || more != Ok(Vec::new()) {
            self.problems.push(format!("at the end: {in_part} requests in part, and {more:?}"));
        }
        if self.connections.len() > 1 + cut_off {
            self.problems.push(format!("{} backend connections", self.connections.len()));
        }
        assert!(self.problems.is_empty(), "{} problems\n{}", self.problems.len(), self.problems.join("\n"));
    }
}
