//! Faults of a rogue origin.

use super::flood::Flood;
use super::step::Step;

/// A fault of an origin.
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
    /// Executes a script.
    Script(Script),
    /// Sends GOAWAY after this number of requests on a connection. Answers requests up to the last stream id, ignores later
    /// ones, and closes the connection after the last response.
    GoawayEvery(usize),
    /// Refuses this number of requests with `REFUSED_STREAM`, then answers.
    RefuseFirst(usize),
    /// Enforces this `MAX_CONCURRENT_STREAMS`; answers each request after 5 ms.
    StreamLimit(u32),
    /// Sends frames of one kind until the client closes the connection.
    Flood(Flood),
}

/// The behaviour of an HTTP/2 origin as a list of steps.
#[derive(Debug, Clone)]
pub struct Script {
    /// SETTINGS to announce (RFC 9113 section 6.5.2).
    pub settings: Vec<(u16, u32)>,
    /// Whether to send `WINDOW_UPDATE` for request bytes.
    pub credit: bool,
    /// Whether the response starts only after the end of the request.
    pub after_request: bool,
    /// Executed once, right after SETTINGS.
    pub opening: Vec<Step>,
    /// Executed for each request.
    pub answer: Vec<Step>,
    /// Executed instead of `answer` for requests with one of these paths.
    pub pages: Vec<(&'static str, Vec<Step>)>,
}

impl From<Vec<Step>> for Script {
    /// Creates a script with default settings that answers as soon as the request head arrives.
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
