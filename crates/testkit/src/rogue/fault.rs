//! What an origin does wrong. Written by tests, followed by the connection treatment.

use super::flood::Flood;
use super::step::Step;

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
